"""Handles that undo a registration."""


class RemovableHandle:
    """Returned by register_* functions; `remove()` undoes the registration (once)."""

    __slots__ = ("_remove",)

    def __init__(self, remove):
        self._remove = remove

    def remove(self) -> None:
        remove, self._remove = self._remove, None
        if remove is not None:
            remove()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()
