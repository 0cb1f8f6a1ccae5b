"""Tensor.apply_ and map_: a Python function called for every element; for convenience, not for speed."""

from __future__ import annotations

from . import _core


def _write(op, target, values):
    """Replaces the elements of target, in row-major order."""
    if target.is_cuda:
        raise TypeError(f"{op}: expected a tensor on cpu, got one on {target.device}")
    if target.requires_grad:
        raise RuntimeError(f"{op}: not provided for tensors that require grad")
    result = _core.tensor(values, dtype=target.dtype, device="cpu")
    return target.copy_(result.reshape(target.shape))


def apply_(input, callable):
    """Replaces every element x of a CPU tensor by callable(x), in place; x is a Python number."""
    values = input.detach().flatten().tolist()
    return _write("apply_", input, [callable(x) for x in values])


def map_(input, tensor, callable):
    """Replaces every element x of a CPU tensor by callable(x, y), in place; y: the element of `tensor`, which is
    broadcast to input's shape."""
    if not isinstance(tensor, _core.Tensor):
        raise TypeError(f"map_: expected a Tensor, got {type(tensor).__name__}")
    others = tensor.detach().expand(input.shape).flatten().tolist()
    values = input.detach().flatten().tolist()
    return _write("map_", input, [callable(x, y) for x, y in zip(values, others, strict=True)])
