"""Layers that take their input size from the first input they see.

A lazy layer starts with empty parameters of the right kind. Its first call (or loading a state dict) gives
them their shapes in place, so an optimizer that holds them keeps working, and the layer becomes the ordinary
class: ``LazyLinear(8)`` is a ``Linear`` after one forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core, no_grad
from .._core import Tensor, empty
from . import conv, norm
from .linear import Linear
from .module import Module
from .parameter import Buffer, Parameter


class UninitializedParameter(Parameter):
    """A parameter whose shape is not known yet; it holds no elements until :meth:`materialize`."""

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        return Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Makes this an ordinary Parameter of ``shape`` with uninitialised values."""
        _materialize(self, shape, device, dtype)
        self.__class__ = Parameter

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]

    def __repr__(self) -> str:
        return f"<UninitializedParameter dtype={self.dtype}>"


class UninitializedBuffer(Buffer):
    """A buffer whose shape is not known yet; see :class:`UninitializedParameter`."""

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        buffer = Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        return buffer

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Makes this an ordinary Buffer of ``shape`` with uninitialised values."""
        _materialize(self, shape, device, dtype)
        self.__class__ = Buffer

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedBuffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(
                self.requires_grad, self.device, self.dtype, self.persistent
            )
        return memo[id(self)]

    def __repr__(self) -> str:
        return f"<UninitializedBuffer dtype={self.dtype}>"


def _materialize(tensor: Tensor, shape: Any, device: Any, dtype: Any) -> None:
    tensor.data = empty(tuple(shape), device=device or tensor.device, dtype=dtype or tensor.dtype)


def is_lazy(param: Any) -> bool:
    """Whether ``param`` still waits for its shape."""
    return isinstance(param, (UninitializedParameter, UninitializedBuffer))


class LazyModuleMixin:
    """Base of lazy layers; put it before the layer's class.

    A subclass creates UninitializedParameters in ``__init__``, gives them shapes in
    ``initialize_parameters(*inputs)``, which runs before the first forward, and names in ``cls_to_become`` the
    class it turns into (None: it stays what it is).
    """

    cls_to_become: type[Module] | None = None

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer of this module (not of its children) has no shape yet."""
        return bool(self._lazy_members())

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Gives every uninitialised member its shape, from the inputs of the first forward."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            raise RuntimeError(
                f"module {type(self).__name__} has not been fully initialized by initialize_parameters"
            )
        if self.cls_to_become is None:
            return super().forward(*args, **kwargs)  # type: ignore[misc]
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        return self.forward(*args, **kwargs)

    def _lazy_members(self) -> dict[str, Any]:
        members = {**self._parameters, **self._buffers}  # type: ignore[attr-defined]
        return {name: member for name, member in members.items() if is_lazy(member)}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Empty members keep their class: only their dtype and device change.
        lazy = list(self._lazy_members().values())
        for member in lazy:
            member.data = fn(member.data)
        return super()._apply(  # type: ignore[misc]
            lambda t: t if t.numel() == 0 and any(t is m for m in lazy) else fn(t), recurse
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, member in self._lazy_members().items():
            value = state_dict.get(prefix + name)
            if isinstance(value, Tensor) and tuple(value.shape) != (0,):
                with no_grad():
                    member.materialize(value.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)  # type: ignore[misc]


class LazyLinear(LazyModuleMixin, Linear):
    """:class:`Linear` with ``in_features`` from the last dimension of its first input."""

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, 0, False)
        self.out_features = out_features
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        fresh = self.has_uninitialized_params()
        self.in_features = input.shape[-1] if fresh else self.weight.shape[1]
        if fresh:
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()


def _channels(module: Module, input: Tensor, ranks: tuple[int, ...], unbatched: int) -> int:
    """Size of the channel dim of an input whose rank is in ``ranks``; ``unbatched`` is the rank without N."""
    if input.dim() not in ranks:
        expected = " or ".join(f"{r}D" for r in ranks)
        raise RuntimeError(
            f"Expected {expected} input to {type(module).__name__}, but got input of size: {tuple(input.shape)}"
        )
    return input.shape[0 if input.dim() == unbatched else 1]


