"""Pooling: indices, NaN, ties, unpooling, gradients against torch, errors."""

from __future__ import annotations

import numpy as np
import pytest

import tercel
from conftest import available_levels


def tensor(a, dtype=np.float32):
    return tercel.tensor(np.ascontiguousarray(a, dtype=dtype))


def settings():
    rng = np.random.default_rng(0)
    for _ in range(40):
        k, s, d = int(rng.integers(1, 6)), int(rng.integers(1, 6)), int(rng.integers(1, 3))
        p = int(rng.integers(0, k // 2 + 1))
        yield k, s, p, d, bool(rng.integers(0, 2))


@pytest.mark.parametrize("level", available_levels())
@pytest.mark.parametrize("n", [1, 2, 3])
def test_max_pool_with_indices_matches_torch(level, n):
    torch = pytest.importorskip("torch")
    tercel.set_isa(level)
    rng = np.random.default_rng(n)
    shape = {1: (2, 3, 60), 2: (2, 2, 20, 37), 3: (1, 2, 10, 11, 19)}[n]
    try:
        for dtype in (np.float32, np.float64):
            for k, s, p, d, ceil_mode in settings():
                x = np.round(rng.standard_normal(shape) * 3).astype(dtype)  # many ties
                args = (k, s, p, d, ceil_mode)
                tx = torch.tensor(x, requires_grad=True)
                tf = getattr(torch.nn.functional, f"max_pool{n}d")
                ty, ti = tf(tx, *args, return_indices=True)
                tx2 = tensor(x, dtype).requires_grad_(True)
                y, i = getattr(tercel, f"max_pool{n}d")(tx2, *args, True)
                assert (y.detach().numpy() == ty.detach().numpy()).all(), args
                assert (i.numpy() == ti.numpy()).all(), args
                ty.backward(ty.detach())
                y.backward(y.detach())
                np.testing.assert_allclose(tx2.grad.numpy(), tx.grad.numpy(), rtol=1e-6)
    finally:
        tercel.set_isa("auto")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_avg_pool_matches_torch(n):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(n)
    shape = {1: (2, 3, 60), 2: (2, 2, 20, 37), 3: (1, 2, 10, 11, 19)}[n]
    for k, s, p, _, ceil_mode in settings():
        for include in (False, True):
            x = rng.standard_normal(shape)
            tx = torch.tensor(x, requires_grad=True)
            ty = getattr(torch.nn.functional, f"avg_pool{n}d")(tx, k, s, p, ceil_mode, include)
            x2 = tensor(x, np.float64).requires_grad_(True)
            y = getattr(tercel, f"avg_pool{n}d")(x2, k, s, p, ceil_mode, include)
            np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), atol=1e-13)
            ty.backward(ty.detach())
            y.backward(y.detach())
            np.testing.assert_allclose(x2.grad.numpy(), tx.grad.numpy(), atol=1e-13)


def test_adaptive_gradients_match_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 11, 13))
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        for size in (1, (3, 5), (None, 4), (20, 20)):
            tx = torch.tensor(x, requires_grad=True)
            ty = getattr(torch.nn.functional, name)(tx, size)
            x2 = tensor(x, np.float64).requires_grad_(True)
            y = getattr(tercel, name)(x2, size)
            np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), atol=1e-13)
            ty.backward(ty.detach())
            y.backward(y.detach())
            np.testing.assert_allclose(x2.grad.numpy(), tx.grad.numpy(), atol=1e-13)


def test_wide_rows_and_wide_windows():
    """Beyond the row buffer: many columns, a stride and a window wider than it."""
    x = np.random.default_rng(0).standard_normal((1, 1, 7001))
    for k, s in ((3, 1), (3, 2), (5, 7), (50, 40), (3000, 3), (6000, 500)):
        want = np.lib.stride_tricks.sliding_window_view(x[0, 0], k)[::s]
        y, i = tercel.max_pool1d(tensor(x, np.float64), k, s, return_indices=True)
        assert (y.numpy()[0, 0] == want.max(1)).all()
        assert (i.numpy()[0, 0] == want.argmax(1) + np.arange(len(want)) * s).all()
        y = tercel.avg_pool1d(tensor(x, np.float64), k, s).numpy()
        np.testing.assert_allclose(y[0, 0], want.mean(1), atol=1e-12)


def test_nan_wins():
    x = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6)
    x[0, 0, 1, 1] = np.nan
    y, i = tercel.max_pool2d(tensor(x), 2, return_indices=True)
    assert np.isnan(y.numpy()[0, 0, 0, 0]) and i.numpy()[0, 0, 0, 0] == 7
    assert not np.isnan(y.numpy()[0, 0, 1:]).any()
    low = np.full((1, 1, 4, 4), -np.inf, np.float32)
    y, i = tercel.max_pool2d(tensor(low), 2, padding=1, return_indices=True)
    assert (y.numpy() == -np.inf).all() and i.numpy()[0, 0, 1, 1] == 5


