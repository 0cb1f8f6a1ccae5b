"""full_backward hooks: identity nodes around a module that see its gradients pass.

The node behind the outputs runs the pre-hooks and keeps grad_output; the node before the inputs gets
grad_input and runs the hooks with both. When no input needs a gradient there is no such node, and the
hooks run right after the pre-hooks with grad_input = (None, ...), as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import is_grad_enabled
from .._core import Tensor
from ..autograd import Function


class _Identity(Function):
    """Returns views of its tensors; backward hands the gradients to `callback` first."""

    @staticmethod
    def forward(ctx: Any, callback: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.callback = callback
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        return (None, *ctx.callback(grads))


class BackwardHooks:
    """The hooks of one call of one module."""

    def __init__(self, module: Any, pre: list[Callable], post: list[Callable]) -> None:
        self.module = module
        self.pre = pre
        self.post = post
        self.num_inputs = 0
        self.input_slots: list[int] = []
        self.grad_outputs: tuple | None = None

    def _scatter(self, slots: list[int], n: int, grads: tuple) -> tuple:
        full: list[Any] = [None] * n
        for slot, grad in zip(slots, grads):
            full[slot] = grad
        return tuple(full)

    def wrap_inputs(self, args: tuple) -> tuple:
        self.num_inputs = len(args)
        slots = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not slots or not is_grad_enabled():
            return args
        self.input_slots = slots
        wrapped = _Identity.apply(self._on_grad_input, *(args[i] for i in slots))
        wrapped = wrapped if isinstance(wrapped, tuple) else (wrapped,)
        out = list(args)
        for i, t in zip(slots, wrapped):
            out[i] = t
        return tuple(out)

    def wrap_outputs(self, output: Any) -> Any:
        single = isinstance(output, Tensor)
        if not single and not isinstance(output, (tuple, list)):
            return output
        items = [output] if single else list(output)
        slots = [i for i, t in enumerate(items) if isinstance(t, Tensor) and t.requires_grad]
        if not slots or not is_grad_enabled():
            return output
        n = len(items)
        wrapped = _Identity.apply(
            lambda grads: self._on_grad_output(slots, n, grads), *(items[i] for i in slots)
        )
        wrapped = wrapped if isinstance(wrapped, tuple) else (wrapped,)
        for i, t in zip(slots, wrapped):
            items[i] = t
        if single:
            return items[0]
        if hasattr(output, "_fields"):  # namedtuple
            return type(output)(*items)
        return type(output)(items)

    def _on_grad_output(self, slots: list[int], n: int, grads: tuple) -> tuple:
        full = self._scatter(slots, n, grads)
        for hook in self.pre:
            result = hook(self.module, full)
            if result is None:
                continue
            result = result if isinstance(result, tuple) else (result,)
            if len(result) != n:
                raise RuntimeError(
                    f"Backward pre hook returned an invalid number of grad_output, got {len(result)}, but expected {n}"
                )
            full = result
        self.grad_outputs = full
        if self.post and not self.input_slots:
            none = (None,) * self.num_inputs
            for hook in self.post:
                result = hook(self.module, none, full)
                if result is not None and not (
                    isinstance(result, tuple) and all(r is None for r in result)
                ):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or "
                        "None for all gradients."
                    )
        return tuple(full[i] for i in slots)

    def _on_grad_input(self, grads: tuple) -> tuple:
        if self.grad_outputs is None:
            return grads  # the outputs took no part in this backward
        full = self._scatter(self.input_slots, self.num_inputs, grads)
        for hook in self.post:
            result = hook(self.module, full, self.grad_outputs)
            if result is None:
                continue
            result = result if isinstance(result, tuple) else (result,)
            if len(result) != self.num_inputs:
                raise RuntimeError(
                    f"Backward hook returned an invalid number of grad_input, got {len(result)}, "
                    f"but expected {self.num_inputs}"
                )
            full = result
        self.grad_outputs = None
        return tuple(full[i] for i in self.input_slots)
