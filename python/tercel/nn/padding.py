"""Padding layers. Widths are given last dimension first, before and after: (left, right, top, bottom, ...)."""

from __future__ import annotations

from typing import Any

from .._core import Tensor
from . import functional as F
from ._sizes import ntuple
from .module import Module


class _Pad(Module):
    """Pads the last `_dims` dimensions; one int pads every side."""

    _dims: int
    _mode: str

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


def _family(base: type[_Pad], name: str, doc: str) -> list[Any]:
    """The 1d, 2d and 3d layers of one kind of padding."""
    return [
        type(
            f"{name}{n}d",
            (base,),
            {
                "__doc__": f"{doc} Pads the last {n} dimension(s).",
                "__module__": __name__,
                "_dims": n,
            },
        )
        for n in (1, 2, 3)
    ]


ConstantPad1d, ConstantPad2d, ConstantPad3d = _family(
    _ConstantPad, "ConstantPad", "Fills the border with ``value``."
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _family(_ZeroPad, "ZeroPad", "Fills the border with zeros.")


class _ReflectionPad(_Pad):
    _mode = "reflect"


class _ReplicationPad(_Pad):
    _mode = "replicate"


class _CircularPad(_Pad):
    _mode = "circular"


ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _family(
    _ReflectionPad,
    "ReflectionPad",
    "Mirrors the input at its border, without repeating the border itself.",
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _family(
    _ReplicationPad, "ReplicationPad", "Repeats the border value."
)
CircularPad1d, CircularPad2d, CircularPad3d = _family(
    _CircularPad, "CircularPad", "Continues the input periodically."
)
