"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ... import _core, no_grad
from ..._core import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, in order, as one 1-d tensor (differentiable)."""
    return _core.cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Writes consecutive slices of ``vec`` into the parameters, in order.

    Raises ValueError if ``vec`` is not exactly as long as the parameters together.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected tercel.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    total = sum(p.numel() for p in parameters)
    if vec.dim() != 1 or vec.numel() != total:
        raise ValueError(
            f"vector_to_parameters: vec must have shape [{total}], got {list(vec.shape)}"
        )
    start = 0
    with no_grad():
        for param in parameters:
            n = param.numel()
            param.data.copy_(vec[start : start + n].reshape(param.shape))
            start += n
