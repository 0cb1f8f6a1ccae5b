"""Small data sets as tensors: the handwritten digits that come with the package, and IDX files (MNIST).

images, labels = tercel.datasets.digits(train=True)       # float32 [N, 1, 8, 8] in 0..1, int64 [N]
images, labels = tercel.datasets.idx_folder("mnist", train=False)     # uint8 [N, 1, 28, 28]
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

import tercel

__all__ = ["digits", "idx_folder", "read_idx"]

# type code of an IDX file -> big-endian NumPy dtype
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_BYTES = 1 << 34


def digits(train: bool | None = None) -> tuple[tercel.Tensor, tercel.Tensor]:
    """The 1,797 handwritten digits of 8x8 pixels (UCI, CC BY 4.0) as (images float32 in 0..1, labels int64).

    train: True for the 1,438 images to train on, False for the 359 held out (every fifth), None for all.
    """
    with np.load(Path(__file__).parent / "digits.npz", allow_pickle=False) as data:
        images = data["images"].astype(np.float32)[:, None] / 16
        labels = data["labels"].astype(np.int64)
    if train is not None:
        held_out = np.arange(len(labels)) % 5 == 4
        keep = ~held_out if train else held_out
        images, labels = images[keep], labels[keep]
    return tercel.from_numpy(images), tercel.from_numpy(labels)


def idx_folder(folder: str | os.PathLike, train: bool) -> tuple[tercel.Tensor, tercel.Tensor]:
    """MNIST, Fashion-MNIST and the like: (images uint8 [N, 1, H, W], labels int64 [N]) from the files
    train-images-idx3-ubyte, train-labels-idx1-ubyte (t10k-... for train=False), plain or .gz."""
    prefix = "train" if train else "t10k"
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    if images.dim() != 3 or labels.dim() != 1 or images.shape[0] != labels.shape[0]:
        raise ValueError(
            f"idx_folder: {folder}: expected images [N, H, W] and labels [N], got {tuple(images.shape)} "
            f"and {tuple(labels.shape)}"
        )
    return images.unsqueeze(1), labels.to(tercel.int64)


def _find(folder: str | os.PathLike, name: str) -> Path:
    for candidate in (
        name,
        f"{name}.gz",
        name.replace("-idx", ".idx"),
        name.replace("-idx", ".idx") + ".gz",
    ):
        path = Path(folder) / candidate
        if path.exists():
            return path
    raise FileNotFoundError(f"idx_folder: neither {name} nor {name}.gz in {folder}")


def read_idx(path: str | os.PathLike) -> tercel.Tensor:
    """An IDX file (plain or gzip) as a tensor of its dtype.

    Raises ValueError if the header is wrong, or promises more or less data than the file holds.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    opener = gzip.open if packed else open
    try:
        with opener(path, "rb") as f:
            start = f.read(4)
            if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES:
                raise ValueError(f"read_idx: {path}: not an IDX file (starts with {start!r})")
            dtype, ndim = np.dtype(_IDX_TYPES[start[2]]), start[3]
            if not 1 <= ndim <= 8:
                raise ValueError(f"read_idx: {path}: expected 1 to 8 dimensions, got {ndim}")
            sizes = f.read(4 * ndim)
            if len(sizes) < 4 * ndim:
                raise ValueError(f"read_idx: {path}: the header is cut short")
            shape = [int(n) for n in np.frombuffer(sizes, ">u4")]
            expected = math.prod(shape) * dtype.itemsize
            if expected > _MAX_BYTES:
                raise ValueError(
                    f"read_idx: {path}: {shape} takes {expected} bytes, the limit is {_MAX_BYTES}"
                )
            data = _read_exactly(f, expected)
            if len(data) != expected or f.read(1):
                raise ValueError(
                    f"read_idx: {path}: {shape} takes {expected} bytes of data, the file differs"
                )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"read_idx: {path}: damaged gzip data ({error})") from None
    array = np.frombuffer(data, dtype).reshape(shape)
    return tercel.from_numpy(array.astype(dtype.newbyteorder("=")))


def _read_exactly(f, size: int) -> bytes:
    """Up to `size` bytes, in pieces: a header that lies must not allocate what it claims."""
    pieces, left = [], size
    while left and (piece := f.read(min(left, 1 << 24))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
