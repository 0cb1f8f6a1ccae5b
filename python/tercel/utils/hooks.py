"""Handles that remove a registered hook again."""

from __future__ import annotations

import itertools
import weakref
from typing import Any

_ids = itertools.count()


class RemovableHandle:
    """Returned by every ``register_*_hook``; ``remove()`` (or leaving a ``with`` block) takes the hook out.

    The handle does not keep the hooked object alive.
    """

    __slots__ = ("__weakref__", "_extra", "_hooks_ref", "id")

    def __init__(self, hooks: Any, extra: tuple[set, ...] = ()) -> None:
        self.id = next(_ids)
        self._hooks_ref = weakref.ref(hooks)
        self._extra = extra

    def remove(self) -> None:
        hooks = self._hooks_ref()
        if hooks is not None:
            hooks.pop(self.id, None)
        for flags in self._extra:
            flags.discard(self.id)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


class HookDict(dict):
    """id -> hook, in order of registration; a plain dict that can be weakly referenced."""

    __slots__ = ("__weakref__",)

    def add(
        self,
        hook: Any,
        prepend: bool = False,
        flags: tuple[set, ...] = (),
        handle_type: type[RemovableHandle] = RemovableHandle,
    ) -> RemovableHandle:
        handle = handle_type(self, flags)
        if prepend:
            rest = dict(self)
            self.clear()
            self[handle.id] = hook
            self.update(rest)
        else:
            self[handle.id] = hook
        for f in flags:
            f.add(handle.id)
        return handle
