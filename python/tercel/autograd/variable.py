"""Variable, which programs written before PyTorch 0.4 wrap their tensors in."""

from __future__ import annotations

import warnings
from typing import Any

from .. import _core


class _AnyTensor(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _core.Tensor)


class Variable(metaclass=_AnyTensor):
    """Variable(data, requires_grad=False): a tensor that shares data's memory and has no history."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        if volatile:
            warnings.warn("Variable: volatile has no effect; use no_grad()", stacklevel=2)
        if data is None:
            data = _core.empty(0)
        if not isinstance(data, _core.Tensor):
            raise TypeError(f"Variable: expected a tensor, got {type(data).__name__}")
        return data.detach().requires_grad_(requires_grad)
