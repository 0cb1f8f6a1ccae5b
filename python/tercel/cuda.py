"""CUDA devices. This build has no CUDA backend: queries answer so, everything else raises."""

from __future__ import annotations


def is_available() -> bool:
    """True if CUDA tensors can be made."""
    return False


def device_count() -> int:
    """Number of CUDA devices."""
    return 0


def is_initialized() -> bool:
    """True if a CUDA context exists."""
    return False


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current device; nothing to do without one."""


manual_seed_all = manual_seed


def _unavailable(*args, **kwargs):
    raise RuntimeError("cuda: this build of tercel has no CUDA backend (available: cpu)")


synchronize = current_device = set_device = get_device_name = get_device_properties = _unavailable
memory_stats = memory_allocated = empty_cache = Stream = Event = _unavailable
