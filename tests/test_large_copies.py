"""Copies, transposes and elementwise results larger than the caches, which are stored past them."""

import numpy as np
import pytest

import tercel

SHAPE = (4100, 4112)  # float32: 67 MB, 16-element rows whole, not a multiple of any block


@pytest.fixture(
    scope="module", params=[np.uint8, np.int16, np.float32, np.float64], ids=lambda t: t.__name__
)
def large(request):
    rows, cols = SHAPE
    shape = (rows * 4, cols) if request.param is np.uint8 else SHAPE
    array = np.random.default_rng(0).integers(0, 200, shape).astype(request.param)
    return array, tercel.from_numpy(array)


def same(ours, expected):
    assert np.array_equal(ours.numpy(), expected)


def test_copies_beyond_the_caches(large, isa):
    x, t = large
    same(t.clone(), x)
    same(t.t().contiguous(), x.T)
    same(t[:, 16:].contiguous(), x[:, 16:])  # rows of whole lines
    same(t[:, 1:-2].contiguous(), x[:, 1:-2])
    same(t[:-1].reshape(-1)[3:].clone(), x[:-1].reshape(-1)[3:])


def test_elementwise_beyond_the_caches(large, isa):
    x, t = large
    same(t + t, x + x)
    same(t * 2, x * 2)
    same(t[1:] + t[:-1], x[1:] + x[:-1])
    same(t + t[0], x + x[0])  # row by row
    same(tercel.where(t > 100, t, t[:, :1]), np.where(x > 100, x, x[:, :1]))
    same(t.float(), x.astype(np.float32))
    out = tercel.empty(t.numel() + 1, dtype=t.dtype)[1:]  # not at a line's start
    same(tercel.add(t.view(-1), 1, out=out), (x + 1).reshape(-1))
    same(out.add_(out), 2 * (x + 1).reshape(-1))
