"""`torch.jit` for programs that decorate with it. TorchScript is a part of Python that means the same when Python runs
it, so `script` returns what it is given. What needs a program apart from Python (trace, save, load, freeze) raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

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


def _refuse(name: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"jit.{name}: tercel has no programs apart from Python; {instead}"
        )

    refuse.__name__ = name
    refuse.__doc__ = "Raises NotImplementedError."
    return refuse


trace = _refuse("trace", "call the module itself")
freeze = _refuse("freeze", "use module.eval() under no_grad()")
save = _refuse("save", "use tercel.save(module.state_dict(), path)")
load = _refuse("load", "build the module and use load_state_dict(tercel.load(path))")
