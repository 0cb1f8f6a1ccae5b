"""PyTorch's switches for determinism and matmul precision: always on, always highest."""

from __future__ import annotations


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted for compatibility: results are deterministic whatever the mode."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: there are no other algorithms."""
    return True


def get_float32_matmul_precision() -> str:
    """'highest': float32 products are computed in float32."""
    return "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Accepts 'highest', 'high' and 'medium'; float32 products stay in float32 for now."""
    if precision not in ("highest", "high", "medium"):
        raise ValueError(
            f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got {precision!r}"
        )
