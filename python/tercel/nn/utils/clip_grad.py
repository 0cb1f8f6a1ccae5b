"""Limits on the size of gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

from ... import _core, no_grad
from ..._core import Tensor


def _tensors(tensors: Tensor | Iterable[Tensor], op: str) -> list[Tensor]:
    if isinstance(tensors, Tensor):
        return [tensors]
    result = list(tensors)
    for t in result:
        if not isinstance(t, Tensor):
            raise TypeError(f"{op}: expected tensors, got {type(t).__name__}")
    return result


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The ``norm_type``-norm of all elements of all tensors together, as a 0-d tensor."""
    tensors = _tensors(tensors, "get_total_norm")
    norm_type = float(norm_type)
    if not tensors:
        return _core.tensor(0.0)
    with no_grad():
        norms = _core._foreach_norm([t.detach() for t in tensors], norm_type)
        total = _core.norm(_core.stack(norms), norm_type) if len(norms) > 1 else norms[0]
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, "
            "set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
) -> None:
    """Scales the gradients by ``max_norm / total_norm`` where that is below 1."""
    grads = [p.grad for p in _tensors(parameters, "clip_grads_with_norm_") if p.grad is not None]
    if not grads:
        return
    with no_grad():
        scale = float(max_norm) / (float(total_norm) + 1e-6)
        if not scale >= 1:
            _core._foreach_mul_(grads, scale)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients, in place, so that their norm together is at most ``max_norm``. Returns the norm
    before. Raises RuntimeError for a norm that is not finite if ``error_if_nonfinite``."""
    grads = [g for p in _tensors(parameters, "clip_grad_norm_") if (g := p.grad) is not None]
    if not grads:
        return _core.tensor(0.0)
    with no_grad():
        return _core.clip_grad_norm_(grads, float(max_norm), float(norm_type), error_if_nonfinite)


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    warnings.warn(
        "nn.utils.clip_grad_norm is deprecated: use nn.utils.clip_grad_norm_",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite)


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Clamps every gradient element to [-clip_value, clip_value], in place."""
    clip_value = float(clip_value)
    with no_grad():
        for param in _tensors(parameters, "clip_grad_value_"):
            if param.grad is not None:
                param.grad.clamp_(-clip_value, clip_value)
