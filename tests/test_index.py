"""Indexing: NumPy's rules for every kind of index, refusal of bad ones, determinism."""

import numpy as np
import pytest

import tercel

X = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
MASK = X[:, :, 0] % 3 == 0
KEYS = {
    "list": ([0, 2],),
    "negative": ([-1, 0, -4],),
    "pair": ([0, 1, 3], [4, 0, 2]),
    "broadcast": ([[0], [3]], [1, 2, 4]),
    "apart": ([0, 1], slice(None), [2, 5]),
    "second": (slice(None), [1, 1, 0]),
    "last": (Ellipsis, [5, 0]),
    "matrix": (slice(None), [[0, 1], [2, 3]]),
    "stepped": (slice(None, None, 2), [0, 4], slice(1, 5, 2)),
    "full mask": (X > 50,),
    "row mask": (MASK,),
    "mask and list": (MASK[:, 0], [1] * int(MASK[:, 0].sum())),
    "empty": (np.zeros(0, np.int64),),
}


def key_of(key):
    return tuple(tercel.from_numpy(k) if isinstance(k, np.ndarray) else k for k in key)


@pytest.mark.parametrize("name", KEYS)
def test_getitem_and_setitem(name):
    key = KEYS[name]
    for array in (X, np.asfortranarray(X)):
        t = tercel.from_numpy(array.copy(order="K"))
        got = t[key_of(key)]
        assert np.array_equal(got.numpy(), array[key])
        want = array.copy()
        want[key] = -1.5
        t[key_of(key)] = -1.5
        assert np.array_equal(t.numpy(), want)
        values = np.random.default_rng(0).standard_normal(array[key].shape).astype(np.float32)
        want[key] = values
        t[key_of(key)] = tercel.from_numpy(values)
        assert np.array_equal(t.numpy(), want)


def test_zero_dim_masks():
    t = tercel.from_numpy(X)
    assert tercel._core.nonzero(tercel.tensor(True)).shape == (1, 0)
    assert t[tercel.tensor(True)].shape == (1, 4, 5, 6)
    assert t[tercel.tensor(False)].shape == (0, 4, 5, 6)


def test_index_dtypes():
    t = tercel.arange(10)
    for dtype in (tercel.int64, tercel.int32, tercel.int16, tercel.int8):
        assert t[tercel.tensor([1, 3], dtype=dtype)].tolist() == [1, 3]
    for bad in (tercel.tensor([1.0]), tercel.tensor([1], dtype=tercel.uint8)):
        with pytest.raises((IndexError, TypeError)):
            t[bad]


@pytest.mark.parametrize("bad", [5, -6, 2**40, -(2**63), 2**63 - 1])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, i: x[:, i],
        lambda x, i: x.__setitem__((slice(None), i), 1.0),
        lambda x, i: tercel.index_select(x, 1, i),
        lambda x, i: x.index_add_(1, i, x[:, : len(i)].clone()),
        lambda x, i: x.index_fill_(1, i, 0),
        lambda x, i: x.index_copy_(1, i, x[:, : len(i)].clone()),
        lambda x, i: tercel.gather(x, 1, i.expand(4, 3)),
        lambda x, i: x.scatter_(1, i.expand(4, 3), 1.0),
        lambda x, i: x.scatter_add_(1, i.expand(4, 3), tercel.ones(4, 3)),
        lambda x, i: x.scatter_reduce_(1, i.expand(4, 3), tercel.ones(4, 3), "amax"),
    ],
)
def test_out_of_range_is_refused_before_any_write(call, bad):
    x = tercel.zeros(4, 5)
    with pytest.raises(IndexError, match=f"{bad}.*size 5"):
        call(x, tercel.tensor([0, 4, bad]))
    assert not x.numpy().any()


def test_duplicates_in_order_for_any_thread_count():
    rng = np.random.default_rng(0)
    n, bins = 300_000, 37
    index = tercel.from_numpy(rng.integers(0, bins, n))
    source = tercel.from_numpy(rng.standard_normal(n).astype(np.float32))
    want = np.zeros(bins, np.float32)
    np.add.at(want, index.numpy(), source.numpy())  # sequential, in index order
    before = tercel.get_num_threads()
    try:
        for threads in (1, 2, 3):
            tercel.set_num_threads(threads)
            zero = tercel.zeros(bins)
            assert np.array_equal(tercel.scatter_add(zero, 0, index, source).numpy(), want)
            assert np.array_equal(tercel.index_add(zero, 0, index, source).numpy(), want)
            put = tercel.index_put(zero, (index,), source, accumulate=True)
            assert np.array_equal(put.numpy(), want)
            last = tercel.zeros(bins)
            last[index] = source
            assert np.array_equal(last.numpy(), tercel.scatter(zero, 0, index, source).numpy())
    finally:
        tercel.set_num_threads(before)


