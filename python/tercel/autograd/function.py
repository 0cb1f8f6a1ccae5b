"""autograd.Function: rules written in Python."""

from __future__ import annotations

from .. import _core
from . import _wraps, is_grad_enabled, no_grad

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


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
