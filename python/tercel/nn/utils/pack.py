"""Weights of Linear layers that stay packed between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import _core
from ..linear import Linear
from ..module import Module
from .replace import replace_linear_


class PackedLinear(Linear):
    """`Linear` that keeps its weight in the layout of the processor's matrix units, too (see `pack_linear_`)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._panels = _core._LinearPanels()

    @classmethod
    def from_linear(cls, linear: Any) -> PackedLinear:
        """The twin of a Linear that shares its parameters."""
        layer = cls.__new__(cls)
        Module.__init__(layer)
        layer.in_features, layer.out_features = linear.in_features, linear.out_features
        layer.register_parameter("weight", linear.weight)
        layer.register_parameter("bias", linear.bias)
        layer._panels = _core._LinearPanels()
        layer.train(linear.training)
        return layer

    def forward(self, input: Any) -> Any:
        return _core._linear_packed(input, self.weight, self.bias, self._panels)


def pack_linear_(model: Module, filter_fn: Callable[[Module, str], bool] | None = None) -> Module:
    """Lets the Linear layers of `model` keep packed weights for inference, in place; returns the model.

    Where the processor has AMX tiles, products of bfloat16, float8 and (AMX-FP16) float16 want their right operand in
    another order. Without this a Linear makes it in every call: most of the time of a call with few rows. The copy takes
    as much memory as the weight, is made at the first call without gradients, and again when the weight was changed in
    place (not seen: writes through a NumPy view). Results are the same bits; parameters, state_dict and training stay as
    they are. Elsewhere, and for other dtypes, products read the weight as it lies: nothing is kept and nothing changes.

    filter_fn(module, name) -> bool chooses among the Linear layers (default: all; subclasses of Linear are left alone). If
    `model` itself is a Linear, its twin is returned.
    """

    def wanted(module: Module, name: str) -> bool:
        return type(module) is Linear and (filter_fn is None or filter_fn(module, name))

    return replace_linear_(model, PackedLinear.from_linear, wanted, PackedLinear)
