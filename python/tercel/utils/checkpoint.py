"""Activation checkpointing: forward again in backward instead of keeping activations (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import autograd, enable_grad, get_rng_state, is_grad_enabled, no_grad, set_rng_state
from .._core import Tensor, tensor


class _Checkpoint(autograd.Function):
    """Input 0 is a dummy that requires grad, so that parameters get gradients even if no input does."""

    @staticmethod
    def forward(ctx: Any, dummy: Tensor, function: Callable, preserve_rng: bool, *args: Any) -> Any:
        ctx.function = function
        ctx.rng_state = get_rng_state() if preserve_rng else None
        ctx.tensor_slots = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.other_args = [None if isinstance(a, Tensor) else a for a in args]
        ctx.needs = [isinstance(a, Tensor) and a.requires_grad for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.tensor_slots))
        with no_grad():
            return function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple:
        args = list(ctx.other_args)
        for slot, value in zip(ctx.tensor_slots, ctx.saved_tensors):
            args[slot] = value.detach().requires_grad_(ctx.needs[slot])
        now = get_rng_state()
        if ctx.rng_state is not None:
            set_rng_state(ctx.rng_state)
        try:
            with enable_grad():
                outputs = ctx.function(*args)
        finally:
            if ctx.rng_state is not None:
                set_rng_state(now)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        pairs = [
            (out, grad)
            for out, grad in zip(outputs, grads)
            if isinstance(out, Tensor) and out.requires_grad and grad is not None
        ]
        if not pairs:
            raise RuntimeError(
                "checkpoint: none of the outputs requires grad, so checkpointing is not needed"
            )
        # Parameters used inside accumulate their gradients here.
        autograd.backward([out for out, _ in pairs], [grad for _, grad in pairs])
        return (None, None, None, *(a.grad if need else None for a, need in zip(args, ctx.needs)))


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)`` without keeping its activations: they are computed again in backward.

    Gradients reach tensors in ``args`` and parameters used by ``function``. With ``preserve_rng_state``
    dropout draws the same mask in both runs. ``use_reentrant`` is accepted and has no effect.
    ``function`` returns a tensor or a tuple of tensors. Works with ``backward()``; with
    ``autograd.grad`` the gradients of parameters used inside are accumulated, not returned.
    """
    if not callable(function):
        raise TypeError(f"checkpoint: function must be callable, got {type(function).__name__}")
    if not is_grad_enabled():
        return function(*args, **kwargs)
    run = (lambda *a: function(*a, **kwargs)) if kwargs else function
    return _Checkpoint.apply(tensor(0.0, requires_grad=True), run, preserve_rng_state, *args)


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """Runs a Sequential (or list of functions) in ``segments`` checkpointed parts; the last one keeps its
    activations, as its backward comes first."""
    steps: Sequence[Any] = (
        list(functions.children()) if hasattr(functions, "children") else list(functions)
    )
    if not 1 <= segments <= max(len(steps), 1):
        raise ValueError(
            f"checkpoint_sequential: segments must lie in [1, {len(steps)}], got {segments}"
        )

    def chain(part: Sequence[Any]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in part:
                x = step(x)
            return x

        return run

    size = len(steps) // segments
    start = 0
    for _ in range(segments - 1):
        input = checkpoint(
            chain(steps[start : start + size]), input, preserve_rng_state=preserve_rng_state
        )
        start += size
    return chain(steps[start:])(input)
