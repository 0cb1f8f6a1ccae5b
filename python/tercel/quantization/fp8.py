"""Linear layers that train with float8 products (recipes: tercel.amp.fp8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tercel
from tercel import nn
from tercel.amp.fp8 import CurrentScaling, fp8_recipe

from .. import _core
from ..autograd import Function
from ..nn.utils.replace import replace_linear_
from .modules import QuantizedLinear

_INPUT, _WEIGHT, _GRADIENT = range(3)


def _amax(x: Any) -> float:
    """Largest magnitude, NaN if there is one."""
    low, high = tercel.aminmax(x)
    return max(-float(low), float(high))


def _quantize(layer: Fp8Linear, role: int, x: Any, recipe: CurrentScaling, update: bool) -> tuple:
    """(codes, scale) of a matrix; notes its largest magnitude in the layer."""
    dtype = recipe.dtype(gradient=role == _GRADIENT)
    if x.numel() == 0:
        return x.to(dtype), tercel.ones(1, 1)
    history, current = layer.amax_history[role], _amax(x)
    scale = tercel.tensor([[recipe.scale(recipe.amax(history, current), dtype)]])
    if update:
        recipe.record(history, current)
    return tercel.quantize_affine(x, (-1, -1), scale, None, dtype), scale


class _Fp8Product(Function):
    """y = x w^T + bias from codes of x and w; backward from codes of the gradient. Codes are what is saved."""

    @staticmethod
    def forward(ctx, x, weight, bias, layer, recipe, out_dtype):  # type: ignore[no-untyped-def]
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        update = layer.training
        xq, x_scale = _quantize(layer, _INPUT, rows, recipe, update)
        wq, w_scale = _quantize(layer, _WEIGHT, weight, recipe, update)
        ctx.save_for_backward(
            wq if ctx.needs_input_grad[0] else None, xq if ctx.needs_input_grad[1] else None,
            w_scale, x_scale,
        )  # fmt: skip
        ctx.layer, ctx.recipe, ctx.update = layer, recipe, update
        ctx.shape, ctx.dtypes = (
            x.shape,
            (x.dtype, weight.dtype, None if bias is None else bias.dtype),
        )
        y = tercel.scaled_matmul(xq, wq.t(), x_scale, w_scale, bias, out_dtype)
        return y.reshape(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        wq, xq, w_scale, x_scale = ctx.saved_tensors
        g = grad.reshape(math.prod(grad.shape[:-1]), grad.shape[-1])
        dx = dw = db = None
        if wq is not None or xq is not None:
            gq, g_scale = _quantize(ctx.layer, _GRADIENT, g, ctx.recipe, ctx.update)
            if wq is not None:
                dx = tercel.scaled_matmul(gq, wq, g_scale, w_scale, None, ctx.dtypes[0])
                dx = dx.reshape(*ctx.shape)
            if xq is not None:
                dw = tercel.scaled_matmul(gq.t(), xq, g_scale, x_scale, None, ctx.dtypes[1])
        if ctx.needs_input_grad[2]:
            db = g.float().sum(0).to(ctx.dtypes[2])
        return dx, dw, db, None, None, None


class Fp8Linear(nn.Linear):
    """`nn.Linear` whose three products (y, dx, dw) run in float8 inside `tercel.amp.fp8_autocast`.

    Weight and bias stay parameters in their own dtype (float32 master weights); codes are made on the fly and are
    what backward keeps: a byte per element. Sums are float32. Outside the region it is nn.Linear, with the same
    state_dict but for `_extra_state`: the largest magnitudes of earlier steps, float32 [3, steps] (input, weight,
    gradient; delayed scaling); a state_dict of nn.Linear, without it, loads too. In eval mode they are used but not extended.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.amax_history: tuple[list[float], list[float], list[float]] = ([], [], [])

    @classmethod
    def from_float(cls, linear: Any) -> Fp8Linear:
        """The twin of a Linear that shares its parameters."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer.in_features, layer.out_features = linear.in_features, linear.out_features
        layer.register_parameter("weight", linear.weight)
        layer.register_parameter("bias", linear.bias)
        layer.amax_history = ([], [], [])
        layer.train(linear.training)
        return layer

    def forward(self, input: Any) -> Any:
        recipe = fp8_recipe()
        if recipe is None:
            return super().forward(input)
        if input.dim() < 1 or input.shape[-1] != self.in_features:
            raise tercel.ShapeError(
                f"Fp8Linear: last dim of input must be {self.in_features}, got shape {tuple(input.shape)}"
            )
        enabled, dtype, _ = _core._autocast_state()
        return _Fp8Product.apply(
            input, self.weight, self.bias, self, recipe, dtype if enabled else input.dtype
        )

    def get_extra_state(self) -> Any:
        steps = max(map(len, self.amax_history))
        rows = [[0.0] * (steps - len(h)) + h for h in self.amax_history]
        return tercel.tensor(rows, dtype=tercel.float32).reshape(3, steps)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        missing_keys = args[2]
        if f"{prefix}_extra_state" in missing_keys:  # a checkpoint of nn.Linear
            missing_keys.remove(f"{prefix}_extra_state")

    def set_extra_state(self, state: Any) -> None:
        if state.dim() != 2 or state.shape[0] != 3:
            raise ValueError(
                f"Fp8Linear: _extra_state must have shape [3, steps], got {state.shape}"
            )
        self.amax_history = tuple([a for a in row if a > 0] for row in state.tolist())  # type: ignore[assignment]


def convert_to_fp8_training(
    model: nn.Module, filter_fn: Callable[[nn.Module, str], bool] | None = None
) -> nn.Module:
    """Replaces every Linear in `model` by an Fp8Linear with the same parameters, in place; returns the model.

    filter_fn(module, name) -> bool chooses among the Linear layers (default: all). It is usual to leave the last
    layer in higher precision. If `model` itself is a Linear, its twin is returned.
    """
    return replace_linear_(model, Fp8Linear.from_float, filter_fn, (Fp8Linear, QuantizedLinear))
