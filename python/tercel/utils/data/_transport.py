"""Objects with tensors between a DataLoader and its workers, over a socket pair.

A message is a pickle in which tensors are replaced by their place in a buffer. Short messages go through
the socket; longer ones are written to an anonymous file whose descriptor is passed, and the receiver maps
it: the tensors of a batch are used where the worker put them. So a send never waits for the receiver.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import socket
import struct
from typing import Any

from ... import _core, from_numpy
from ..._core import Tensor

_HEADER = struct.Struct("<QQ?")  # bytes of pickle, bytes of tensors, passed as a file
_INLINE = 1 << 15
_ALIGN = 64


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)
        self.chunks: list[tuple[int, Any]] = []
        self.size = 0

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return None
        data = obj.detach().contiguous().reshape(-1).view(_core.uint8).numpy()
        offset = -(-self.size // _ALIGN) * _ALIGN
        self.chunks.append((offset, data))
        self.size = offset + data.nbytes
        return offset, data.nbytes, str(obj.dtype).rpartition(".")[2], tuple(obj.shape)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, buffer: Any) -> None:
        super().__init__(file)
        self.buffer = buffer

    def persistent_load(self, pid: Any) -> Tensor:
        offset, nbytes, dtype, shape = pid
        dtype = getattr(_core, dtype)
        if nbytes == 0:
            return _core.empty(shape, dtype=dtype)
        import numpy as np

        raw = np.frombuffer(self.buffer, dtype=np.uint8, count=nbytes, offset=offset)
        return from_numpy(raw).view(dtype).reshape(shape)


def send(sock: socket.socket, obj: Any) -> None:
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(obj)
    message = stream.getbuffer()
    start = -(-len(message) // _ALIGN) * _ALIGN  # where the tensors begin
    if start + pickler.size <= _INLINE:
        body = bytearray(start + pickler.size)
        _fill(memoryview(body), message, start, pickler.chunks)
        sock.sendall(_HEADER.pack(len(message), pickler.size, False) + body)
        return
    fd = os.memfd_create("tercel-batch")
    try:
        os.ftruncate(fd, start + pickler.size)
        with mmap.mmap(fd, start + pickler.size) as memory:
            view = memoryview(memory)
            _fill(view, message, start, pickler.chunks)
            view.release()
        socket.send_fds(sock, [_HEADER.pack(len(message), pickler.size, True)], [fd])
    finally:
        os.close(fd)


def _fill(view: memoryview, message: memoryview, start: int, chunks: list[tuple[int, Any]]) -> None:
    view[: len(message)] = message
    for offset, data in chunks:
        view[start + offset : start + offset + data.nbytes] = data.data


def receive(sock: socket.socket) -> Any:
    """The next message. Raises EOFError when the other side is gone."""
    header, fds, _, _ = socket.recv_fds(sock, _HEADER.size, 1)
    if not header:
        raise EOFError
    if len(header) < _HEADER.size:
        header += _read(sock, _HEADER.size - len(header))
    length, size, as_file = _HEADER.unpack(header)
    start = -(-length // _ALIGN) * _ALIGN
    if as_file:
        try:
            memory: Any = mmap.mmap(fds[0], start + size)
        finally:
            os.close(fds[0])
    else:
        memory = _read(sock, start + size)
    view = memoryview(memory)
    return _Unpickler(io.BytesIO(view[:length]), view[start:]).load()


def _read(sock: socket.socket, n: int) -> bytearray:
    data = bytearray(n)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if got == 0:
            raise EOFError
        view = view[got:]
    return data
