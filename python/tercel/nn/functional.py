"""The functions behind the layers: the C++ functions themselves, under PyTorch's names.

Only what takes Python callables is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import _core
from .._core import Tensor

_NAMES = frozenset(
    """
    bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d fold gated_linear
    linear linear_act scaled_matmul unfold
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d avg_pool1d avg_pool2d avg_pool3d
    fractional_max_pool2d fractional_max_pool3d lp_pool1d lp_pool2d lp_pool3d max_pool1d
    max_pool2d max_pool3d max_unpool1d max_unpool2d max_unpool3d
    batch_norm group_norm instance_norm layer_norm local_response_norm normalize rms_norm
    celu elu gelu glu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_softmax
    logsigmoid mish prelu relu relu6 rrelu selu sigmoid silu softmax softmin softplus
    softshrink softsign tanh tanhshrink threshold
    alpha_dropout dropout dropout1d dropout2d dropout3d embedding embedding_bag
    feature_alpha_dropout one_hot
    channel_shuffle interpolate pad pixel_shuffle pixel_unshuffle
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss
    cosine_similarity cross_entropy ctc_loss gaussian_nll_loss gumbel_softmax hinge_embedding_loss huber_loss kl_div
    l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss
    multilabel_soft_margin_loss nll_loss pairwise_distance pdist poisson_nll_loss smooth_l1_loss
    soft_margin_loss triplet_margin_loss
    """.split()
)


# elu_(x, ...) is elu(x, ..., inplace=True).
_IN_PLACE = frozenset("celu_ elu_ hardtanh_ leaky_relu_ relu_ rrelu_ selu_ threshold_".split())


def __getattr__(name: str) -> Any:
    # Looked up on first use and kept, so that importing nn does not touch a hundred names.
    if name in _IN_PLACE:
        value = partial(__getattr__(name[:-1]), inplace=True)
    elif name in _NAMES:
        value = getattr(_core, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_NAMES, *_IN_PLACE, *globals()})


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Older name of interpolate."""
    return _core.interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate(mode="nearest")."""
    return _core.interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """interpolate(mode="bilinear", align_corners=True)."""
    return _core.interpolate(input, size, scale_factor, "bilinear", True)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` with any distance of two tensors.

    ``swap`` takes d(positive, negative) where it is smaller than d(anchor, negative); the default distance
    is pairwise_distance. Raises ValueError for a margin <= 0 or an unknown reduction.
    """
    if margin <= 0:
        raise ValueError(
            f"triplet_margin_with_distance_loss: margin must be greater than 0, got {margin}"
        )
    distance = distance_function if distance_function is not None else _core.pairwise_distance
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = _core.minimum(far, distance(positive, negative))
    loss = (near - far + margin).clamp(min=0.0)
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction!r} is not a valid value for reduction")
    return loss.mean() if reduction == "mean" else loss.sum()
