"""`torch.distributed` for programs that ask whether it is there: it is not. What would start or use a group of
processes raises NotImplementedError."""

from __future__ import annotations

from ._refuse import refused

__all__ = ["is_available", "is_initialized", "is_torchelastic_launched"]


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_torchelastic_launched() -> bool:
    """False."""
    return False


for _name in (
    "all_gather",
    "all_reduce",
    "barrier",
    "broadcast",
    "destroy_process_group",
    "get_backend",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "reduce",
):
    globals()[_name] = refused("distributed", _name, "tercel trains in one process")
