"""autocast (Micikevicius et al. 2018): 16-bit products, float32 where the range matters.

narrow   matmul mm bmm mv addmm addmv addbmm baddbmm linear linear_act gated_linear and what is made of them
         (einsum, @, nn.Linear), conv1d..3d, conv_transpose1d..3d
float32  softmax log_softmax, batch/layer/rms/group/instance norm, the losses (cross_entropy, nll, mse, l1,
         smooth_l1, huber, binary_cross_entropy(_with_logits), kl_div, poisson_nll, cosine_embedding, triplet)
others   run in the dtype of their inputs; mixed inputs promote
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from .. import _core

_NARROW = (_core.bfloat16, _core.float16)


def _device(device_type: str | None, op: str) -> None:
    if device_type not in (None, "cpu", "cuda"):
        raise ValueError(f"{op}: device_type must be 'cpu' or 'cuda', got {device_type!r}")


def without_device(device: str, enabled: bool, owner: str) -> bool:
    """True, with a warning, where `owner` was enabled for CUDA and there is no device."""
    if not enabled or device != "cuda" or _core._cuda_device_count() > 0:
        return False
    warnings.warn(f"{owner}: there is no CUDA device, so it is disabled", stacklevel=3)
    return True


def is_autocast_available(device_type: str) -> bool:
    """True for 'cpu', and for 'cuda' if there is a device."""
    return device_type == "cpu" or (device_type == "cuda" and _core._cuda_device_count() > 0)


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on in this thread."""
    _device(device_type, "is_autocast_enabled")
    return bool(_core._autocast_state()[0])


def get_autocast_dtype(device_type: str = "cpu") -> _core.dtype:
    """The dtype of products under autocast; bfloat16 unless set otherwise."""
    _device(device_type, "get_autocast_dtype")
    return _core._autocast_state()[1]


def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """set_autocast_enabled('cpu', True) or set_autocast_enabled(True), for this thread."""
    if enabled is None:
        device_type, enabled = "cpu", bool(device_type)
    _device(str(device_type), "set_autocast_enabled")
    _, dtype, cache = _core._autocast_state()
    _core._set_autocast(bool(enabled), dtype, cache)


def set_autocast_dtype(device_type: str, dtype: _core.dtype) -> None:
    """Sets what get_autocast_dtype returns, for this thread."""
    _device(device_type, "set_autocast_dtype")
    _check_dtype(dtype)
    enabled, _, cache = _core._autocast_state()
    _core._set_autocast(enabled, dtype, cache)


def _check_dtype(dtype: _core.dtype) -> None:
    if dtype not in _NARROW:
        raise ValueError(f"autocast: dtype must be bfloat16 or float16, got {dtype}")


class autocast:
    """Context manager and decorator; regions nest and belong to a thread.

    with tercel.amp.autocast("cpu", dtype=tercel.bfloat16):
        loss = criterion(model(x), y)
    loss.backward()                       # outside: gradients arrive in the dtype of each parameter

    device_type: 'cpu' or 'cuda'; a region applies to the tensors of every device. dtype: bfloat16 or float16;
    default bfloat16 for 'cpu', float16 for 'cuda'; without a CUDA device 'cuda' warns and is disabled. enabled=False makes an inner region run in the
    given dtypes. cache_enabled: a float32 weight used several times in a region is cast once; in-place changes are
    noticed, and the outermost region drops the casts at its end.
    """

    def __init__(
        self,
        device_type: str = "cpu",
        dtype: _core.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ):
        _device(device_type, "autocast")
        if dtype is not None and enabled:
            _check_dtype(dtype)
        self.device = device_type
        self.fast_dtype = dtype
        self._enabled = bool(enabled) and not without_device(
            device_type, enabled, "autocast('cuda')"
        )
        self._cache = True if cache_enabled is None else bool(cache_enabled)
        self._before: list[tuple] = []

    def __enter__(self) -> autocast:
        state = _core._autocast_state()
        self._before.append(state)
        default = _core.float16 if self.device == "cuda" and self._enabled else state[1]
        dtype = self.fast_dtype if self.fast_dtype in _NARROW else default
        _core._set_autocast(self._enabled, dtype, self._cache)
        return self

    def __exit__(self, *exc: Any) -> None:
        state = self._before.pop()
        _core._set_autocast(*state)
        if not state[0]:
            _core._clear_autocast_cache()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with autocast(self.device, self.fast_dtype, self._enabled, self._cache):
                return function(*args, **kwargs)

        return wrapped


def custom_fwd(
    fwd: Callable | None = None, *, device_type: str = "cpu", cast_inputs: _core.dtype | None = None
) -> Callable:
    """Decorator of Function.forward: remembers the autocast state for custom_bwd; with cast_inputs the float
    tensors are cast to it and forward runs with autocast off."""
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)
    _device(device_type, "custom_fwd")

    @functools.wraps(fwd)
    def wrapped(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        enabled, dtype, _ = _core._autocast_state()
        ctx._autocast = (enabled and cast_inputs is None, dtype)
        if cast_inputs is None or not enabled:
            return fwd(ctx, *args, **kwargs)

        def cast(value: Any) -> Any:
            is_float = isinstance(value, _core.Tensor) and value.dtype.is_floating_point
            return value.to(cast_inputs) if is_float and value.dtype != _core.float64 else value

        with autocast(device_type, enabled=False):
            return fwd(ctx, *map(cast, args), **{k: cast(v) for k, v in kwargs.items()})

    return wrapped


def custom_bwd(bwd: Callable | None = None, *, device_type: str = "cpu") -> Callable:
    """Decorator of Function.backward: runs it with the autocast state of its forward."""
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)
    _device(device_type, "custom_bwd")

    @functools.wraps(bwd)
    def wrapped(ctx: Any, *args: Any) -> Any:
        enabled, dtype = ctx._autocast
        with autocast(device_type, dtype=dtype, enabled=enabled):
            return bwd(ctx, *args)

    return wrapped
