"""Matrix products beyond the generic op tests: contracts N6 and N8, dtypes, errors, PyTorch as second oracle."""

import numpy as np
import pytest

import tercel

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture
def threads():
    before = tercel.get_num_threads()
    yield tercel.set_num_threads
    tercel.set_num_threads(before)


@pytest.mark.parametrize("k", [1, 7, 64, 333, 512, 513, 1024, 4096, 8192])
@pytest.mark.parametrize("kind", ["normal", "uniform", "alternating", "ones"])
def test_error_bound(k, kind):
    """N6: error <= 8 eps |A||B| for random data and k eps always. Terms of one sign are the worst case of a
    chain: its error grows like sqrt(k) up to the block length and not beyond."""
    a, b = normal(48, k), normal(k, 40)
    if kind == "uniform":
        a, b = np.abs(a), np.abs(b)
    elif kind == "alternating":
        a *= np.where(np.arange(k) % 2, 1, -1).astype(np.float32)
    elif kind == "ones":
        a, b = np.ones_like(a), np.ones_like(b)
    y = tercel.mm(tercel.from_numpy(a), tercel.from_numpy(b)).numpy()
    exact = a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b)
    bound = min(k, 40) if kind == "uniform" else 8
    assert np.max(np.abs(y - exact) / magnitude) <= bound * 2.0**-24


@pytest.fixture
def no_tiles():
    """AMX adds the products of 16-bit floats in another order than float32 does."""
    before = tercel.get_isa()
    if before == "amx":
        tercel.set_isa("avx512")
    yield
    tercel.set_isa(before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_is_rounded_once(dtype, no_tiles):
    a = tercel.from_numpy(normal(40, 700)).to(getattr(tercel, dtype))
    b = tercel.from_numpy(normal(700, 50)).to(getattr(tercel, dtype))
    wide = tercel.mm(a.float(), b.float())
    assert tercel.mm(a, b).float().tolist() == wide.to(getattr(tercel, dtype)).float().tolist()
    row = tercel.mm(a[3:4], b).float().tolist()
    assert row[0] == tercel.mm(a, b)[3].float().tolist()


@pytest.mark.parametrize("shape", [(64, 600, 700), (16, 2000, 520), (200, 130, 1100), (9, 8, 8)])
def test_rows_do_not_depend_on_the_batch(shape, threads):
    """N8: any number of rows, threads, layouts and positions give the same bits."""
    m, n, k = shape
    a, w = normal(m, k), normal(n, k)
    ta, tw = tercel.from_numpy(a), tercel.from_numpy(w)
    full = tercel.linear(ta, tw).numpy()
    for rows in (1, 2, 3, 7, 16, 33):
        for start in (0, m // 2):
            part = ta[start : start + rows]
            assert np.array_equal(tercel.linear(part, tw).numpy(), full[start : start + rows])
    for count in (1, 2, 3, 8):
        threads(count)
        assert np.array_equal(tercel.linear(ta, tw).numpy(), full)
        assert np.array_equal(tercel.mm(ta, tw.t().contiguous()).numpy(), full)
        assert np.array_equal(tercel.mm(ta.t().contiguous().t(), tw.t()).numpy(), full)
    batched = tercel.matmul(tercel.from_numpy(np.stack([a, a])), tw.t()).numpy()
    assert np.array_equal(batched[1], full)
    assert np.array_equal(tercel.mv(tw, ta[0]).numpy(), full[0])


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64])
def test_integers_wrap(dtype):
    info = np.iinfo(dtype)
    a = RNG.integers(info.min, info.max, (5, 70), dtype=dtype, endpoint=True)
    b = RNG.integers(info.min, info.max, (70, 300), dtype=dtype, endpoint=True)
    y = tercel.mm(tercel.from_numpy(a), tercel.from_numpy(b))
    assert np.array_equal(y.numpy(), a @ b)


def test_empty_k_and_sizes():
    a, b = tercel.zeros(3, 0), tercel.zeros(0, 4)
    assert tercel.mm(a, b).tolist() == [[0.0] * 4] * 3
    assert tercel.addmm(tercel.ones(4), a, b, beta=2.0).tolist() == [[2.0] * 4] * 3
    assert tercel.mm(tercel.zeros(0, 3), tercel.zeros(3, 4)).shape == (0, 4)
    assert tercel.bmm(tercel.zeros(0, 2, 3), tercel.zeros(0, 3, 4)).shape == (0, 2, 4)


