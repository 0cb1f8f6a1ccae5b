"""Tensors on disk: the safetensors format. Nested state (save, load) is in serialization.py.

A file is data. Reading never runs code, checks every number of the header before it uses it, and refuses
what the format forbids (duplicate names, holes, overlaps, a header that is not plain JSON) with a
ValueError that says where. Nothing here uses pickle.

Layout of a file: 8 bytes little-endian header length N; N bytes of JSON, starting with '{', that map each name to
{"dtype", "shape", "data_offsets": [begin, end]}; the data. "__metadata__" maps strings to strings.
"""

from __future__ import annotations

import json
import math
import mmap as _mmap
import os
import struct
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import tercel

__all__ = ["dumps", "load_file", "loads", "read_header", "save_file"]

MAX_HEADER = 100_000_000  # bytes, the format's limit
INT64_MAX = 2**63 - 1

_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2,
          "I8": 1, "U8": 1, "BOOL": 1}  # fmt: skip

Path = str | os.PathLike


# ---- reading --------------------------------------------------------------------------------------


def load_file(path: Path, *, mmap: bool = False) -> dict[str, tercel.Tensor]:
    """The tensors of a safetensors file, by name, in the order of the file's data.

    mmap=False reads the file into one buffer that the tensors share. mmap=True maps it instead: nothing
    is read before it is used, and writes go to private pages; but if another process shortens the file
    meanwhile, touching a tensor ends this process (SIGBUS), so map only files that stay as they are.
    Raises ValueError for a file that breaks the format, NotImplementedError for a dtype that tercel lacks.
    """
    buffer = _map(path) if mmap else _read(path)
    return _tensors(buffer, str(path))[0]


def loads(data: bytes) -> dict[str, tercel.Tensor]:
    """Like load_file, from bytes (copied, so that the tensors can be written)."""
    return _tensors(bytearray(data), "bytes")[0]