class _LazyConv(LazyModuleMixin):
    """Convolutions: ``in_channels`` from the channel dim."""

    def _make_lazy(self: Any, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.out_channels = out_channels
        if out_channels % self.groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if self.in_channels != 0:  # type: ignore[attr-defined]
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self: Any, input: Tensor, *args: Any, **kwargs: Any) -> None:
        if not self.has_uninitialized_params():
            per_group = self.weight.shape[0 if self._transposed else 1]
            self.in_channels = per_group * (1 if self._transposed else self.groups)
            return
        n = self._dims
        self.in_channels = _channels(self, input, (n + 1, n + 2), n + 1)
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        ends = (self.out_channels, self.in_channels // self.groups)
        if self._transposed:
            ends = (self.in_channels, self.out_channels // self.groups)
        self.weight.materialize((*ends, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyForwardConv(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)  # type: ignore[call-arg]
        self._make_lazy(out_channels, bias, device, dtype)


class _LazyTransposedConv(_LazyConv):
    def __init__(
        self,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0,
            0,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            False,
            dilation,
            padding_mode,
        )  # type: ignore[call-arg]
        self._make_lazy(out_channels, bias, device, dtype)


class _LazyNorm(LazyModuleMixin):
    """Batch and instance norm: ``num_features`` from the channel dim."""

    _defaults = (True, True)  # affine, track_running_stats
    _unbatched = False  # whether the smaller rank is an input without N

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool | None = None,
        track_running_stats: bool | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        affine = self._defaults[0] if affine is None else affine
        track = self._defaults[1] if track_running_stats is None else track_running_stats
        super().__init__(0, eps, momentum, False, False)  # type: ignore[call-arg]
        self.affine, self.track_running_stats = affine, track
        make = {"device": device, "dtype": dtype}
        if affine:
            self.weight = UninitializedParameter(**make)
            self.bias = UninitializedParameter(**make) if bias else None
        if track:
            self.running_mean: Any = UninitializedBuffer(**make)
            self.running_var: Any = UninitializedBuffer(**make)
            self.num_batches_tracked = _core.zeros((), dtype=_core.int64, device=device)

    def reset_parameters(self) -> None:
        if self.num_features != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self: Any, input: Tensor) -> None:
        fresh = self._lazy_members()
        if not fresh:
            known = self.weight if self.weight is not None else self.running_mean
            if known is not None:
                self.num_features = known.shape[0]
                return
        self.num_features = _channels(
            self, input, self._ranks, self._ranks[0] if self._unbatched else -1
        )
        for member in fresh.values():
            member.materialize((self.num_features,))
        self.reset_parameters()


class _LazyInstanceNorm(_LazyNorm):
    _defaults = (False, False)
    _unbatched = True


def _lazy(base: type[Module], mixin: type) -> Any:
    """The class ``Lazy<base>``: the mixin in front of the layer it becomes."""
    name = f"Lazy{base.__name__}"
    doc = f":class:`{base.__name__}` that takes its number of input channels from its first input."
    return type(
        name, (mixin, base), {"cls_to_become": base, "__doc__": doc, "__module__": __name__}
    )


LazyConv1d = _lazy(conv.Conv1d, _LazyForwardConv)
LazyConv2d = _lazy(conv.Conv2d, _LazyForwardConv)
LazyConv3d = _lazy(conv.Conv3d, _LazyForwardConv)
LazyConvTranspose1d = _lazy(conv.ConvTranspose1d, _LazyTransposedConv)
LazyConvTranspose2d = _lazy(conv.ConvTranspose2d, _LazyTransposedConv)
LazyConvTranspose3d = _lazy(conv.ConvTranspose3d, _LazyTransposedConv)
LazyBatchNorm1d = _lazy(norm.BatchNorm1d, _LazyNorm)
LazyBatchNorm2d = _lazy(norm.BatchNorm2d, _LazyNorm)
LazyBatchNorm3d = _lazy(norm.BatchNorm3d, _LazyNorm)
LazyInstanceNorm1d = _lazy(norm.InstanceNorm1d, _LazyInstanceNorm)
LazyInstanceNorm2d = _lazy(norm.InstanceNorm2d, _LazyInstanceNorm)
LazyInstanceNorm3d = _lazy(norm.InstanceNorm3d, _LazyInstanceNorm)
