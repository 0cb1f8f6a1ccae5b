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


def check_rows_alone(fn, x, grad, rows):
    """The result and gradient of all rows, past the caches, hold those of some rows alone."""
    results = []
    for part in (slice(None), rows):
        t = x[part].clone().requires_grad_()
        y = fn(t)
        y.backward(grad[part])
        results.append((y.detach(), t.grad))
    for whole, few in zip(*results, strict=True):
        assert tercel.equal(whole[rows], few)


def test_norms_beyond_the_caches(isa):
    """Rows of whole lines and not: the same numbers as row by row."""
    F = tercel.nn.functional
    for rows, cols in ((8300, 1024), (8200, 1030)):
        x = tercel.randn(rows, cols)
        w, b = tercel.randn(cols), tercel.randn(cols)
        grad = tercel.randn(rows, cols)
        for fn in (
            lambda x: F.layer_norm(x, (cols,), w, b),
            lambda x: F.softmax(x, 1),
            lambda x: F.log_softmax(x, 1),
        ):
            check_rows_alone(fn, x, grad, slice(4000, 4100))


def test_channel_norms_beyond_the_caches(isa):
    F = tercel.nn.functional
    x, grad = tercel.randn(40, 64, 60, 60), tercel.randn(40, 64, 60, 60)
    mean, var, w = tercel.randn(64), tercel.rand(64) + 0.5, tercel.randn(64)
    for fn in (
        lambda x: F.group_norm(x, 16, w, w),
        lambda x: F.batch_norm(x, mean, var, w, w),
        lambda x: F.instance_norm(x),
    ):
        check_rows_alone(fn, x, grad, slice(7, 8))
    joined = tercel.cat([x.flatten(1), grad.flatten(1)], 1)
    assert tercel.equal(joined[:, : 64 * 3600], x.flatten(1))
    assert tercel.equal(joined[:, 64 * 3600 :], grad.flatten(1))
