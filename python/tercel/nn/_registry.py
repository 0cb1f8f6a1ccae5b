"""The dictionaries behind a Module's parameters, buffers and children."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any


class Registry(dict):
    """Ordered name -> member map, mirrored into the attributes of its owner.

    The mirror makes ``module.weight`` and ``module.conv1`` ordinary attribute reads (tens of ns) instead
    of a failed lookup followed by a Python ``__getattr__`` (about half a microsecond per use).
    The owner is held weakly, so that a module is freed as soon as its last reference goes.
    """

    __slots__ = ("_owner",)

    def __init__(self, owner: Any, items: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._owner = weakref.ref(owner)
        if items:
            self.update(items)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        owner = self._owner()
        if owner is not None:
            owner.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        owner = self._owner()
        if owner is not None:
            owner.__dict__.pop(name, None)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self:
            if default:
                return default[0]
            raise KeyError(name)
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def update(self, *args: Mapping[str, Any] | Iterable[tuple[str, Any]], **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other: Any) -> Registry:
        self.update(other)
        return self

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def copy(self) -> dict[str, Any]:
        return dict(self)

    # Copies are plain dicts: Module.__setstate__ makes them registries of the new owner.
    def __reduce__(self) -> tuple:
        return dict, (), None, None, iter(self.items())

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return self.__reduce__()
