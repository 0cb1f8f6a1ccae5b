"""Sorting: NaN and signed zeros, stability, every dtype and length, selection."""

import numpy as np
import pytest

import tercel

LENGTHS = [0, 1, 2, 31, 33, 300, 8191, 8193, 70_000]
INTS = ["int8", "uint8", "int16", "int32", "int64"]


def total_order(x, descending=False):
    """Stable order with NaN largest and -0 equal to 0."""
    x = x.astype(np.float64) if x.dtype.kind == "f" else x.astype(np.int64)
    rank = np.unique(np.where(x == 0, 0, x), return_inverse=True, equal_nan=True)[1]
    return np.argsort(-rank if descending else rank, kind="stable")


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", *INTS, "bool"])
@pytest.mark.parametrize("n", LENGTHS)
def test_stable_order(dtype, n):
    rng = np.random.default_rng(n)
    x = (rng.standard_normal(n) * 20).astype(np.float32).astype(dtype)
    if x.dtype.kind == "f" and n > 5:
        x[:: max(n // 7, 1)] = np.nan
        x[1 :: max(n // 5, 1)] = -0.0
        x[2 :: max(n // 5, 1)] = 0.0
        x[3 :: max(n // 3, 1)] = -np.inf
    t = tercel.from_numpy(x)
    for descending in (False, True):
        values, indices = tercel.sort(t, descending=descending)
        want = total_order(x, descending)
        assert np.array_equal(indices.numpy(), want)
        assert values.numpy().tobytes() == x[want].tobytes()  # the very bits, -0 and NaN included


def test_integer_extremes():
    for dtype in INTS:
        info = np.iinfo(dtype)
        x = np.array([0, info.max, info.min, 1, info.min, info.max, 5] * 9, dtype)
        assert np.array_equal(tercel.sort(tercel.from_numpy(x))[0].numpy(), np.sort(x))
        assert np.array_equal(tercel.topk(tercel.from_numpy(x), 3)[0].numpy(), np.sort(x)[::-1][:3])


@pytest.mark.parametrize("kind", ["random", "ascending", "descending", "constant", "ties"])
@pytest.mark.parametrize("n,k", [(5000, 1), (5000, 50), (5000, 1200), (300, 7), (64, 64)])
def test_topk(kind, n, k):
    rng = np.random.default_rng(1)
    x = {"random": rng.standard_normal(n), "ascending": np.arange(n), "descending": -np.arange(n),
         "constant": np.zeros(n), "ties": rng.integers(0, 5, n)}[kind].astype(np.float32)  # fmt: skip
    for largest in (True, False):
        values, indices = tercel.topk(tercel.from_numpy(x), k, largest=largest)
        want = total_order(x, largest)[:k]
        assert np.array_equal(indices.numpy(), want) and np.array_equal(values.numpy(), x[want])


def test_topk_nan_is_largest():
    x = tercel.tensor([1.0, float("nan"), 3.0, float("-inf")] * 50)
    assert np.isnan(tercel.topk(x, 3)[0].numpy()).all()
    assert tercel.topk(x, 1, largest=False)[0].item() == float("-inf")


def test_threads_do_not_matter():
    x = tercel.randn(300_000)
    before = tercel.get_num_threads()
    try:
        tercel.set_num_threads(1)
        one = tercel.sort(x)
        tercel.set_num_threads(3)
        three = tercel.sort(x)
    finally:
        tercel.set_num_threads(before)
    assert np.array_equal(one[1].numpy(), three[1].numpy())


def test_dims_and_names():
    x = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
    r = tercel.sort(tercel.from_numpy(x).transpose(0, 2), dim=1)
    assert np.array_equal(r.values.numpy(), np.sort(x.transpose(2, 1, 0), 1))
    assert tercel.kthvalue(tercel.from_numpy(x), 2, 1, keepdim=True).values.shape == (4, 1, 6)
    assert tercel.sort(tercel.tensor(3.0)).values.shape == ()
    assert tercel.topk(tercel.zeros(3, 0), 0).indices.shape == (3, 0)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tercel.topk(x, 6),
        lambda x: tercel.topk(x, -1),
        lambda x: tercel.topk(x, 2, 3),
        lambda x: tercel.kthvalue(x, 0),
        lambda x: tercel.kthvalue(x, 6),
        lambda x: tercel.sort(x, 2),
    ],
)
def test_refusals(call):
    with pytest.raises((ValueError, IndexError)):
        call(tercel.zeros(5))
