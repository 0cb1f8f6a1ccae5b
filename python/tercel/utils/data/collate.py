"""Samples to batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ... import _core
from ..._core import Tensor


def _numpy() -> Any:
    """NumPy if the program has imported it (only then can a value be an array)."""
    return sys.modules.get("numpy")


def default_convert(data: Any) -> Any:
    """NumPy arrays and scalars inside ``data`` as tensors; everything else as it is."""
    np = _numpy()
    if isinstance(data, Tensor) or isinstance(data, (str, bytes)):
        return data
    if np is not None and isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else _core.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {k: default_convert(v) for k, v in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(v) for v in data))
    if isinstance(data, tuple):
        return [default_convert(v) for v in data]
    if isinstance(data, Sequence):
        return _like_sequence(data, [default_convert(v) for v in data])
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Stacks a list of samples: tensors and arrays along a new first dimension, numbers into a tensor,
    strings into a list, and dicts, tuples and lists entry by entry.

    Raises TypeError for other types and RuntimeError for samples of unequal length.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _core.stack(list(batch))
    np = _numpy()
    if np is not None and isinstance(first, (np.ndarray, np.generic)):
        if first.dtype.kind in "SUO":
            raise TypeError(_unknown(first))
        if isinstance(first, np.ndarray):
            return _core.stack([_core.as_tensor(a) for a in batch])
        return _core.as_tensor(np.array(batch))
    if isinstance(first, float):
        return _core.tensor(batch, dtype=_core.float64)
    if isinstance(first, int):  # and bool
        return _core.tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        return _like_mapping(
            first, {key: default_collate([sample[key] for sample in batch]) for key in first}
        )
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(column) for column in _columns(batch)))
    if isinstance(first, tuple):
        return [default_collate(column) for column in _columns(batch)]
    if isinstance(first, Sequence):
        return _like_sequence(first, [default_collate(column) for column in _columns(batch)])
    raise TypeError(_unknown(first))


def _unknown(value: Any) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; "
        f"found {type(value)}"
    )


def _columns(batch: Sequence[Any]) -> list[tuple]:
    if any(len(sample) != len(batch[0]) for sample in batch):
        raise RuntimeError("each element in list of batch should be of equal size")
    return list(zip(*batch))


def _rebuild(make: Callable[[], Any], fallback: Any) -> Any:
    try:
        return make()
    except TypeError:
        return fallback


def _like_mapping(like: Mapping, values: dict) -> Any:
    return values if type(like) is dict else _rebuild(lambda: type(like)(values), values)


def _like_sequence(like: Sequence, values: list) -> Any:
    return values if type(like) is list else _rebuild(lambda: type(like)(values), values)
