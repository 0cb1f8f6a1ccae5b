"""Switches of other libraries' back ends that programs set, and honest answers about what is here.

tercel has one implementation of everything, always deterministic, so the switches change nothing; they are
kept as set, so that a program reads back what it wrote. Each back end is a module, which `import
tercel.backends.cudnn as cudnn` finds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from . import _core

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp", "opt_einsum"]


class _Backend(ModuleType):
    """Named switches and `is_available()`."""

    def __init__(self, name: str, **switches: object) -> None:
        super().__init__(f"{__name__}.{name}", "Not used by tercel.")
        self.__dict__.update(switches)
        sys.modules[self.__name__] = self

    def is_available(self) -> bool:
        """False: tercel does not use this library."""
        return False

    is_built = is_available

    def version(self) -> None:
        """None: tercel does not use this library."""

    @contextmanager
    def flags(self, **switches: Any) -> Iterator[None]:
        """The switches hold inside the block."""
        before = {name: getattr(self, name) for name in switches}
        self.__dict__.update(switches)
        try:
            yield
        finally:
            self.__dict__.update(before)

    def __repr__(self) -> str:
        return f"{self.__name__} (not used by tercel)"


def _switch(name: str) -> tuple[Callable[[bool], None], Callable[[], bool]]:
    """Setter and getter of one of cuda's switches."""
    return lambda enabled: setattr(cuda, name, bool(enabled)), lambda: getattr(cuda, name)


cudnn = _Backend(
    "cudnn",
    enabled=False,
    benchmark=False,
    deterministic=True,
    allow_tf32=False,
    benchmark_limit=10,
    fp32_precision="none",
)
mkl = _Backend("mkl")
mkldnn = _Backend("mkldnn", enabled=False)
mps = _Backend("mps")
openmp = _Backend("openmp")
opt_einsum = _Backend("opt_einsum", enabled=False, strategy=None)
cpu = _Backend("cpu", get_cpu_capability=lambda: _core._config()["level"].upper())
cuda = _Backend(
    "cuda",
    matmul=_Backend(
        "cuda.matmul",
        allow_tf32=False,
        allow_fp16_reduced_precision_reduction=False,
        allow_bf16_reduced_precision_reduction=False,
        fp32_precision="none",
    ),
)
for _name in ("flash", "mem_efficient", "math", "cudnn"):
    _set, _get = _switch(f"_{_name}_sdp")
    _set(_name == "math")
    cuda.__dict__.update({f"enable_{_name}_sdp": _set, f"{_name}_sdp_enabled": _get})
