"""Switches of other libraries' back ends that programs set, and honest answers about what is here.

tercel has one implementation of everything, always deterministic, so the switches change nothing; they are
kept as set, so that a program reads back what it wrote.
"""

from __future__ import annotations

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]


class _Backend:
    """Named switches and `is_available()`."""

    def __init__(self, name: str, **switches: object) -> None:
        self._name = name
        self.__dict__.update(switches)

    def is_available(self) -> bool:
        """False: tercel does not use this library."""
        return False

    is_built = is_available

    def version(self) -> None:
        """None: tercel does not use this library."""

    def __repr__(self) -> str:
        return f"tercel.backends.{self._name} (not used by tercel)"


cudnn = _Backend(
    "cudnn",
    enabled=False,
    benchmark=False,
    deterministic=True,
    allow_tf32=False,
    benchmark_limit=10,
)
mkl = _Backend("mkl")
mkldnn = _Backend("mkldnn", enabled=False)
mps = _Backend("mps")
openmp = _Backend("openmp")
cuda = _Backend(
    "cuda",
    matmul=_Backend("cuda.matmul", allow_tf32=False, allow_bf16_reduced_precision_reduction=False),
)