def test_half_sums_round_once():
    ones = tercel.ones(1000, dtype=tercel.bfloat16)
    at = tercel.zeros(1000, dtype=tercel.int64)
    for got in (
        tercel.zeros(2, dtype=tercel.bfloat16).scatter_add(0, at, ones),
        tercel.zeros(2, dtype=tercel.bfloat16).index_add(0, at, ones),
        tercel.zeros(2, dtype=tercel.bfloat16).index_put((at,), ones, True),
        tercel.zeros(2, dtype=tercel.bfloat16).scatter_reduce(0, at, ones, "sum"),
    ):
        assert got[0].item() == 1000


def test_overlapping_source():
    x = tercel.arange(6.0)
    x.index_copy_(0, tercel.tensor([1, 2, 3, 4, 5]), x[:5])
    assert x.tolist() == [0, 0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError):
        tercel.zeros(1).expand(4).index_fill_(0, tercel.tensor([0]), 1)


def test_nonzero_forms():
    x = tercel.tensor([[0, 1, 0], [2, 0, 3]])
    assert tercel.nonzero(x).tolist() == [[0, 1], [1, 0], [1, 2]]
    assert [t.tolist() for t in tercel.nonzero(x, as_tuple=True)] == [[0, 1, 1], [1, 0, 2]]
    big = np.random.default_rng(0).random((300, 200)) < 0.1
    assert np.array_equal(tercel.nonzero(tercel.from_numpy(big)).numpy(), np.argwhere(big))


def test_unique():
    x = np.random.default_rng(0).integers(0, 9, (30, 4))
    t = tercel.from_numpy(x)
    got = tercel.unique(t, return_inverse=True, return_counts=True)
    want = np.unique(x, return_inverse=True, return_counts=True)
    for g, w in zip(got, want):
        assert np.array_equal(g.numpy().ravel(), w.ravel())
    rows = tercel.unique(t // 5, dim=0, return_counts=True)
    want = np.unique(x // 5, axis=0, return_counts=True)
    assert all(np.array_equal(g.numpy(), w) for g, w in zip(rows, want))
    line = tercel.tensor([1, 1, 2, 2, 2, 1, 3])
    values, counts = tercel.unique_consecutive(line, return_counts=True)
    assert values.tolist() == [1, 2, 1, 3] and counts.tolist() == [2, 3, 1, 1]


def test_search_and_count():
    edges, v = tercel.tensor([1.0, 2.0, 2.0, 5.0]), tercel.tensor([0.0, 2.0, 9.0, float("nan")])
    assert tercel.searchsorted(edges, v).tolist() == [0, 1, 4, 4]
    assert tercel.searchsorted(edges, v, side="right").tolist() == [0, 3, 4, 4]
    assert tercel.bucketize(2.0, edges, out_int32=True).item() == 1
    order = tercel.tensor([2, 0, 1])
    assert tercel.searchsorted(tercel.tensor([5.0, 9.0, 1.0]), 6.0, sorter=order).item() == 2
    assert tercel.isin(tercel.tensor([1, 2, 3, 9]), tercel.tensor([3, 1])).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert tercel.bincount(tercel.tensor([0, 3, 3]), minlength=6).tolist() == [1, 0, 0, 2, 0, 0]
    assert tercel.one_hot(tercel.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert tercel.histc(tercel.tensor([0.0, 1.0, 1.0, 4.0]), 4, 0, 4).tolist() == [1, 2, 0, 1]
    for call in (
        lambda: tercel.one_hot(tercel.tensor([3]), 3),
        lambda: tercel.one_hot(tercel.tensor([-1])),
        lambda: tercel.bincount(tercel.tensor([-1])),
        lambda: tercel.searchsorted(edges, v, side="up"),
        lambda: tercel.searchsorted(edges, v, sorter=tercel.tensor([0, 1, 2, 4])),
    ):
        with pytest.raises((ValueError, IndexError)):
            call()


@pytest.mark.parametrize("reduce", ["sum", "mean", "prod", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce_gradient_matches_torch(reduce, include_self):
    torch = pytest.importorskip("torch")
    if not include_self and reduce in ("amax", "amin"):
        pytest.skip("PyTorch counts the excluded old value among the ties; the op case checks ours")
    rng = np.random.default_rng(4)
    x = rng.integers(-2, 3, (4, 5)).astype(np.float64)  # zeros and ties on purpose
    src = rng.integers(-2, 3, (9, 5)).astype(np.float64)
    index = rng.integers(0, 3, (9, 5))
    results = []
    for lib in (tercel, torch):
        a, b = (lib.tensor(v, requires_grad=True) for v in (x, src))
        y = lib.scatter_reduce(a, 0, lib.tensor(index), b, reduce, include_self=include_self)
        y.backward(lib.tensor(x))
        results.append([t.detach().numpy() for t in (y, a.grad, b.grad)])
    for got, want in zip(*results):
        assert np.allclose(got, want), reduce
