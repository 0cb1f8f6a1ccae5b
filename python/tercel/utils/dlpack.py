"""Exchange of tensors without a copy."""

from .._core import from_dlpack
from .._small import to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
