"""Ways to fill a parameter. Every function works in place, without gradient, and returns the tensor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from .. import _core, no_grad
from .._core import Tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Factor that keeps the variance through ``nonlinearity`` (``param``: slope of leaky_relu, default 0.01)."""
    if nonlinearity in ("linear", "sigmoid") or nonlinearity.startswith("conv"):
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        else:
            slope = param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with the given mean and standard deviation."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal restricted to [a, b], by inverting the distribution function.

    The method is good while the mean lies within two standard deviations of [a, b]; outside it warns.
    """
    if std <= 0:
        raise ValueError(f"trunc_normal_: std must be positive, got {std}")
    if a > b:
        raise ValueError(
            f"trunc_normal_: minimum value (a={a}) is greater than maximum value (b={b})"
        )
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )

    def cdf(x: float) -> float:
        return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0

    low, high = cdf((a - mean) / std), cdf((b - mean) / std)
    with no_grad():
        tensor.uniform_(2 * low - 1, 2 * high - 1, generator=generator)
        tensor.erfinv_()
        tensor.mul_(std * math.sqrt(2.0))
        tensor.add_(mean)
        return tensor.clamp_(a, b)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The value ``val`` everywhere."""
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    with no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Identity matrix (2-d tensors)."""
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got {tensor.dim()}")
    with no_grad():
        tensor.zero_()
        tensor.diagonal().fill_(1.0)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Convolution weights [out, in, k...] that pass their input through, per group, as far as channels go."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(
            f"Only tensors with 3, 4, or 5 dimensions are supported, got {tensor.dim()}"
        )
    out_channels, in_channels, *kernel = tensor.shape
    if groups < 1 or out_channels % groups != 0:
        raise ValueError(
            f"dim 0 must be divisible by groups, got {out_channels} and groups={groups}"
        )
    per_group = out_channels // groups
    n = min(per_group, in_channels)
    with no_grad():
        tensor.zero_()
        centre = tensor
        for size in kernel:
            centre = centre.select(2, size // 2)
        for g in range(groups):
            centre.narrow(0, g * per_group, n).narrow(1, 0, n).diagonal().fill_(1.0)
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        raise ValueError(
            f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got {tensor.dim()}"
        )
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = gain * math.sqrt(6.0 / max(fan_in + fan_out, 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with std gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / max(fan_in + fan_out, 1)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform in +-gain sqrt(3 / fan) (He et al. 2015); ``a`` is the slope of a leaky ReLU that follows."""
    if tensor.numel() == 0:
        return tensor
    bound = math.sqrt(3.0 / _calculate_correct_fan(tensor, mode)) * calculate_gain(nonlinearity, a)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal with std gain / sqrt(fan) (He et al. 2015); ``a`` is the slope of a leaky ReLU that follows."""
    if tensor.numel() == 0:
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def _orthonormal_columns(a: Tensor, block: int = 32) -> Tensor:
    """Q of A = QR with R's diagonal positive, A [rows, cols], rows >= cols.

    Block Gram-Schmidt: a block of columns is projected off all earlier blocks by two matrix products, then
    orthogonalised column by column; each projection is done twice, which leaves only rounding.
    """
    q = a.clone()
    for start in range(0, q.shape[1], block):
        part = q[:, start : start + block]
        if start:
            done = q[:, :start]
            for _ in range(2):
                part.sub_(done @ (done.t() @ part))
        for j in range(part.shape[1]):
            v = part[:, j]
            if j:
                previous = part[:, :j]
                for _ in range(2):
                    v.sub_(previous @ (previous.t() @ v))
            v.div_(v.norm())
    return q


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """(Semi-)orthogonal matrix, uniformly distributed, of the tensor seen as [shape[0], rest] (Saxe et al. 2013)."""
    if tensor.dim() < 2:
        raise ValueError(
            f"Only tensors with 2 or more dimensions are supported, got {tensor.dim()}"
        )
    if tensor.numel() == 0:
        return tensor
    rows, cols = tensor.shape[0], tensor.numel() // tensor.shape[0]
    with no_grad():
        a = _core.empty((rows, cols), dtype=_core.float64).normal_(0.0, 1.0, generator=generator)
        q = _orthonormal_columns(a.t().contiguous()).t() if rows < cols else _orthonormal_columns(a)
        tensor.copy_((q * gain).reshape(tensor.shape))
    return tensor


def delta_orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Convolution weights [out, in, k...] (in <= out): an orthogonal matrix at the centre tap, else zero
    (Xiao et al. 2018)."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError(
            f"Only tensors with 3, 4, or 5 dimensions are supported, got {tensor.dim()}"
        )
    out_channels, in_channels, *kernel = tensor.shape
    if in_channels > out_channels:
        raise ValueError(
            f"delta_orthogonal_: in_channels ({in_channels}) must not exceed out_channels ({out_channels})"
        )
    with no_grad():
        tensor.zero_()
        centre = tensor
        for size in kernel:
            centre = centre.select(2, (size - 1) // 2)
        matrix = orthogonal_(
            _core.empty((out_channels, in_channels), dtype=_core.float64), gain, generator
        )
        centre.copy_(matrix)
    return tensor


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal with standard deviation ``std``, and a fraction ``sparsity`` of each column set to zero."""
    if tensor.dim() != 2:
        raise ValueError(f"Only tensors with 2 dimensions are supported, got {tensor.dim()}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity must lie in [0, 1], got {sparsity}")
    rows, cols = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0.0, std, generator=generator)
        for col in range(cols):
            order = _core.randperm(rows, generator=generator)
            tensor[order[:zeros], col] = 0
    return tensor


def _old_name(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def deprecated(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"nn.init.{fn.__name__[:-1]} is deprecated: use nn.init.{fn.__name__}",
            FutureWarning,
            stacklevel=2,
        )
        return fn(*args, **kwargs)

    deprecated.__name__ = fn.__name__[:-1]
    return deprecated


uniform, normal, constant, eye, dirac = map(_old_name, (uniform_, normal_, constant_, eye_, dirac_))
xavier_uniform, xavier_normal = _old_name(xavier_uniform_), _old_name(xavier_normal_)
kaiming_uniform, kaiming_normal = _old_name(kaiming_uniform_), _old_name(kaiming_normal_)
orthogonal, sparse = _old_name(orthogonal_), _old_name(sparse_)
