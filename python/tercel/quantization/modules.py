"""Linear layers with quantised weights, and quantize_ for whole models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import nn
from .._core import QTensor, Tensor, empty, uint8
from ..nn.utils.replace import replace_linear_
from .qtensor import from_state, quantize, to_state
from .schemes import Scheme, parse

_PARTS = ("values", "scales", "zero_points", "scheme")


class QuantizedLinear(nn.Linear):
    """`nn.Linear` whose weight is a frozen QTensor; bias stays a parameter.

    state_dict has weight.values, weight.scales, weight.zero_points and weight.scheme (plain tensors, so the model
    saves to safetensors); load_state_dict takes a weight of any scheme and the same shape.
    """

    weight: Any

    def __init__(self, weight: QTensor, bias: Any = None) -> None:
        nn.Module.__init__(self)
        if not isinstance(weight, QTensor) or len(weight.shape) != 2:
            raise ValueError("QuantizedLinear: weight must be a QTensor of shape [out, in]")
        self.out_features, self.in_features = weight.shape
        self.weight = weight
        self.register_parameter("bias", bias)

    @classmethod
    def from_float(cls, linear: nn.Linear, scheme: str | Scheme = "int8") -> QuantizedLinear:
        """The quantised twin of a Linear; the bias is shared."""
        layer = cls(quantize(linear.weight, scheme), linear.bias)
        layer.train(linear.training)
        return layer

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> QuantizedLinear:
        super()._apply(fn, recurse)
        # What fn does to an integer tensor: a move to a device; casts are not for codes and scales.
        probe = fn(empty(0, dtype=uint8, device=self.weight.device))
        self.weight = self.weight.to(probe.device)
        return self

    def reset_parameters(self) -> None:
        raise RuntimeError("QuantizedLinear: a quantised weight is frozen")

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update(to_state(self.weight, f"{prefix}weight."))

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        inner = f"{prefix}weight."
        parts = {inner + part for part in _PARTS}
        rest = {k: v for k, v in state_dict.items() if k not in parts}
        super()._load_from_state_dict(
            rest, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        needed = [inner + part for part in _PARTS if part != "zero_points"]
        absent = [key for key in needed if key not in state_dict]
        if absent:
            missing_keys.extend(absent if strict else [])
            return
        try:
            own = {key: state_dict[key].clone() for key in parts & state_dict.keys()}
            weight = from_state(own, inner)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            error_msgs.append(f"{inner[:-1]}: {error}")
            return
        if tuple(weight.shape) != tuple(self.weight.shape):
            error_msgs.append(
                f"size mismatch for {inner[:-1]}: copying a param with shape {weight.shape} from checkpoint, "
                f"the shape in current model is {self.weight.shape}."
            )
            return
        self.weight = weight

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, weight={self.weight!r}"


def quantize_(
    model: nn.Module,
    scheme: str | Scheme = "int8",
    filter_fn: Callable[[nn.Module, str], bool] | None = None,
) -> nn.Module:
    """Replaces the weight of every Linear in `model` by a QTensor of `scheme`, in place; returns the model.

    filter_fn(module, name) -> bool chooses among the Linear layers (default: all). Layers that are quantised
    already stay as they are. If `model` itself is a Linear, its quantised twin is returned.
    Raises ValueError listing the schemes for an unknown one, before anything is changed.
    """
    scheme = parse(scheme)

    return replace_linear_(
        model, lambda linear: QuantizedLinear.from_float(linear, scheme), filter_fn, QuantizedLinear
    )
