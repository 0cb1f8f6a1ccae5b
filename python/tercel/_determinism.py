"""PyTorch's switches for determinism and matmul precision: always on, always float32."""

from __future__ import annotations


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted for compatibility: results are deterministic whatever the mode."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: there are no other algorithms."""
    return True


_PRECISIONS = ("highest", "high", "medium")
_precision = "highest"


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was given last; 'highest' at the start."""
    return _precision


def set_float32_matmul_precision(precision: str) -> None:
    """How much accuracy a float32 product may give up for speed: 'highest', 'high' or 'medium'.

    Every value computes in float32: error at most 8 eps |a| |b| for random data, eps = 2^-24. 'high' and 'medium'
    allow sums of bfloat16 products (errors near 2^-16 and 2^-8 of |a| |b|), which no processor path uses yet.
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ValueError(
            f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got {precision!r}"
        )
    _precision = precision
