"""Folding a batch norm in eval mode into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from typing import Any

from ... import no_grad
from ..._core import Tensor
from ..parameter import Parameter


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that does ``bn(conv(x))``."""
    with no_grad():
        scale = (bn_rv + bn_eps).rsqrt()
        if bn_w is not None:
            scale = scale * bn_w
        shape = [1, -1] if transpose else [-1, 1]
        shape += [1] * (conv_w.dim() - 2)
        bias = -bn_rm if conv_b is None else conv_b - bn_rm
        bias = bias * scale
        if bn_b is not None:
            bias = bias + bn_b
        weight = (conv_w * scale.reshape(shape)).to(conv_w.dtype)
        bias = bias.to(conv_w.dtype if conv_b is None else conv_b.dtype)
    return Parameter(weight, conv_w.requires_grad), Parameter(
        bias, True if conv_b is None else conv_b.requires_grad
    )


def _fuse(layer: Any, bn: Any, transpose: bool) -> Any:
    if layer.training or bn.training:
        raise ValueError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise ValueError("fuse: the batch norm has no running statistics")
    fused = copy.deepcopy(layer)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight,
        fused.bias,
        bn.running_mean,
        bn.running_var,
        bn.eps,
        bn.weight,
        bn.bias,
        transpose,
    )
    return fused


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of ``conv`` that does ``bn(conv(x))``; both must be in eval mode. ``transpose``: conv is transposed."""
    if transpose and conv.groups != 1:
        raise ValueError("fuse_conv_bn_eval: grouped transposed convolutions are not supported")
    return _fuse(conv, bn, transpose)


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that does ``bn(linear(x))``."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of ``linear`` that does ``bn(linear(x))``; both must be in eval mode."""
    if bn.num_features not in (linear.out_features, 1):
        raise ValueError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1")
    return _fuse(linear, bn, False)
