"""`torch.compiler` for programs that ask it: there is no compiler, functions run as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._small import compile

__all__ = ["allow_in_graph", "compile", "disable", "is_compiling", "is_dynamo_compiling", "reset"]


def is_compiling() -> bool:
    """False."""
    return False


def is_dynamo_compiling() -> bool:
    """False."""
    return False


def disable(fn: Callable | None = None, recursive: bool = True, **options: Any) -> Any:
    """Returns the function unchanged; as a decorator too."""
    return (lambda f: f) if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """Returns the function unchanged."""
    return fn


def reset() -> None:
    """Does nothing: there are no compiled functions to forget."""
