"""Mixed precision: `autocast` chooses the dtype of each op, `GradScaler` keeps float16 gradients in range,
`fp8_autocast` trains with float8 products."""

from __future__ import annotations

from .autocast_mode import (
    autocast,
    custom_bwd,
    custom_fwd,
    get_autocast_dtype,
    is_autocast_available,
    is_autocast_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from .fp8 import CurrentScaling, DelayedScaling, fp8_autocast
from .grad_scaler import GradScaler

__all__ = [
    "CurrentScaling",
    "DelayedScaling",
    "GradScaler",
    "autocast",
    "custom_bwd",
    "custom_fwd",
    "fp8_autocast",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
]
