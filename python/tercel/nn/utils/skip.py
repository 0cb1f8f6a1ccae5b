"""Modules built without filling their parameters."""

from __future__ import annotations

import inspect
from typing import Any

from .. import init
from ..module import Module

_INITIALISERS = ("uniform_", "normal_", "trunc_normal_", "constant_", "ones_", "zeros_", "kaiming_uniform_",
                 "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_")  # fmt: skip


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Any:
    """``module_cls(*args, **kwargs)`` with uninitialised parameters, for weights that are loaded anyway."""
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    saved = {name: getattr(init, name) for name in _INITIALISERS}
    try:
        for name in _INITIALISERS:
            setattr(init, name, lambda tensor, *args, **kwargs: tensor)
        return module_cls(*args, **kwargs)
    finally:
        for name, fn in saved.items():
            setattr(init, name, fn)
