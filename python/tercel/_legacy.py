"""Typed tensor classes of older programs (FloatTensor, LongTensor, ...) and the names of dtypes that go with them."""

from __future__ import annotations

from . import _core

_NAMES = {
    "DoubleTensor": _core.float64,
    "FloatTensor": _core.float32,
    "HalfTensor": _core.float16,
    "BFloat16Tensor": _core.bfloat16,
    "CharTensor": _core.int8,
    "ByteTensor": _core.uint8,
    "ShortTensor": _core.int16,
    "IntTensor": _core.int32,
    "LongTensor": _core.int64,
    "BoolTensor": _core.bool,
    "Float8_e4m3fnTensor": _core.float8_e4m3fn,
    "Float8_e5m2Tensor": _core.float8_e5m2,
}
_OF_DTYPE = {dtype: name for name, dtype in _NAMES.items()}


class _TypedTensor(type):
    """Class whose instances are the CPU tensors of one dtype."""

    dtype: _core.dtype

    def __instancecheck__(cls, value):
        return isinstance(value, _core.Tensor) and value.dtype is cls.dtype and not value.is_cuda

    def __call__(cls, *args):
        """FloatTensor(data), FloatTensor(2, 3) or FloatTensor(Size([2, 3])): uninitialised for sizes."""
        if not args:
            return _core.empty(0, dtype=cls.dtype, device="cpu")
        if len(args) > 1 or isinstance(args[0], (int, _core.Size)):
            return _core.empty(*args, dtype=cls.dtype, device="cpu")
        return _core.tensor(args[0], dtype=cls.dtype, device="cpu")

    def __repr__(cls):
        return f"<class 'tercel.{cls.__name__}'>"


def __getattr__(name: str):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = _TypedTensor(name, (), {"dtype": _NAMES[name], "__module__": "tercel"})
    globals()[name] = value
    return value


def typename(obj) -> str:
    """'tercel.FloatTensor' for a float32 tensor on the CPU; the name of the type for other objects."""
    if isinstance(obj, _core.Tensor):
        return f"tercel.{'cuda.' if obj.is_cuda else ''}{_OF_DTYPE[obj.dtype]}"
    cls = obj if isinstance(obj, type) else type(obj)
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def type(self, dtype=None, non_blocking=False, _type=type):
    """Name of the tensor's type ('tercel.FloatTensor'), or the tensor cast to dtype: a dtype, such a name or class."""
    if dtype is None:
        return typename(self)
    if isinstance(dtype, _TypedTensor):
        return self.to("cpu", dtype.dtype, non_blocking)
    if isinstance(dtype, str):
        package, _, name = dtype.partition(".")
        cuda, name = name.startswith("cuda."), name.removeprefix("cuda.")
        if package not in ("tercel", "torch") or name not in _NAMES:
            raise ValueError(
                f"type: expected a dtype or a name like 'tercel.FloatTensor', got {dtype!r}"
            )
        return self.to("cuda" if cuda else "cpu", _NAMES[name], non_blocking)
    if dtype not in _OF_DTYPE and dtype not in (float, int, bool):
        raise TypeError(
            f"type: expected a dtype or a name like 'tercel.FloatTensor', got {_type(dtype).__name__}"
        )
    return self.to(dtype, non_blocking)


def set_default_tensor_type(t) -> None:
    """Older form of set_default_dtype: a float tensor class such as FloatTensor, or its name."""
    name = t.__name__ if isinstance(t, _TypedTensor) else str(t)
    package, _, last = name.rpartition(".")
    if last not in _NAMES or package not in ("", "tercel", "torch"):
        raise TypeError(
            f"set_default_tensor_type: expected a class like tercel.FloatTensor or its name, got {t!r}; "
            "for other devices use set_default_device"
        )
    _core.set_default_dtype(_NAMES[last])


def new(self, *args, device=None):
    """A tensor of self's dtype and device: new(data), new(2, 3) (uninitialised), new()."""
    if len(args) == 1 and not isinstance(args[0], (int, _core.Size)):
        return self.new_tensor(args[0], device=device)
    return self.new_empty(args[0] if len(args) == 1 else args or (0,), device=device)
