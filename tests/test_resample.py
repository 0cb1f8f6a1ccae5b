"""Interpolation, shuffles, fold and unfold against PyTorch and their own adjoints."""

from __future__ import annotations

import numpy as np
import pytest

import tercel

MODES = {
    1: ("nearest", "nearest-exact", "linear", "area"),
    2: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
    3: ("nearest", "nearest-exact", "trilinear", "area"),
}
SHAPE = {1: (2, 3, 11), 2: (2, 3, 7, 10), 3: (1, 2, 4, 5, 6)}


def tensor(a, dtype=np.float64):
    return tercel.tensor(np.ascontiguousarray(a, dtype=dtype))


@pytest.mark.parametrize(("n", "mode"), [(n, m) for n in MODES for m in MODES[n]])
def test_interpolate_matches_torch(n, mode):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal(SHAPE[n])
    smooth = mode not in ("nearest", "nearest-exact", "area")
    calls = [{"size": 9}, {"size": 3}, {"scale_factor": 2.0}, {"scale_factor": 1.7}]
    calls += [{"scale_factor": 1.7, "recompute_scale_factor": True}]
    if smooth:
        calls += [{"size": 9, "align_corners": True}, {"size": 1, "align_corners": True}]
    for kwargs in calls:
        tx = torch.tensor(x, requires_grad=True)
        ty = torch.nn.functional.interpolate(tx, mode=mode, **kwargs)
        x2 = tensor(x).requires_grad_(True)
        y = tercel._core.interpolate(x2, mode=mode, **kwargs)
        np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), atol=1e-12)
        ty.backward(ty.detach())
        y.backward(y.detach())
        np.testing.assert_allclose(x2.grad.numpy(), tx.grad.numpy(), atol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_antialias_matches_torch(mode):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 17, 22))
    for kwargs in [
        {"size": (5, 7)}, {"size": (1, 40)}, {"size": (17, 22)}, {"scale_factor": 0.4}, {"scale_factor": (1.7, 0.3)},
        {"size": (6, 5), "align_corners": True}, {"scale_factor": 0.6, "recompute_scale_factor": True},
    ]:  # fmt: skip
        tx = torch.tensor(x, requires_grad=True)
        ty = torch.nn.functional.interpolate(tx, mode=mode, antialias=True, **kwargs)
        x2 = tensor(x).requires_grad_(True)
        y = tercel.nn.functional.interpolate(x2, mode=mode, antialias=True, **kwargs)
        np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), atol=1e-12)
        ty.backward(ty.detach())
        y.backward(y.detach())
        np.testing.assert_allclose(x2.grad.numpy(), tx.grad.numpy(), atol=1e-12)
    with pytest.raises(ValueError, match="antialias is for modes"):
        tercel.nn.functional.interpolate(x2, size=3, mode="nearest", antialias=True)


def test_shuffles():
    x = np.arange(2 * 12 * 3 * 4).reshape(2, 12, 3, 4)
    y = tercel._core.pixel_shuffle(tensor(x), 2)
    want = x.reshape(2, 3, 2, 2, 3, 4).transpose(0, 1, 4, 2, 5, 3).reshape(2, 3, 6, 8)
    assert (y.numpy() == want).all()
    assert (tercel._core.pixel_unshuffle(y, 2).numpy() == x).all()
    z = tercel._core.channel_shuffle(tensor(x), 3).numpy()
    assert (z == x.reshape(2, 3, 4, 3, 4).transpose(0, 2, 1, 3, 4).reshape(x.shape)).all()


def test_unfold_and_fold_match_torch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 9))
    for args in ((3, 1, 0, 1), ((2, 3), 2, 1, 2), (2, (1, 2), (1, 0), (3, 1))):
        tx = torch.tensor(x, requires_grad=True)
        ty = torch.nn.functional.unfold(tx, *args)
        x2 = tensor(x).requires_grad_(True)
        y = tercel._core.unfold(x2, *args)
        assert (y.detach().numpy() == ty.detach().numpy()).all()
        ty.backward(ty.detach())
        y.backward(y.detach())
        np.testing.assert_allclose(x2.grad.numpy(), tx.grad.numpy(), atol=1e-12)
        back = tercel._core.fold(y, (8, 9), *args)
        tback = torch.nn.functional.fold(ty, (8, 9), *args)
        np.testing.assert_allclose(back.detach().numpy(), tback.detach().numpy(), atol=1e-12)


X = (1, 2, 4, 4)
BAD = {
    "interpolate": [
        lambda f, x: f(x),
        lambda f, x: f(x, 4, 2.0),
        lambda f, x: f(x, (1, 2, 3)),
        lambda f, x: f(x, 0),
        lambda f, x: f(x, 2**40),
        lambda f, x: f(x, scale_factor=0.0),
        lambda f, x: f(x, scale_factor=float("nan")),
        lambda f, x: f(x, scale_factor=1e300),
        lambda f, x: f(x, 4, mode="trilinear"),
        lambda f, x: f(x, 4, mode="cubic"),
        lambda f, x: f(x, 4, mode="area", align_corners=True),
        lambda f, x: f(x[0, 0], 4),
    ],
    "pixel_shuffle": [lambda f, x: f(x, 2), lambda f, x: f(x, 0), lambda f, x: f(x[0, 0], 1)],
    "pixel_unshuffle": [lambda f, x: f(x, 3), lambda f, x: f(x, 2**62), lambda f, x: f(x, -1)],
    "channel_shuffle": [lambda f, x: f(x, 3), lambda f, x: f(x, 0)],
    "unfold": [
        lambda f, x: f(x, 5),
        lambda f, x: f(x, 0),
        lambda f, x: f(x, 2, 0),
        lambda f, x: f(x, 2, 2**62),
        lambda f, x: f(x, 2, 1, -1),
        lambda f, x: f(x, 2, 1, 2**62),
        lambda f, x: f(x, 2, 1, 0, 0),
    ],
    "fold": [
        lambda f, x: f(x, (4, 4), 2),
        lambda f, x: f(x[0], (4, 4), 3),
        lambda f, x: f(x[0], (0, 4), 2),
    ],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    for call in BAD[name]:
        with pytest.raises((ValueError, TypeError, RuntimeError, OverflowError, MemoryError)) as e:
            call(getattr(tercel._core, name), tercel.ones(X))
        assert name in str(e.value)
