"""`torch.accelerator`: the kind of device that is faster than the CPU, which is CUDA where there is a device.

device = accelerator.current_accelerator().type if accelerator.is_available() else "cpu"
"""

from __future__ import annotations

from . import _core, cuda

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "device_count",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "synchronize",
]

is_available = cuda.is_available
device_count = cuda.device_count
empty_cache = cuda.empty_cache
memory_allocated = cuda.memory_allocated
max_memory_allocated = cuda.max_memory_allocated
reset_peak_memory_stats = cuda.reset_peak_memory_stats
synchronize = cuda.synchronize
set_device_index = set_device_idx = cuda.set_device
current_device_index = current_device_idx = cuda.current_device


def current_accelerator(check_available: bool = False) -> _core.device | None:
    """device("cuda"), or None without a device. check_available makes no difference: it is always checked."""
    return _core.device("cuda") if is_available() else None
