"""The digits that come with the package, and IDX files, good and hostile."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

import tercel
from tercel import datasets


def idx(code: int, shape, data: bytes) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def test_digits():
    images, labels = datasets.digits()
    assert tuple(images.shape) == (1797, 1, 8, 8)
    assert images.dtype == tercel.float32
    assert labels.dtype == tercel.int64
    assert float(images.numpy().max()) == 1.0
    assert np.bincount(labels.numpy()).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    assert len(datasets.digits(train=True)[1]) == 1438
    assert len(datasets.digits(train=False)[1]) == 359


@pytest.mark.parametrize("packed", [False, True])
def test_idx_round_trip(tmp_path, packed):
    for code, dtype in [
        (8, ">u1"),
        (9, ">i1"),
        (0x0B, ">i2"),
        (0x0C, ">i4"),
        (0x0D, ">f4"),
        (0x0E, ">f8"),
    ]:
        array = np.arange(24).reshape(2, 3, 4).astype(dtype)
        raw = idx(code, array.shape, array.tobytes())
        (tmp_path / "x").write_bytes(gzip.compress(raw) if packed else raw)
        got = datasets.read_idx(tmp_path / "x")
        assert np.array_equal(got.numpy(), array)
        assert got.dtype == getattr(tercel, np.dtype(dtype).newbyteorder("=").name)


def test_idx_folder(tmp_path):
    images, labels = np.arange(2 * 28 * 28) % 256, [3, 7]
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(idx(8, (2, 28, 28), images.astype(np.uint8).tobytes()))
    )
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(8, (2,), bytes(labels)))
    x, y = datasets.idx_folder(tmp_path, train=False)
    assert tuple(x.shape) == (2, 1, 28, 28)
    assert x.dtype == tercel.uint8
    assert y.tolist() == labels
    with pytest.raises(FileNotFoundError):
        datasets.idx_folder(tmp_path, train=True)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(8, (3,), bytes(3)))
    with pytest.raises(ValueError):
        datasets.idx_folder(tmp_path, train=False)


HOSTILE = {
    "empty": b"",
    "short": b"\0\0\x08",
    "wrong magic": b"\1\0\x08\1" + bytes(8),
    "wrong type": b"\0\0\x0a\1" + bytes(8),
    "no dimensions": b"\0\0\x08\0" + bytes(8),
    "255 dimensions": b"\0\0\x08\xff" + bytes(8),
    "cut header": b"\0\0\x08\3" + bytes(8),
    "claims 16 EB": idx(8, (2**32 - 1, 2**32 - 1), bytes(8)),
    "claims 4 GB": idx(8, (2**32 - 1,), bytes(8)),
    "too little": idx(8, (10,), bytes(9)),
    "too much": idx(8, (10,), bytes(11)),
    "cut gzip": gzip.compress(idx(8, (10000,), bytes(range(250)) * 40))[:-20],
    "damaged gzip": gzip.compress(idx(8, (10,), bytes(10)))[:14] + b"xxxxxxxxxxxxxxxx",
    "gzip header only": b"\x1f\x8b",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_idx(tmp_path, name):
    (tmp_path / "x").write_bytes(HOSTILE[name])
    with pytest.raises(ValueError) as error:
        datasets.read_idx(tmp_path / "x")
    assert "read_idx" in str(error.value)
