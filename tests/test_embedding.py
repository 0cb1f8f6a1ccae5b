"""Embedding tables: gradients that repeat rows, padding, renormalisation, bags, errors."""

import numpy as np
import pytest

import tercel
from tercel.testing import bits

F = tercel.nn.functional


def table(rows, dim, requires_grad=True):
    w = np.random.default_rng(0).standard_normal((rows, dim)).astype(np.float32)
    return tercel.from_numpy(w).requires_grad_(requires_grad)


@pytest.mark.parametrize("index_dtype", [tercel.int64, tercel.int32])
def test_gradient_sums_repeated_rows(index_dtype, threads):
    idx = np.random.default_rng(1).integers(0, 7, 5000)
    g = np.random.default_rng(2).standard_normal((5000, 33))
    want = np.zeros((9, 33))
    np.add.at(want, idx, g)
    magnitude = np.zeros((9, 33))
    np.add.at(magnitude, idx, np.abs(g))
    seen = set()
    for n in (1, 2, 3):
        threads(n)
        w = table(9, 33)
        y = F.embedding(tercel.tensor(idx, dtype=index_dtype), w)
        y.backward(tercel.tensor(g, dtype=tercel.float32))
        error = np.abs(w.grad.double().numpy() - want)
        # A row is one chain of additions in the order of the indices: n eps is the bound.
        assert (error <= 800 * 2.0**-24 * magnitude + 1e-30).all()
        seen.add(bits(w.grad))
    assert len(seen) == 1


def test_padding_and_frequency():
    idx = tercel.tensor([0, 2, 2, 2, 1, 1])
    w = table(4, 3)
    F.embedding(idx, w, padding_idx=-2).sum().backward()
    assert w.grad[:, 0].tolist() == [1, 2, 0, 0]
    w.grad = None
    F.embedding(idx, w, scale_grad_by_freq=True).sum().backward()
    assert np.allclose(w.grad[:, 0].numpy(), [1, 1, 1, 0])
    layer = tercel.nn.Embedding(5, 4, padding_idx=1)
    assert layer.weight[1].abs().sum().item() == 0


def test_max_norm_scales_only_the_rows_in_use():
    w = table(4, 8, requires_grad=False)
    with tercel.no_grad():
        w.mul_(10)
    before = w.numpy().copy()
    F.embedding(tercel.tensor([1, 3, 3]), w, max_norm=2.0)
    norms = np.linalg.norm(w.double().numpy(), axis=1)
    assert np.allclose(norms[[1, 3]], 2.0, rtol=1e-5)
    assert (w.numpy()[[0, 2]] == before[[0, 2]]).all()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bag_gradients(mode):
    """Against the same sums written with plain indexing."""
    rng = np.random.default_rng(3)
    idx, offsets = rng.integers(0, 6, 11), [0, 3, 3, 8]
    g = rng.standard_normal((4, 5))
    w = table(6, 5)
    out = F.embedding_bag(tercel.tensor(idx), w, tercel.tensor(offsets), mode=mode)
    out.backward(tercel.tensor(g, dtype=tercel.float32))
    want = np.zeros((6, 5))
    values = w.detach().double().numpy()
    for b, (lo, hi) in enumerate(zip(offsets, [*offsets[1:], 11], strict=True)):
        rows = idx[lo:hi]
        if len(rows) == 0:
            assert out[b].abs().sum().item() == 0
        elif mode == "max":
            for d in range(5):
                want[rows[values[rows, d].argmax()], d] += g[b, d]
        else:
            np.add.at(want, rows, g[b] / (len(rows) if mode == "mean" else 1))
    assert np.allclose(w.grad.numpy(), want, atol=1e-6)


def test_per_sample_weights_have_a_gradient():
    idx = tercel.tensor([[0, 2], [1, 1]])
    w = table(3, 4)
    p = tercel.tensor([[0.5, 2.0], [1.0, -1.0]], requires_grad=True)
    F.embedding_bag(idx, w, per_sample_weights=p, mode="sum").sum().backward()
    rows = w.detach().numpy().sum(axis=1)
    assert np.allclose(p.grad.numpy(), rows[idx.numpy()], rtol=1e-5)
    with pytest.raises(RuntimeError, match="embedding_bag"):
        F.embedding_bag(idx, w, per_sample_weights=p, mode="mean")


def test_errors():
    w = table(4, 3)
    for bad in (4, -1):
        with pytest.raises(IndexError, match=str(bad)):
            F.embedding(tercel.tensor([0, bad]), w)
        with pytest.raises(IndexError, match=str(bad)):
            F.embedding_bag(tercel.tensor([[0, bad]]), w)
    with pytest.raises((TypeError, RuntimeError), match="embedding"):
        F.embedding(tercel.tensor([0.5]), w)
    with pytest.raises((ValueError, RuntimeError, IndexError), match="embedding"):
        F.embedding(tercel.tensor([0]), w, padding_idx=4)
    with pytest.raises((ValueError, RuntimeError, NotImplementedError), match="sparse"):
        F.embedding(tercel.tensor([0]), w, sparse=True)
    with pytest.raises(ValueError, match="offsets"):
        F.embedding_bag(tercel.tensor([0, 1]), w, tercel.tensor([1]))
    with pytest.raises(ValueError, match="offsets"):
        F.embedding_bag(tercel.tensor([0, 1]), w, tercel.tensor([0, 3]))
