"""Automatic differentiation: modes, backward and grad; rules written in Python (function.py), Jacobians
(functional.py), gradient checks (_gradcheck.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _core
from .._core import (
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
)

if TYPE_CHECKING:
    from ._gradcheck import gradcheck, gradgradcheck
    from .function import Function, FunctionCtx, once_differentiable
    from .variable import Variable

__all__ = [
    "Function",
    "FunctionCtx",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def _wraps(fn):
    """functools.wraps without its import time."""

    def decorate(wrapper):
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(fn, name):
                setattr(wrapper, name, getattr(fn, name))
        wrapper.__wrapped__ = fn
        return wrapper

    return decorate


class _Mode:
    """Context manager and decorator around a thread-local switch."""

    def __call__(self, fn):
        if getattr(getattr(fn, "__code__", None), "co_flags", 0) & 0x20:  # a generator function
            return self._around_generator(fn)

        @_wraps(fn)
        def wrapped(*args, **kwargs):
            with type(self)._again(self):
                return fn(*args, **kwargs)

        return wrapped

    def _around_generator(self, fn):
        """The mode holds while the generator runs, not while its caller does."""

        @_wraps(fn)
        def wrapped(*args, **kwargs):
            generator = fn(*args, **kwargs)
            resume, value = generator.send, None
            while True:
                try:
                    with type(self)._again(self):
                        item = resume(value)
                except StopIteration as end:
                    return end.value
                try:
                    resume, value = generator.send, (yield item)
                except GeneratorExit:
                    with type(self)._again(self):
                        generator.close()
                    raise
                except BaseException as error:
                    resume, value = generator.throw, error

        return wrapped

    def _again(self):
        return type(self)()


class no_grad(_Mode):
    """Operations inside record no gradient. Context manager or decorator."""

    def __new__(cls, fn=None):
        self = super().__new__(cls)
        return self if fn is None else self(fn)

    def __enter__(self):
        self.previous = _core._set_grad_enabled(False)

    def __exit__(self, *exc):
        _core._set_grad_enabled(self.previous)


class enable_grad(_Mode):
    """Operations inside record gradients again. Context manager or decorator."""

    def __new__(cls, fn=None):
        self = super().__new__(cls)
        return self if fn is None else self(fn)

    def __enter__(self):
        self.previous = _core._set_grad_enabled(True)

    def __exit__(self, *exc):
        _core._set_grad_enabled(self.previous)


class set_grad_enabled(_Mode):
    """Switches gradient recording at once; as a context manager it switches back at the end."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)
        self.previous = _core._set_grad_enabled(self.mode)

    def __enter__(self):
        _core._set_grad_enabled(self.mode)

    def __exit__(self, *exc):
        _core._set_grad_enabled(self.previous)

    def __call__(self, fn):
        _core._set_grad_enabled(self.previous)  # used as a decorator: nothing changes now
        return super().__call__(fn)

    def _again(self):
        return set_grad_enabled(self.mode)


class inference_mode(_Mode):
    """Like no_grad; tensors made inside never require grad, and are not written or saved for backward outside."""

    def __new__(cls, mode=True):
        self = super().__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = bool(mode)
        return self

    def __enter__(self):
        self.previous = _core._set_inference_mode(self.mode), _core._set_grad_enabled(not self.mode)

    def __exit__(self, *exc):
        _core._set_inference_mode(self.previous[0])
        _core._set_grad_enabled(self.previous[1])

    def _again(self):
        return inference_mode(self.mode)


class set_detect_anomaly:
    """Switches anomaly mode: errors in backward name the forward line; NaN gradients raise."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.previous = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        _core._set_anomaly(bool(mode), bool(check_nan))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        _core._set_anomaly(*self.previous)


class detect_anomaly(set_detect_anomaly):
    """Context manager that turns anomaly mode on; see set_detect_anomaly."""

    def __init__(self, check_nan: bool = True):
        super().__init__(True, check_nan)


def backward(
    tensors,
    grad_tensors=None,
    retain_graph=None,
    create_graph=False,
    grad_variables=None,
    inputs=None,
) -> None:
    """Gradients of the sum of `tensors` (weighted by `grad_tensors`), added to the leaves' .grad.

    inputs: the leaves that accumulate (default: all); grad_variables: old name of grad_tensors.
    """
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError("backward: give grad_tensors or grad_variables, not both")
        grad_tensors = grad_variables
    _core._backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    only_inputs=True,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
):
    """Gradients of `outputs` with respect to `inputs`, as a tuple; .grad stays untouched.

    allow_unused: None for inputs that the outputs do not depend on, instead of an error;
    materialize_grads: zeros for them; is_grads_batched: grad_outputs has a leading dimension, and so
    have the results (one backward pass for each entry); only_inputs must be True.
    """
    if not only_inputs:
        raise ValueError("grad: only_inputs=False is not provided; use backward()")
    if materialize_grads and allow_unused is False:
        raise ValueError("grad: materialize_grads=True needs allow_unused=True or None, got False")
    unused = bool(allow_unused) or materialize_grads
    if is_grads_batched:
        result = _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, unused)
    else:
        result = _core._grad(outputs, inputs, grad_outputs, retain_graph, create_graph, unused)
    if materialize_grads:
        sources = (inputs,) if isinstance(inputs, _core.Tensor) else inputs
        lead = _batch_of(grad_outputs) if is_grads_batched else ()
        result = tuple(
            _core.zeros((*lead, *x.shape), dtype=x.dtype, device=x.device) if g is None else g
            for g, x in zip(result, sources, strict=True)
        )
    return result


def _batch_of(grad_outputs):
    """(B,): the length of the gradients of is_grads_batched."""
    given = (grad_outputs,) if isinstance(grad_outputs, _core.Tensor) else tuple(grad_outputs or ())
    lengths = {g.shape[0] if g is not None and g.dim() else None for g in given} or {None}
    if len(lengths) != 1 or None in lengths:
        raise ValueError(
            "grad: is_grads_batched expects grad_outputs with one common leading dimension, "
            f"got sizes {[None if g is None else tuple(g.shape) for g in given]}"
        )
    return (lengths.pop(),)


def _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, unused):
    (count,) = _batch_of(grad_outputs)
    sources = (inputs,) if isinstance(inputs, _core.Tensor) else tuple(inputs)
    if count == 0:
        return tuple(_core.zeros((0, *x.shape), dtype=x.dtype, device=x.device) for x in sources)
    rows = []
    for b in range(count):
        row = (
            grad_outputs[b]
            if isinstance(grad_outputs, _core.Tensor)
            else [g[b] for g in grad_outputs]
        )
        keep = True if b + 1 < count else retain_graph
        rows.append(_core._grad(outputs, inputs, row, keep, create_graph, unused))
    return tuple(None if each[0] is None else _core.stack(each) for each in zip(*rows, strict=True))


_LAZY = {
    "Function": "function",
    "Variable": "variable",
    "FunctionCtx": "function",
    "once_differentiable": "function",
    "gradcheck": "_gradcheck",
    "gradgradcheck": "_gradcheck",
}


def __getattr__(name: str):  # what is loaded when first used
    from importlib import import_module

    if name in ("function", "functional", "variable"):
        return import_module(f"{__name__}.{name}")
    if name in _LAZY:
        value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
