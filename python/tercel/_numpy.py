"""Exchange with NumPy; imported on first use."""

from __future__ import annotations

import numpy as np

from . import _core

_BITS = {_core.bfloat16: "uint16", _core.float8_e4m3fn: "uint8", _core.float8_e5m2: "uint8"}
_TYPES = {
    _core.float64: np.float64,
    _core.float32: np.float32,
    _core.float16: np.float16,
    _core.int8: np.int8,
    _core.uint8: np.uint8,
    _core.int16: np.int16,
    _core.int32: np.int32,
    _core.int64: np.int64,
    _core.bool: np.bool_,
}


def _ml_dtype(name: str):
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError(
            f"numpy: dtype {name} needs the package ml_dtypes (pip install ml_dtypes)"
        ) from None
    return np.dtype(getattr(ml_dtypes, name))


def to_numpy(tensor, *, force: bool = False):
    """The array behind Tensor.numpy(): shares memory."""
    if force:
        tensor = tensor.detach().cpu()
    if tensor.is_cuda:
        raise TypeError(
            f"numpy: expected a tensor on cpu, got one on {tensor.device}; use .cpu() first"
        )
    if tensor.requires_grad:
        raise RuntimeError("numpy: the tensor requires grad; use detach().numpy()")
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        return np.asarray(memoryview(tensor)) if tensor.dim() else np.asarray(tensor)
    name = str(tensor.dtype).removeprefix("tercel.")
    kind = _ml_dtype(name)
    raw = tensor.view(getattr(_core, "uint8" if bits == "uint8" else "int16"))
    return np.asarray(raw).view(kind)


def from_numpy(array):
    """Tensor that shares memory with a NumPy array; read-only arrays give read-only tensors."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected numpy.ndarray, got {type(array).__name__}")
    if not array.dtype.isnative:
        raise ValueError(
            f"from_numpy: dtype {array.dtype.str} is not in native byte order; use array.astype"
        )
    name = array.dtype.name
    if array.dtype.kind == "V" or name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        if name not in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
            raise TypeError(f"from_numpy: dtype {array.dtype} is not supported")
        raw = array.view(np.int16 if name == "bfloat16" else np.uint8)
        return _core._from_buffer(raw).view(getattr(_core, name))
    return _core._from_buffer(array)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """Tensor from an array, DLPack object, buffer or sequence; `copy` True always, False never copies."""
    if isinstance(obj, np.ndarray) and array_supported(obj):
        tensor = from_numpy(obj)
    elif hasattr(obj, "__dlpack__") and not isinstance(obj, _core.Tensor):
        tensor = _core.from_dlpack(obj)
    else:
        tensor = _core.as_tensor(obj)
        if copy is False and not isinstance(obj, _core.Tensor):
            raise ValueError("asarray: copy=False, but a sequence cannot be shared")
    result = tensor if dtype is None else tensor.to(dtype)
    if copy is False and dtype is not None and result.dtype is not tensor.dtype:
        raise ValueError(f"asarray: copy=False, but converting to {dtype} needs a copy")
    if copy and result is tensor:
        result = tensor.clone()
    if device is None and not isinstance(obj, _core.Tensor) and not result.is_cuda:
        device = _core.get_default_device()
    if device is not None:
        result = result.to(device)
    return result.requires_grad_() if requires_grad else result


def array_supported(array) -> bool:
    """True if from_numpy can share this array as it is."""
    return array.dtype.isnative and all(s >= 0 for s in array.strides)


def array_of(tensor, dtype=None, copy=None):
    """Tensor.__array__."""
    array = to_numpy(tensor)
    if dtype is not None and np.dtype(dtype) != array.dtype:
        if copy is False:
            raise ValueError("__array__: copy=False, but converting the dtype needs a copy")
        return array.astype(dtype)
    return array.copy() if copy else array


def wrap(array):
    """Tensor.__array_wrap__: what numpy.exp(tensor) returns."""
    array = np.asarray(array)
    return from_numpy(array) if array.dtype.type in _TYPES.values() else array
