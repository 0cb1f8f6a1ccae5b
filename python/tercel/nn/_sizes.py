"""Kernel sizes, strides and paddings given as one int or one per dimension."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any


def ntuple(value: Any, n: int) -> tuple[int, ...]:
    """`value` as a tuple of n: an int is repeated."""
    return tuple(value) if isinstance(value, Iterable) else (value,) * n


def each(sizes: tuple[int, ...], n: int) -> tuple[int, ...]:
    """One size per dimension: a single one, such as stride=[2], is every dimension's."""
    return sizes * n if len(sizes) == 1 else sizes


def _ntuple(n: int) -> Callable[[Any], tuple[int, ...]]:
    return partial(ntuple, n=n)


# PyTorch's names of these, which layers of other programs import.
_single, _pair, _triple, _quadruple = map(_ntuple, (1, 2, 3, 4))


def both_sides(padding: Iterable[int]) -> list[int]:
    """Per-dimension symmetric padding -> the (last dim first) before/after list that F.pad takes."""
    return [p for width in reversed(list(padding)) for p in (width, width)]


def check_positive(value: Any, name: str, owner: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}: {name} must be an int, got {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{owner}: {name} must be positive, got {value}")
