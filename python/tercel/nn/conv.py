"""Convolutions and transposed convolutions in one, two and three dimensions (channels first)."""

from __future__ import annotations

import math
from typing import Any

from .._core import Tensor, empty
from . import functional as F
from . import init
from ._sizes import check_positive, each, ntuple
from .module import Module
from .parameter import Parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: settings, weight [out, in/groups, k...] (transposed: [in, out/groups, k...])."""

    _dims: int
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        n = self._dims
        check_positive(groups, "groups", type(self).__name__)
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, n)
        self.stride = ntuple(stride, n)
        self.dilation = ntuple(dilation, n)
        self.output_padding = ntuple(output_padding, n)
        self.groups = groups
        self.padding_mode = padding_mode
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of ('same', 'valid')"
                )
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
            self.padding = padding
            pads = [(0, 0)] * n
            if padding == "same":
                totals = [d * (k - 1) for d, k in zip(each(self.dilation, n), self.kernel_size)]
                pads = [(t // 2, t - t // 2) for t in totals]
        else:
            self.padding = ntuple(padding, n)
            pads = [(p, p) for p in each(self.padding, n)]
        for name in ("kernel_size", "stride", "padding", "dilation", "output_padding"):
            sizes = getattr(self, name)
            if not isinstance(sizes, str) and len(sizes) not in (
                (n,) if name == "kernel_size" else (1, n)
            ):
                raise ValueError(
                    f"{type(self).__name__}: {name} must have {n} entries, got {len(sizes)}"
                )
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got padding_mode='{padding_mode}'"
            )
        # What F.pad needs when the padding is not zeros: before/after of each dim, last dim first.
        self._pad_sides = [p for side in reversed(pads) for p in side]
        channels = (
            (in_channels, out_channels // groups)
            if self._transposed
            else (out_channels, in_channels // groups)
        )
        self.weight = Parameter(empty((*channels, *self.kernel_size), device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _pad(self, input: Tensor) -> Tensor:
        return F.pad(input, self._pad_sides, self.padding_mode)

    def extra_repr(self) -> str:
        s = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.padding):
            s += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            s += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            s += f", output_padding={self.output_padding}"
        if self.groups != 1:
            s += f", groups={self.groups}"
        if self.bias is None:
            s += ", bias=False"
        if self.padding_mode != "zeros":
            s += f", padding_mode={self.padding_mode}"
        return s


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
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
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )


class Conv1d(_Conv):
    """``(N, C_in, L) -> (N, C_out, L')`` with ``weight`` [C_out, C_in/groups, k]; also without N.

    ``padding`` is an int, a tuple, "same" or "valid"; ``padding_mode`` zeros, reflect, replicate or circular.
    ``L' = (L + 2 padding - dilation (k - 1) - 1) // stride + 1``.
    """

    _dims = 1

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return F.conv1d(
                self._pad(input), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
            )
        return F.conv1d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv2d(_Conv):
    """``(N, C_in, H, W) -> (N, C_out, H', W')`` with ``weight`` [C_out, C_in/groups, kh, kw]; also without N.

    Arguments and output size as in :class:`Conv1d`, per dimension.
    """

    _dims = 2

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return F.conv2d(
                self._pad(input), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
            )
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv3d(_Conv):
    """``(N, C_in, D, H, W) -> (N, C_out, D', H', W')``; also without N. Arguments as in :class:`Conv1d`."""

    _dims = 3

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode != "zeros":
            return F.conv3d(
                self._pad(input), self.weight, self.bias, self.stride, 0, self.dilation, self.groups
            )
        return F.conv3d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class _ConvTransposeNd(_ConvNd):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
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
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(self, input: Tensor, output_size: list[int] | None) -> tuple[int, ...]:
        """The output padding that gives `output_size` (the sizes after N and C, or all of them)."""
        if output_size is None:
            return self.output_padding
        n = self._dims
        sizes = list(output_size)[-n:]
        if len(output_size) not in (n, input.dim()):
            raise ValueError(
                f"{type(self).__name__}: for {input.dim()}D input, output_size must have {n} or {input.dim()} "
                f"elements (got {len(output_size)})"
            )
        result = []
        stride, padding, dilation = (each(s, n) for s in (self.stride, self.padding, self.dilation))
        for i in range(n):
            smallest = (
                (input.shape[i - n] - 1) * stride[i]
                - 2 * padding[i]
                + dilation[i] * (self.kernel_size[i] - 1)
                + 1
            )
            extra = sizes[i] - smallest
            if not 0 <= extra < stride[i]:
                raise ValueError(
                    f"requested an output size of {output_size}, but valid sizes of dimension {i} range from "
                    f"{smallest} to {smallest + stride[i] - 1} (for an input of {list(input.shape[-n:])})"
                )
            result.append(extra)
        return tuple(result)


class ConvTranspose1d(_ConvTransposeNd):
    """Gradient of :class:`Conv1d` by its input, as a layer: ``(N, C_in, L) -> (N, C_out, L')``.

    ``weight`` is [C_in, C_out/groups, k];
    ``L' = (L - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1``.
    """

    _dims = 1

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return F.conv_transpose1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class ConvTranspose2d(_ConvTransposeNd):
    """``(N, C_in, H, W) -> (N, C_out, H', W')``; sizes as in :class:`ConvTranspose1d`, per dimension."""

    _dims = 2

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return F.conv_transpose2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class ConvTranspose3d(_ConvTransposeNd):
    """``(N, C_in, D, H, W) -> (N, C_out, D', H', W')``; sizes as in :class:`ConvTranspose1d`, per dimension."""

    _dims = 3

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return F.conv_transpose3d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )
