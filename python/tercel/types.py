"""Types for annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from ._core import Size, Tensor, device, dtype

Number = Union[int, float, bool]  # noqa: UP007
Device = Union[device, str, int, None]  # noqa: UP007
_size = Union[Size, list[int], tuple[int, ...]]  # noqa: UP007
_int, _float, _bool, _dtype, _device = int, float, bool, dtype, device
_TensorOrTensors = Union[Tensor, Sequence[Tensor]]  # noqa: UP007
