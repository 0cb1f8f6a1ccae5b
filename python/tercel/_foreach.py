"""`torch._foreach_*` of programs that average or clip lists of tensors: the operation, tensor by tensor.

Lists among the further arguments give one value per tensor. A name with a trailing underscore writes the tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._core import Tensor


def function(name: str) -> Callable:
    """The function `_foreach_OP`. Raises AttributeError unless Tensor has OP."""
    method = name.removeprefix("_foreach_")
    if not hasattr(Tensor, method):
        raise AttributeError(f"module 'tercel' has no attribute {name!r}")

    def foreach(self: Any, *args: Any, **kwargs: Any) -> list[Tensor] | None:
        tensors = list(self)
        for given in (*args, *kwargs.values()):
            if isinstance(given, (list, tuple)) and len(given) != len(tensors):
                raise ValueError(
                    f"{name}: expected lists of one length, got {len(tensors)} and {len(given)}"
                )

        def at(given: Any, i: int) -> Any:
            return given[i] if isinstance(given, (list, tuple)) else given

        results = [
            getattr(t, method)(
                *(at(a, i) for a in args), **{k: at(v, i) for k, v in kwargs.items()}
            )
            for i, t in enumerate(tensors)
        ]
        return None if method.endswith("_") else results

    foreach.__name__ = name
    foreach.__doc__ = f"[t.{method}(...) for t in tensors]"
    return foreach
