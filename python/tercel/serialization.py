"""save and load: nested state (state dicts, checkpoints) inside one safetensors file. Never pickle."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import IO, Any

import tercel

from .io import _NAMES, Path, _file_order, _map, _read, _tensors, dumps, save_file

__all__ = ["load", "save"]

MAX_DEPTH = 100  # nesting
STRUCTURE = "tercel.structure"
ORDER = (
    "tercel.order"  # names of a flat dict in its order; data lie in the order of their alignment
)

File = Path | IO[bytes]  # a path, or an open binary file


def save(obj: Any, f: File) -> None:
    """Saves nested dicts, lists and tuples of tensors, numbers, strings, bools and None (state dicts of
    modules and optimizers, checkpoints) as one safetensors file.

    A flat dict of tensors becomes a plain safetensors file. Otherwise the nesting is JSON in the file's metadata.
    A tensor that occurs twice is stored once. Raises TypeError for anything else: objects have no place in a
    file that is data; save their state instead.
    """

    def write(tensors: Mapping[str, tercel.Tensor], metadata: Mapping[str, str] | None) -> None:
        if isinstance(f, (str, os.PathLike)):
            save_file(tensors, f, metadata)
        elif hasattr(f, "write"):
            f.write(dumps(tensors, metadata))
        else:
            raise TypeError(f"save: expected a path or a file, got {type(f).__name__}")

    if (
        isinstance(obj, Mapping)
        and obj
        and all(
            isinstance(k, str) and k != "__metadata__" and isinstance(v, tercel.Tensor)
            for k, v in obj.items()
        )
    ):
        order = list(obj)
        same = order == _file_order(obj)
        write(obj, None if same else {ORDER: json.dumps(order, separators=(",", ":"))})
        return
    tensors: dict[str, tercel.Tensor] = {}
    names: dict[int, str] = {}

    def encode(value: Any, place: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"save: nested deeper than {MAX_DEPTH} levels (a cycle?)")
        if value is None or isinstance(value, (bool, str)) or type(value) is int:
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, tercel.Tensor):
            if id(value) not in names:
                name = place or "tensor"
                while name in tensors or name == "__metadata__":
                    name += "_"
                names[id(value)] = name
                tensors[name] = value
            return {"tensor": names[id(value)]}
        inner = f"{place}." if place else ""
        if isinstance(value, Mapping):
            items = []
            for key, item in value.items():
                if not (key is None or isinstance(key, (str, bool, int, float))):
                    raise TypeError(
                        f"save: key {key!r:.60} of type {type(key).__name__} at {place or 'top'}"
                    )
                items.append(
                    [encode(key, place, depth + 1), encode(item, f"{inner}{key}", depth + 1)]
                )
            return {"dict": items}
        if isinstance(value, (list, tuple)):
            kind = "list" if isinstance(value, list) else "tuple"
            return {kind: [encode(v, f"{inner}{i}", depth + 1) for i, v in enumerate(value)]}
        if isinstance(value, tercel.dtype):
            return {"dtype": str(value).split(".")[-1]}
        raise TypeError(
            f"save: {type(value).__name__} at {place or 'top'}: expected tensors, numbers, strings, dicts, lists"
        )

    structure = json.dumps(encode(obj, "", 0), separators=(",", ":"))
    write(tensors, {STRUCTURE: structure})


def _ordered(tensors: dict[str, tercel.Tensor], order: str) -> dict[str, tercel.Tensor]:
    """The tensors in the order of a list of their names; as they are if it is none."""
    try:
        names = json.loads(order)
    except (ValueError, RecursionError):
        return tensors
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or len(names) != len(tensors)
        or set(names) != set(tensors)
    ):
        return tensors
    return {name: tensors[name] for name in names}


def load(
    f: File, map_location: Any = None, *, weights_only: bool = True, mmap: bool = False
) -> Any:
    """What save() wrote; for a safetensors file from elsewhere, the dict of its tensors. See load_file.

    f: a path, or an open binary file (read from where it stands to its end). map_location: the device on
    which the tensors shall be (files name none: "cpu" by default). weights_only is accepted for
    compatibility: a file holds nothing else.
    """
    if map_location is None or isinstance(map_location, (str, tercel.device)):
        device = tercel.device(map_location or "cpu")
    else:
        raise TypeError(
            f"load: expected a device as map_location, got {type(map_location).__name__}"
        )
    if isinstance(f, (str, os.PathLike)):
        where = str(f)
        buffer = _map(f) if mmap else _read(f)
    elif hasattr(f, "read"):
        where = "file"
        if mmap:
            raise ValueError("load: mmap=True needs a path")
        buffer = bytearray(f.read())
    else:
        raise TypeError(f"load: expected a path or a file, got {type(f).__name__}")
    tensors, metadata = _tensors(buffer, where)
    if device.type != "cpu":
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    if STRUCTURE not in metadata:
        return _ordered(tensors, metadata.get(ORDER, "[]"))

    def bad(text: str) -> ValueError:
        return ValueError(f"load: {where}: {text}")

    def decode(node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH + 1:
            raise bad(f"nested deeper than {MAX_DEPTH} levels")
        if not isinstance(node, dict):
            if isinstance(node, list):
                raise bad("a bare list in the structure")
            return node
        if len(node) != 1:
            raise bad("a node of the structure must have one entry")
        ((kind, value),) = node.items()
        if kind == "tensor" and isinstance(value, str):
            if value not in tensors:
                raise bad(f"the structure names tensor {value!r:.60}, the file has none")
            return tensors[value]
        if kind == "float" and value in ("nan", "inf", "-inf"):
            return float(value)
        if kind == "dtype" and value in _NAMES.values():
            return getattr(tercel, value)
        if kind in ("list", "tuple") and isinstance(value, list):
            items = [decode(v, depth + 1) for v in value]
            return items if kind == "list" else tuple(items)
        if kind == "dict" and isinstance(value, list):
            found: dict[Any, Any] = {}
            for pair in value:
                if not isinstance(pair, list) or len(pair) != 2:
                    raise bad("an entry of a dict must be a pair")
                key = decode(pair[0], depth + 1)
                if not (key is None or isinstance(key, (str, bool, int, float))):
                    raise bad("a key must be a string or a number")
                found[key] = decode(pair[1], depth + 1)
            return found
        raise bad(f"unknown node {kind!r:.40} in the structure")

    try:
        structure = json.loads(metadata[STRUCTURE])
    except (ValueError, RecursionError) as error:
        raise bad(f"the structure is not JSON ({type(error).__name__})") from None
    return decode(structure, 0)