def test_unpool_inverts():
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 8))
    xt = tensor(x, np.float64)
    y, i = tercel.max_pool2d(xt, 2, return_indices=True)
    y.requires_grad_(True)
    back = tercel.max_unpool2d(y, i, 2, output_size=(9, 8))
    b = back.detach().numpy()
    assert ((b == x) | (b == 0)).all() and (b != 0).sum() == y.numel()
    back.backward(xt)
    np.testing.assert_array_equal(y.grad.numpy(), y.detach().numpy())


def test_half_precision_rounds_once():
    x = np.random.default_rng(0).standard_normal((2, 2, 17, 40)).astype(np.float16)
    y = tercel.avg_pool2d(tensor(x, np.float16), 3, 2, 1).numpy()
    y32 = tercel.avg_pool2d(tensor(x, np.float32), 3, 2, 1).numpy()
    assert (y == y32.astype(np.float16)).all()


def ones(*shape, dtype=tercel.float32):
    return tercel.ones(shape, dtype=dtype)


X = (1, 2, 8, 8)
BAD = {
    "rank": lambda: tercel.max_pool2d(ones(8, 8), 2),
    "kernel 0": lambda: tercel.max_pool2d(ones(*X), 0),
    "kernel": lambda: tercel.max_pool2d(ones(*X), 9),
    "kernel huge": lambda: tercel.max_pool2d(ones(*X), 2**62),
    "stride 0": lambda: tercel.avg_pool2d(ones(*X), 2, 0),
    "padding": lambda: tercel.avg_pool2d(ones(*X), 3, 1, 2),
    "padding negative": lambda: tercel.max_pool2d(ones(*X), 3, 1, -1),
    "dilation": lambda: tercel.max_pool2d(ones(*X), 2, dilation=2**62),
    "dilation 0": lambda: tercel.max_pool2d(ones(*X), 2, dilation=0),
    "empty": lambda: tercel.max_pool2d(ones(1, 2, 0, 8), 2),
    "divisor": lambda: tercel.avg_pool2d(ones(*X), 2, divisor_override=0),
    "dtype": lambda: tercel.max_pool2d(ones(*X, dtype=tercel.int64), 2),
    "adaptive": lambda: tercel.adaptive_avg_pool2d(ones(*X), -2),
    "adaptive count": lambda: tercel.adaptive_avg_pool2d(ones(*X), (1, 2, 3)),
    "adaptive huge": lambda: tercel.adaptive_max_pool2d(ones(*X), 2**40),
    "lp": lambda: tercel.lp_pool2d(ones(*X), 0.0, 2),
    "unpool index": lambda: tercel.max_unpool2d(
        ones(1, 1, 2, 2), tercel.tensor([[[[0, 1], [2, 16]]]]), 2
    ),
    "unpool negative": lambda: tercel.max_unpool2d(
        ones(1, 1, 2, 2), tercel.tensor([[[[0, 1], [2, -1]]]]), 2
    ),
    "unpool shape": lambda: tercel.max_unpool2d(ones(1, 1, 2, 2), tercel.tensor([[[[0, 1]]]]), 2),
    "unpool size": lambda: tercel.max_unpool2d(
        ones(1, 1, 1, 1), tercel.tensor([[[[0]]]]), 2, output_size=(9, 9)
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    with pytest.raises(
        (ValueError, TypeError, RuntimeError, OverflowError, MemoryError, IndexError), match="pool"
    ):
        BAD[name]()


def test_sizes_near_the_largest_integer():
    for f in (tercel.adaptive_avg_pool1d, tercel.adaptive_max_pool1d):
        for size in (2**62, 2**63 - 1):
            with pytest.raises((OverflowError, MemoryError)):
                f(ones(1, 2, 3), size)
    # Without images there are no windows, however many there would be of each.
    assert tercel.adaptive_avg_pool1d(ones(0, 1, 1), 2**61).shape == (0, 1, 2**61)
    assert tercel.max_pool1d(ones(0, 1, 2**61), 1).shape == (0, 1, 2**61)
    assert tercel.avg_pool2d(ones(0, 1, 4, 4), 2).shape == (0, 1, 2, 2)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_lp_pool_of_infinite_order(dims):
    x = tercel.randn(2, 3, *([6] * dims))
    F = tercel.nn.functional
    lp = getattr(F, f"lp_pool{dims}d")
    highest = getattr(F, f"max_pool{dims}d")(x.abs(), 2)
    lowest = -getattr(F, f"max_pool{dims}d")(-x.abs(), 2)
    assert lp(x, float("inf"), 2).tolist() == highest.tolist()
    assert lp(x, -float("inf"), 2).tolist() == lowest.tolist()
