"""Dropout: rates, scaling, the mask that backward sees, independence of threads and layout."""

import numpy as np
import pytest

import tercel
from tercel.testing import bits

F = tercel.nn.functional
N = 200_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_rate_and_scale(p, dtype):
    x = tercel.ones(N, dtype=getattr(tercel, dtype))
    y = F.dropout(x, p, training=True)
    kept = y != 0
    # Six standard deviations of a binomial count.
    assert abs(kept.sum().item() - N * (1 - p)) < 6 * np.sqrt(N * p * (1 - p))
    wide = tercel.float64 if dtype == "float64" else tercel.float32
    scale = tercel.tensor(1 / (1 - p), dtype=wide).to(x.dtype)
    assert (y[kept] == scale).all().item()


def test_edges():
    x = tercel.randn(50)
    assert F.dropout(x, 0.5, training=False) is x or bits(F.dropout(x, 0.5, False)) == bits(x)
    assert bits(F.dropout(x, 0.0)) == bits(x)
    assert F.dropout(x, 1.0).abs().sum().item() == 0
    assert F.dropout(tercel.empty(0, 3), 0.5).shape == (0, 3)
    assert F.dropout(tercel.tensor(2.0), 0.5).shape == ()
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="dropout"):
            F.dropout(x, p)
    with pytest.raises((TypeError, RuntimeError), match="dropout"):
        F.dropout(tercel.arange(4), 0.5)


def test_the_same_numbers_whatever_the_threads_dtype_and_layout(threads):
    seen = set()
    for n in (1, 2, 3):
        threads(n)
        for dtype in (tercel.float32, tercel.float16):
            for layout in (
                tercel.ones(300, 400, dtype=dtype),
                tercel.ones(400, 300, dtype=dtype).t(),
            ):
                tercel.manual_seed(3)
                seen.add((F.dropout(layout, 0.3) != 0).contiguous().numpy().tobytes())
    assert len(seen) == 1


def test_backward_uses_the_mask_of_forward():
    x = tercel.randn(1000, requires_grad=True)
    y = F.dropout(x, 0.4)
    y.sum().backward()
    scale = np.float32(1 / (1 - 0.4))
    assert (x.grad.numpy() == np.where(y.detach().numpy() != 0, scale, 0)).all()


def test_in_place():
    x = tercel.randn(1000)
    tercel.manual_seed(1)
    want = F.dropout(x, 0.4)
    tercel.manual_seed(1)
    y = F.dropout(x, 0.4, inplace=True)
    assert y is x and bits(x) == bits(want)
    leaf = tercel.randn(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        F.dropout(leaf, 0.5, inplace=True)


@pytest.mark.parametrize(
    "f, shape",
    [
        (F.dropout1d, (40, 50, 7)),
        (F.dropout2d, (40, 50, 3, 5)),
        (F.dropout3d, (40, 50, 2, 3, 2)),
        (F.dropout1d, (2000, 7)),
        (F.dropout3d, (2000, 2, 3, 2)),
    ],
)
def test_whole_channels_are_dropped(f, shape):
    channels = f(tercel.ones(*shape), 0.25, True).numpy().reshape(2000, -1)
    assert (channels == channels[:, :1]).all()
    kept = (channels[:, 0] != 0).sum()
    assert abs(kept - 1500) < 6 * np.sqrt(2000 * 0.25 * 0.75)


def test_alpha_dropout_keeps_mean_and_variance():
    x = tercel.randn(N)
    y = F.alpha_dropout(x, 0.2, True).double().numpy()
    assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.03
    z = F.feature_alpha_dropout(tercel.randn(300, 200, 4), 0.2, True).numpy()
    dropped = (z == z[:, :, :1]).all(axis=2)
    assert abs(dropped.mean() - 0.2) < 6 * np.sqrt(0.2 * 0.8 / dropped.size)