def test_beta_zero_ignores_input():
    nan = tercel.full((2, 2), float("nan"))
    y = tercel.addmm(nan, tercel.eye(2), tercel.eye(2), beta=0)
    assert y.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_nan_and_inf_propagate():
    a = tercel.from_numpy(np.array([[1.0, np.nan], [np.inf, 1.0]], dtype=np.float32))
    y = tercel.mm(a, tercel.ones(2, 20)).numpy()
    assert np.isnan(y[0]).all() and np.isposinf(y[1]).all()


def test_linear_saves_only_what_is_needed():
    x, w = tercel.ones(4, 3), tercel.ones(2, 3).requires_grad_(True)
    tercel.linear(x.requires_grad_(True), w.detach()).sum().backward()
    assert x.grad.tolist() == [[2.0] * 3] * 4 and w.grad is None


def test_inplace_and_out():
    c, a, b = tercel.ones(3, 5), tercel.ones(3, 600), tercel.ones(600, 5)
    c.addmm_(a, b, beta=2)
    assert c.tolist() == [[602.0] * 5] * 3
    out = tercel.empty(3, 5)
    assert tercel.mm(a, b, out=out) is out and out.tolist() == [[600.0] * 5] * 3


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: tercel.mm(tercel.ones(2, 3), tercel.ones(2, 3)), "mm: the inner sizes"),
        (lambda: tercel.mm(tercel.ones(2, 3, 1), tercel.ones(2, 3)), "mm: input must have 2 dims"),
        (lambda: tercel.matmul(tercel.ones(2), tercel.ones(())), "matmul: both operands"),
        (
            lambda: tercel.matmul(tercel.ones(2, 2), tercel.ones(2, 2).double()),
            "matmul: the operands must have one",
        ),
        (
            lambda: tercel.linear(tercel.ones(2, 3), tercel.ones(4, 2)),
            "linear: weight must have shape",
        ),
        (
            lambda: tercel.linear(tercel.ones(2, 3), tercel.ones(4, 3), tercel.ones(3)),
            "linear: bias must have shape",
        ),
        (
            lambda: tercel.addmm(tercel.ones(3), tercel.ones(2, 3), tercel.ones(3, 4)),
            "addmm|broadcast",
        ),
        (lambda: tercel.bmm(tercel.ones(2, 3, 4), tercel.ones(3, 4, 5)), "bmm: batch sizes"),
        (lambda: tercel.dot(tercel.ones(2), tercel.ones(3)), "dot: sizes"),
        (lambda: tercel.einsum("ij,jk", tercel.ones(2, 3)), "einsum"),
        (lambda: tercel.einsum("ij->k", tercel.ones(2, 3)), "einsum"),
        (lambda: tercel.einsum("i$", tercel.ones(2, 3)), "einsum"),
        (lambda: tercel.einsum("ij,jk->ik", tercel.ones(2, 3), tercel.ones(4, 5)), "einsum"),
        (lambda: tercel.matrix_power(tercel.ones(2, 3), 2), "matrix_power"),
        (lambda: tercel.tensordot(tercel.ones(2), tercel.ones(3), 1), "tensordot"),
    ],
)
def test_errors_name_the_op(call, text):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=text):
        call()


def test_einsum_forms():
    a, b = tercel.from_numpy(normal(3, 4)), tercel.from_numpy(normal(4, 5))
    want = (a @ b).numpy()
    assert np.array_equal(tercel.einsum("ij,jk", a, b).numpy(), want)
    assert np.array_equal(tercel.einsum("ij,jk->ik", [a, b]).numpy(), want)
    assert np.array_equal(tercel.einsum(a, [0, 1], b, [1, 2], [0, 2]).numpy(), want)
    assert np.array_equal(tercel.einsum(" i j , j k -> k i ", a, b).numpy(), want.T)


def test_multi_dot_and_chain():
    ms = [normal(5, 6), normal(6, 2), normal(2, 7)]
    want = ms[0] @ ms[1] @ ms[2]
    got = tercel.chain_matmul(*[tercel.from_numpy(m) for m in ms]).numpy()
    assert np.allclose(got, want, rtol=1e-5, atol=1e-5)


def test_gradients_match_pytorch():
    torch = pytest.importorskip("torch")
    x, w, b, g = (RNG.standard_normal(s) for s in ((5, 3, 7), (4, 7), (4,), (5, 3, 4)))
    ours = [tercel.from_numpy(v).requires_grad_(True) for v in (x, w, b)]
    theirs = [torch.from_numpy(v.copy()).requires_grad_(True) for v in (x, w, b)]
    tercel.linear(*ours).backward(tercel.from_numpy(g))
    torch.nn.functional.linear(*theirs).backward(torch.from_numpy(g))
    for mine, other in zip(ours, theirs, strict=True):
        assert np.allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-12, atol=1e-12)
