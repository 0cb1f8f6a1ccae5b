"""The memory behind a tensor, as programs ask about it: where it begins and how large it is. It is not indexed or
written; use the tensor."""

from __future__ import annotations

from . import _core


class UntypedStorage:
    """Memory of a tensor, in bytes. Equal to another one that begins at the same address."""

    def __init__(self, tensor: _core.Tensor):
        self._tensor = tensor.detach()  # keeps the memory
        self._address, self._nbytes = _core._storage_of(tensor)

    def data_ptr(self) -> int:
        """Address of the first byte."""
        return self._address

    def nbytes(self) -> int:
        """Size in bytes."""
        return self._nbytes

    def element_size(self) -> int:
        """1: the elements are bytes."""
        return 1

    def size(self) -> int:
        """Number of elements."""
        return self._nbytes // self.element_size()

    def untyped(self) -> UntypedStorage:
        """The same memory in bytes."""
        return UntypedStorage(self._tensor)

    @property
    def device(self) -> _core.device:
        return self._tensor.device

    @property
    def is_cuda(self) -> bool:
        return self._tensor.is_cuda

    def __len__(self) -> int:
        return self.size()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self._nbytes

    def __repr__(self) -> str:
        return f"[tercel.storage.{type(self).__name__}(device={self.device}) of size {self.size()}]"


class TypedStorage(UntypedStorage):
    """Memory of a tensor, in elements of its dtype."""

    @property
    def dtype(self) -> _core.dtype:
        return self._tensor.dtype

    def element_size(self) -> int:
        """Bytes of an element."""
        return self._tensor.element_size()


def storage(self) -> TypedStorage:
    """The memory of a tensor, in elements."""
    return TypedStorage(self)


def untyped_storage(self) -> UntypedStorage:
    """The memory of a tensor, in bytes."""
    return UntypedStorage(self)


def is_storage(obj: object) -> bool:
    """True for what Tensor.storage() and Tensor.untyped_storage() return."""
    return isinstance(obj, UntypedStorage)
