"""Sequences of different lengths as one padded tensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..._core import Tensor, cat, stack

__all__ = ["pad_sequence", "unpad_sequence"]


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Tensors [L_i, ...] as one of shape [T, B, ...] ([B, T, ...] with batch_first), T the largest L_i.

    What is missing is padding_value, at the end or (padding_side="left") at the front of each. A tensor [B, L, ...]
    counts as the list of its rows. Raises ValueError for an empty list or another padding_side.
    """
    if not isinstance(sequences, Iterable):
        raise TypeError(f"pad_sequence: expected a list of tensors, got {type(sequences).__name__}")
    if padding_side not in ("left", "right"):
        raise ValueError(
            f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}"
        )
    rows = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not rows:
        raise ValueError("pad_sequence: expected at least one sequence, got an empty list")
    for i, row in enumerate(rows):
        if not isinstance(row, Tensor) or row.dim() == 0:
            what = "a 0-d tensor" if isinstance(row, Tensor) else type(row).__name__
            raise TypeError(f"pad_sequence: expected tensors of shape [L, ...], got {what} at {i}")
    longest = max(row.shape[0] for row in rows)

    def padded(row: Tensor) -> Tensor:
        missing = longest - row.shape[0]
        if not missing:
            return row
        fill = row.new_full((missing, *row.shape[1:]), padding_value)
        return cat([row, fill] if padding_side == "right" else [fill, row])

    return stack([padded(row) for row in rows], 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The first lengths[i] steps of each sequence of pad_sequence's result (padded on the right)."""
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    counts = lengths.tolist()
    if len(counts) != rows.shape[0]:
        raise ValueError(
            f"unpad_sequence: expected one length for each of {rows.shape[0]} sequences, got {len(counts)}"
        )
    return [row[:n] for row, n in zip(rows, counts)]