def read_header(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """({name: {"dtype", "shape", "data_offsets"}}, metadata) of a file, checked, without reading the data."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        prefix = f.read(8)
        length = _header_length(prefix, size, str(path))
        entries, metadata = _parse(f.read(length), size - 8 - length, str(path))
    return entries, metadata


def _read(path: Path) -> bytearray:
    with open(path, "rb") as f:
        buffer = bytearray(os.fstat(f.fileno()).st_size)
        if f.readinto(buffer) != len(buffer):
            raise ValueError(f"safetensors: {path}: the file changed while it was read")
    return buffer


def _map(path: Path) -> _mmap.mmap:
    with open(path, "rb") as f:
        if os.fstat(f.fileno()).st_size == 0:
            raise ValueError(f"safetensors: {path}: expected at least 8 bytes, got 0")
        return _mmap.mmap(f.fileno(), 0, access=_mmap.ACCESS_COPY)


def _tensors(buffer: Any, where: str) -> tuple[dict[str, tercel.Tensor], dict[str, str]]:
    length = _header_length(bytes(buffer[:8]), len(buffer), where)
    start = 8 + length
    entries, metadata = _parse(bytes(buffer[8:start]), len(buffer) - start, where)
    tensors = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        tensors[name] = _tensor(
            buffer, start + begin, end - begin, entry, f"{where}: tensor {name!r}"
        )
    return tensors, metadata


def _tensor(buffer: Any, offset: int, nbytes: int, entry: dict, where: str) -> tercel.Tensor:
    code, shape = entry["dtype"], entry["shape"]
    dtype, size = getattr(tercel, _NAMES[code]), _SIZES[code]
    if nbytes == 0:
        return tercel.empty(shape, dtype=dtype)
    if code == "BOOL" and bytes(buffer[offset : offset + nbytes]).strip(b"\0\1"):
        raise ValueError(f"safetensors: {where}: a bool is a byte 0 or 1, got others")
    if offset % size:  # legal in the format, not for a load instruction of this dtype
        buffer, offset = bytearray(buffer[offset : offset + nbytes]), 0
    flat = tercel.frombuffer(buffer, dtype=dtype, count=nbytes // size, offset=offset)
    return flat.reshape(shape)


def _header_length(prefix: bytes, size: int, where: str) -> int:
    if size < 8 or len(prefix) < 8:
        raise ValueError(f"safetensors: {where}: expected at least 8 bytes, got {size}")
    (length,) = struct.unpack("<Q", prefix)
    if length > MAX_HEADER or length > size - 8:
        hint = ""
        if prefix[:4] == b"PK\x03\x04" or prefix[:1] == b"\x80":
            hint = " (a zip or pickle file? tercel never reads pickles)"
        raise ValueError(
            f"safetensors: {where}: header of {length} bytes in a file of {size}; the limit is "
            f"{MAX_HEADER}{hint}"
        )
    return int(length)


def _parse(raw: bytes, data_bytes: int, where: str) -> tuple[dict[str, dict], dict[str, str]]:
    """Checks a header against the number of data bytes that follow it."""

    def bad(text: str) -> ValueError:
        return ValueError(f"safetensors: {where}: {text}")

    header = _json(raw, bad)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise bad("__metadata__ must map strings to strings")
    for name, entry in header.items():
        _check_entry(name, entry, bad)
    ordered = sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"]))
    position = 0
    for name, entry in ordered:
        begin, end = entry["data_offsets"]
        if begin != position:
            kind = (
                "overlaps the tensor before it" if begin < position else "leaves a hole before it"
            )
            raise bad(f"tensor {name!r} at {begin} {kind} (expected {position})")
        position = end
    if position != data_bytes:
        raise bad(f"the header describes {position} bytes of data, the file has {data_bytes}")
    return dict(ordered), metadata


def _json(raw: bytes, bad: Callable[[str], ValueError]) -> dict[str, Any]:
    if raw[:1] != b"{":
        raise bad("the header must start with '{'")
    if not raw.rstrip(b" ").endswith(b"}"):
        raise bad("the header must end with '}' and spaces")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise bad("duplicate name in the header")
        return found

    def constant(text: str) -> None:
        raise bad(f"{text} in the header")

    try:
        text = raw.decode("utf-8")
        header = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        for name in header:
            name.encode("utf-8")  # an escaped lone surrogate is no text
    except (UnicodeError, json.JSONDecodeError) as error:
        raise bad(f"the header is not JSON in UTF-8 ({error})") from None
    except RecursionError:
        raise bad("the header is nested too deeply") from None
    except ValueError as error:  # also: integers of thousands of digits
        text = str(error)
        raise bad(text) if not text.startswith("safetensors") else error from None
    return header


def _check_entry(name: str, entry: Any, bad: Callable[[str], ValueError]) -> None:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise bad(f"tensor {name!r} must have exactly dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _NAMES:
        raise NotImplementedError(
            f"{bad(f'tensor {name!r} has dtype {code!r:.40}')}; supported: {', '.join(_NAMES)}"
        )
    if not isinstance(shape, list) or not all(_is_size(n) for n in shape):
        raise bad(
            f"tensor {name!r}: shape must be a list of integers 0 .. 2^63-1, got {shape!r:.80}"
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(n) for n in offsets):
        raise bad(f"tensor {name!r}: data_offsets must be two integers >= 0, got {offsets!r:.80}")
    if math.prod(n for n in shape if n) * _SIZES[code] > INT64_MAX:
        raise bad(f"tensor {name!r}: shape {shape!r:.80} is too large")
    expected = math.prod(shape) * _SIZES[code]
    if offsets[1] - offsets[0] != expected:
        raise bad(
            f"tensor {name!r}: {code} {shape!r:.80} takes {expected} bytes, data_offsets give "
            f"{offsets[1] - offsets[0]}"
        )


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= INT64_MAX


# ---- writing --------------------------------------------------------------------------------------


def save_file(
    tensors: Mapping[str, tercel.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes a safetensors file. The file appears complete or not at all: it is written beside its place,
    flushed, and renamed over it. Any dtype, any strides (stored contiguous)."""
    header, ordered = _header(tensors, metadata)
    folder = os.path.dirname(os.path.abspath(path))
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tercel-", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(header)
            for tensor in ordered:
                f.write(_bytes(tensor))
            f.flush()
            os.fsync(f.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def dumps(tensors: Mapping[str, tercel.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes save_file would write."""
    header, ordered = _header(tensors, metadata)
    return b"".join([header, *(_bytes(t) for t in ordered)])


def _bytes(tensor: tercel.Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(tercel.uint8)) if flat.numel() else b""


def _file_order(tensors: Mapping[str, tercel.Tensor]) -> list[str]:
    """Widest dtype first: every tensor is then aligned to its element size; by name within a width."""
    return sorted(tensors, key=lambda n: (-tensors[n].element_size(), n))


def _header(tensors: Any, metadata: Any) -> tuple[bytes, list[tercel.Tensor]]:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save_file: expected a dict of tensors, got {type(tensors).__name__}")
    codes = {getattr(tercel, name): code for code, name in _NAMES.items()}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, tercel.Tensor):
            raise TypeError(
                f"save_file: expected names and tensors, got {name!r:.60}: {type(tensor).__name__}"
            )
        if name == "__metadata__":
            raise ValueError("save_file: '__metadata__' is not a tensor's name")
    header: dict[str, Any] = {}
    if metadata:
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
            raise TypeError("save_file: metadata must map strings to strings")
        header["__metadata__"] = dict(metadata)
    names = _file_order(tensors)
    position = 0
    for name in names:
        tensor = tensors[name]
        end = position + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": codes[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"save_file: the header takes {len(text)} bytes, the limit is {MAX_HEADER}"
        )
    return struct.pack("<Q", len(text)) + text, [tensors[n] for n in names]
