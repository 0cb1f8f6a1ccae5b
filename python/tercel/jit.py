"""`torch.jit` for programs that decorate with it. TorchScript is a part of Python that means the same when Python runs
it, so `script` returns what it is given. What needs a program apart from Python (trace, save, load, freeze) raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ._refuse import refused

__all__ = [
    "Final",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "load",
    "save",
    "script",
    "script_if_tracing",
    "trace",
    "unused",
]


class ScriptFunction:
    """A type without values, for isinstance: script returns Python functions."""


class ScriptModule:
    """A type without values, for isinstance: script returns modules as they are."""


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """The function, class or module unchanged; a decorator too. It has no `graph`, `code` or `save`."""
    return obj


def script_if_tracing(fn: Callable) -> Callable:
    """The function unchanged."""
    return fn


def export(fn: Callable) -> Callable:
    """The method unchanged."""
    return fn


def unused(fn: Callable) -> Callable:
    """The method unchanged."""
    return fn


def interface(cls: type) -> type:
    """The class unchanged."""
    return cls


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The method unchanged: `@ignore` and `@ignore(drop=True)`."""
    return drop if callable(drop) else (lambda fn: fn)


# Without underscore or with it, as copies of torchvision's models have them.
_script_if_tracing = script_if_tracing
_overload = _overload_method = export


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def is_scripting() -> bool:
    """False."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


_NO_PROGRAMS = "tercel has no programs apart from Python; "
trace = refused("jit", "trace", _NO_PROGRAMS + "call the module itself")
freeze = refused("jit", "freeze", _NO_PROGRAMS + "use module.eval() under no_grad()")
save = refused("jit", "save", _NO_PROGRAMS + "use tercel.save(module.state_dict(), path)")
load = refused(
    "jit", "load", _NO_PROGRAMS + "build the module and use load_state_dict(tercel.load(path))"
)
