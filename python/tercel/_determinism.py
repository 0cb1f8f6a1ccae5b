"""PyTorch's switches for determinism (always on) and for the precision of float32 products."""

from __future__ import annotations

from . import _core


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted for compatibility: results are deterministic whatever the mode."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: there are no other algorithms."""
    return True


_PRECISIONS = ("highest", "high", "medium")


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was given last; 'highest' at the start."""
    return _PRECISIONS[_core._float32_matmul_precision()]


def set_float32_matmul_precision(precision: str) -> None:
    """How much accuracy float32 products may give up for speed, from now on and in all threads.

    highest  float32 (the default): sums of fused multiply-adds, the same bits on every machine with AVX2
    high     a = a1 + a2 + a3 in bfloat16 parts, the six largest of the nine products, float32 sums. Largest error on
             normal, uniform and log-normal data with 64 to 4096 terms, on a model of the instruction: 0.5 to 1.8
             times that of highest (three products would have up to 35 times)
    medium   operands rounded to bfloat16, float32 sums: below 2^-8 of |a| |b|

    high needs a processor with AMX, medium AMX or AMD's AVX512-BF16; other processors compute in float32. They concern matmul, linear, bmm,
    einsum and what is made of them, forward and backward, with at least 32 terms and 16 columns; not convolutions,
    attention, other dtypes or products under autocast. Products below float32's normal range count as zero, finite
    values stay finite, an infinity becomes NaN under high.

    On CUDA both let products of contiguous float32 operands round them to TF32 (10 bits behind the point, errors near
    2^-11 of |a| |b|) and use the matrix units; sums stay in float32.

    The split into bfloat16 parts: Henry, Tang, Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype
    For Higher-Precision Computations", 2019.
    """
    if precision not in _PRECISIONS:
        raise ValueError(
            f"set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got {precision!r}"
        )
    _core._set_float32_matmul_precision(_PRECISIONS.index(precision))
