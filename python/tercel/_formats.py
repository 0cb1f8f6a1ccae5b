"""memory_format and layout: values that PyTorch's arguments of these names take. Tensors are strided; the formats are
accepted and change no layout."""

from __future__ import annotations


class _Name(str):
    def __repr__(self) -> str:
        return "tercel." + super().__str__()

    __str__ = __repr__


class memory_format(_Name):
    """Type of contiguous_format, preserve_format, channels_last and channels_last_3d."""


class layout(_Name):
    """Type of strided."""


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
strided = layout("strided")
