"""Automatic differentiation: modes, backward and grad, rules written in Python, gradient checks (_gradcheck.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core
from ._core import (
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
)

if TYPE_CHECKING:
    from ._gradcheck import gradcheck, gradgradcheck

__all__ = [
    "Function",
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
        @_wraps(fn)
        def wrapped(*args, **kwargs):
            with type(self)._again(self):
                return fn(*args, **kwargs)

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
    """Like no_grad; tensors made inside can never take part in recorded operations."""

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
    tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None
) -> None:
    """Gradients of the sum of `tensors` (weighted by `grad_tensors`), added to the leaves' .grad."""
    _core._backward(tensors, grad_tensors, retain_graph, create_graph, inputs)


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph=None,
    create_graph=False,
    allow_unused=None,
    is_grads_batched=False,
    materialize_grads=False,
):
    """Gradients of `outputs` with respect to `inputs`, as a tuple; .grad stays untouched.

    allow_unused: None for inputs that the outputs do not depend on, instead of an error;
    materialize_grads: zeros for them.
    """
    if is_grads_batched:
        raise NotImplementedError("grad: is_grads_batched is not provided; loop over the gradients")
    unused = materialize_grads if allow_unused is None else allow_unused
    result = _core._grad(
        outputs, inputs, grad_outputs, retain_graph, create_graph, unused or materialize_grads
    )
    if materialize_grads:
        sources = (inputs,) if isinstance(inputs, _core.Tensor) else inputs
        result = tuple(
            _core.zeros(x.shape, dtype=x.dtype, device=x.device) if g is None else g
            for g, x in zip(result, sources, strict=True)
        )
    return result


class FunctionCtx:
    """What forward leaves for backward of a Function."""

    def __init__(self):
        self._to_save = None
        self._saved = None
        self._dirty = None
        self._non_differentiable = None
        self._materialize_grads = True
        self.needs_input_grad = ()

    def save_for_backward(self, *tensors):
        """Keeps tensors for backward, checked against in-place overwriting."""
        self._to_save = tensors

    @property
    def saved_tensors(self):
        """The tensors of save_for_backward (in backward, or in forward after the call)."""
        if self._saved is not None:
            return self._saved
        if self._to_save is not None:
            return self._to_save
        return ()

    def mark_dirty(self, *tensors):
        """Declares inputs that forward changed in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors):
        """Declares outputs without gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool):
        """False: backward receives None for outputs whose gradient is zero."""
        self._materialize_grads = bool(value)


class Function:
    """A differentiable operation written in Python.

    Subclasses define static methods `forward(ctx, *args)` and `backward(ctx, *grads)`, or
    `forward(*args)` with `setup_context(ctx, inputs, output)`; callers use `apply`.

    Example::

        class Square(tercel.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return 2 * x * g

        y = Square.apply(x)
    """

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("Function: forward must be defined")

    @staticmethod
    def backward(ctx, *grads):
        raise NotImplementedError("Function: backward must be defined")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("Function: setup_context is not defined")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Runs forward on the arguments and records backward for the tensors among them."""
        ctx = FunctionCtx()
        recording = is_grad_enabled()
        ctx.needs_input_grad = tuple(
            recording and isinstance(a, _core.Tensor) and a.requires_grad for a in args
        )
        previous = _core._set_grad_enabled(False)
        try:
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args, **kwargs)
        finally:
            _core._set_grad_enabled(previous)
        if isinstance(result, list):
            result = tuple(result)
        return _core._function_apply(cls, ctx, args, result)


def once_differentiable(fn):
    """Marks a backward whose result cannot be differentiated again."""

    @_wraps(fn)
    def wrapped(ctx, *grads):
        with no_grad():
            return fn(ctx, *grads)

    return wrapped


def __getattr__(name: str):
    if name in ("gradcheck", "gradgradcheck"):  # loaded when first used
        from . import _gradcheck

        return getattr(_gradcheck, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
