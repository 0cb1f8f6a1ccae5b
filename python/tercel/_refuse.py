"""Names that programs written for PyTorch import, and that raise when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def refused(module: str, name: str, reason: str) -> Callable[..., NoReturn]:
    """A function `name` of tercel.`module` that raises NotImplementedError with the reason."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{module}.{name}: {reason}")

    refuse.__name__ = name
    refuse.__doc__ = "Raises NotImplementedError."
    return refuse
