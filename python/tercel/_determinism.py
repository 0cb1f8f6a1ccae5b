"""PyTorch's switches for determinism (always on) and for the precision of float32 products."""

from __future__ import annotations

from ._core import _allow_tf32


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

    On CUDA 'high' and 'medium' let products of contiguous float32 operands round them to TF32 (10 bits behind
    the point, errors near 2^-11 of |a| |b|) and use the matrix units; sums stay in float32. Processors always
    compute in float32: error at most 8 eps |a| |b| for random data, eps = 2^-24.
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ValueError(
            f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got {precision!r}"
        )
    _precision = precision
    _allow_tf32(precision != "highest")
