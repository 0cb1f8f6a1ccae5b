"""Data loading, hooks, checkpointing."""

from . import checkpoint, data, hooks

__all__ = ["checkpoint", "data", "hooks"]


def __getattr__(name: str):
    if name in ("_pytree", "dlpack", "model_zoo"):
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
