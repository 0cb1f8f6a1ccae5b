"""Rounding of weights that knows their inputs (Frantar et al. 2022, "GPTQ").

Rounding one column of a weight w [out, in] moves the result y = x w^T. The columns that come after are shifted so that they
take back as much of it as their correlation with it allows: with H = sum x^T x and U the upper Cholesky factor of
H^-1, error e of column j changes column k by -e U[j, k] / U[j, j]. Scales are chosen per group when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tercel
from tercel import nn

from .._core import QTensor
from ..nn.utils.replace import replace_linear_
from .modules import QuantizedLinear
from .qtensor import choose_scales, pack
from .schemes import Scheme, parse


def _factor(h: np.ndarray, damp: float) -> np.ndarray:
    """U with H^-1 = U^T U, upper; `damp` of the mean diagonal is added, inputs that are always 0 count as 1."""
    h = h.copy()
    diagonal = np.diagonal(h)
    h[np.arange(len(h)), np.arange(len(h))] = np.where(diagonal > 0, diagonal, 1.0) + damp * max(
        float(diagonal.mean()), 1e-30
    )
    return np.linalg.cholesky(np.linalg.inv(h)).T


def gptq(weight: Any, h: np.ndarray, scheme: str | Scheme = "int4", damp: float = 0.01) -> QTensor:
    """A QTensor of weight [out, in] for inputs with h = sum x^T x [in, in] (float64).

    Dynamic schemes round the weight the same way. Raises ValueError for a weight that is not a matrix or another h.
    """
    scheme = parse(scheme)
    if weight.dim() != 2 or h.shape != (weight.shape[1], weight.shape[1]):
        raise ValueError(
            f"gptq: expected a weight [out, in] and h [in, in], got shapes {tuple(weight.shape)} and {h.shape}"
        )
    w = np.ascontiguousarray(weight.detach().double().numpy().T)  # a row per input
    columns, rows = w.shape
    u = _factor(np.asarray(h, np.float64), damp)
    step = scheme.group or max(1, columns)
    scales, zeros = [], []
    for begin in range(0, columns, step):
        end = min(begin + step, columns)
        group = tercel.from_numpy(w[begin:end].T.astype(np.float32))
        scale, zero = choose_scales(group, [1, -1], scheme)
        scales.append(scale)
        zeros.append(zero)
        across = [t if t is None else t.reshape(1, rows) for t in (scale, zero)]
        errors = np.empty((end - begin, rows))
        for j in range(begin, end):
            column = tercel.from_numpy(w[j : j + 1].astype(np.float32))
            codes = tercel.quantize_affine(column, [1, 1], *across, scheme.format)
            near = tercel.dequantize_affine(codes, [1, 1], *across, scheme.format, last_size=rows)
            error = (w[j] - near.numpy()[0]) / u[j, j]
            w[j] = near.numpy()[0]
            w[j + 1 : end] -= np.outer(u[j, j + 1 : end], error)
            errors[j - begin] = error
        w[end:] -= u[begin:end, end:].T @ errors
    rounded = tercel.from_numpy(np.ascontiguousarray(w.T.astype(np.float32)))
    zero = None if zeros[0] is None else tercel.cat(zeros, 1)
    return pack(rounded, [1, step], tercel.cat(scales, 1), zero, scheme)


def quantize_gptq_(
    model: nn.Module,
    scheme: str | Scheme,
    run: Callable[[nn.Module], Any],
    filter_fn: Callable[[nn.Module, str], bool] | None = None,
    damp: float = 0.01,
) -> nn.Module:
    """`quantize_` with rounding that knows the inputs; returns the model.

    run(model) is called once without gradients and passes examples through the model; the inputs of its Linear layers
    are summed up as x^T x (in float64, in^2 each). A few thousand rows suffice. Layers that see none are rounded to nearest.
    """
    scheme = parse(scheme)
    sums: dict[int, np.ndarray] = {}

    def watch(layer: nn.Module, args: tuple) -> None:
        x = args[0].detach().double().numpy().reshape(-1, args[0].shape[-1])
        sums[id(layer)] = sums.get(id(layer), 0.0) + x.T @ x

    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    hooks = [m.register_forward_pre_hook(watch) for m in layers]
    try:
        with tercel.no_grad():
            run(model)
    finally:
        for hook in hooks:
            hook.remove()

    def twin(linear: Any) -> QuantizedLinear:
        h = sums.get(id(linear))
        if h is None:
            return QuantizedLinear.from_float(linear, scheme)
        layer = QuantizedLinear(gptq(linear.weight, h, scheme, damp), linear.bias)
        layer.train(linear.training)
        return layer

    return replace_linear_(model, twin, filter_fn, QuantizedLinear)
