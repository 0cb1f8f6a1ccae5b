"""What changes all members of a Module at once: dtype and device, training mode, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .. import _core, no_grad
from .._core import Tensor

if TYPE_CHECKING:
    from .module import Module

    T = TypeVar("T", bound="Module")


class ModuleConversions:
    """Casts, moves and modes for Module."""

    def apply(self: T, fn: Callable[[Module], None]) -> T:
        """Calls ``fn`` on every child (depth first) and on this module. Returns self."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def _apply(self: T, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> T:
        if recurse:
            for child in self.children():
                child._apply(fn)
        with no_grad():
            for param in self._parameters.values():
                if param is None:
                    continue
                grad = param.grad
                param.data = fn(
                    param.data
                )  # the object stays the same: optimizers keep pointing at it
                if grad is not None:
                    param.grad = fn(grad).requires_grad_(grad.requires_grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    new = fn(buffer)
                    if new is not buffer:
                        self._buffers[name] = new
        return self

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Moves and/or casts parameters and buffers in place: ``to(device)``, ``to(dtype)``, ``to(tensor)``,
        ``to(device, dtype)``. Only floating-point members change their dtype. Returns self."""
        device, dtype = _parse_to(args, kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}"
            )

        def convert(t: Tensor) -> Tensor:
            if dtype is not None and t.is_floating_point():
                return t.to(dtype) if device is None else t.to(device, dtype)
            return t if device is None else t.to(device)

        return self._apply(convert)

    def type(self: T, dst_type: Any) -> T:
        return self._apply(lambda t: t.to(dst_type))

    def _cast(self: T, name: str) -> T:
        dtype = getattr(_core, name)
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self: T) -> T:
        return self._cast("float32")

    def double(self: T) -> T:
        return self._cast("float64")

    def half(self: T) -> T:
        return self._cast("float16")

    def bfloat16(self: T) -> T:
        return self._cast("bfloat16")

    def cpu(self: T) -> T:
        return self._apply(lambda t: t.to("cpu"))

    def cuda(self: T, device: int | str | None = None) -> T:
        target = (
            "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
        )
        return self._apply(lambda t: t.to(target))

    def train(self: T, mode: bool = True) -> T:
        """Sets training mode (dropout active, batch statistics used) here and below. Returns self."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: T) -> T:
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clears the gradients of all parameters."""
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
            else:
                param.grad = grad.detach().zero_()

    def to_empty(self: T, *, device: Any, recurse: bool = True) -> T:
        """Moves parameters and buffers to ``device`` without keeping their values."""
        return self._apply(lambda t: _core.empty_like(t).to(device), recurse=recurse)


def _parse_to(args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """(device, dtype) from the call forms of Module.to."""
    unknown = set(kwargs) - {"device", "dtype", "tensor", "non_blocking", "memory_format"}
    if unknown:
        raise TypeError(f"to(): unexpected keyword argument {sorted(unknown)[0]!r}")
    device, dtype, tensor = kwargs.get("device"), kwargs.get("dtype"), kwargs.get("tensor")
    for arg in args:
        if isinstance(arg, Tensor):
            tensor = arg
        elif isinstance(arg, (str, int)) and not isinstance(arg, bool):
            device = arg
        elif hasattr(arg, "is_floating_point"):
            dtype = arg
        elif arg is not None and not isinstance(arg, bool):  # a bool is non_blocking
            device = arg
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    return device, dtype
