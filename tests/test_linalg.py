"""Linear algebra beyond the generated cases: reconstructions, layouts, batches, degenerate matrices, errors."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import tercel
from tercel import linalg
from tercel.testing import bits

RNG = np.random.default_rng(5)


def regular(*shape, dtype="float64"):
    a = RNG.standard_normal(shape) * 0.3 + 2 * np.eye(shape[-2], shape[-1])
    return tercel.tensor(a, dtype=getattr(tercel, dtype))


def spd(*shape, dtype="float64"):
    a = regular(*shape, dtype=dtype)
    return a @ a.mT


def flat(result):
    """The tensors of a result, one or several."""
    return list(result) if isinstance(result, tuple) else [result]


FUNCTIONS = {
    "cholesky": linalg.cholesky,
    "cond": linalg.cond,
    "det": linalg.det,
    "eigh": linalg.eigh,
    "inv": linalg.inv,
    "matrix_exp": linalg.matrix_exp,
    "matrix_norm": lambda a: linalg.matrix_norm(a, 2),
    "matrix_rank": linalg.matrix_rank,
    "pinv": linalg.pinv,
    "qr": linalg.qr,
    "slogdet": linalg.slogdet,
    "solve": lambda a: linalg.solve(a, a[..., :2] + 1),
    "solve_triangular": lambda a: linalg.solve_triangular(a, a, upper=False),
    "lstsq": lambda a: linalg.lstsq(a, a[..., :1] + 1)[0],
    "svd": linalg.svd,
    "svdvals": linalg.svdvals,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layout_and_batch_do_not_change_bits(name, dtype):
    f, a = FUNCTIONS[name], spd(3, 4, 4, dtype=dtype)
    whole = flat(f(a))
    wide = tercel.zeros(3, 4, 9, dtype=a.dtype)
    wide[..., 1::2] = a
    for other in (a.mT.contiguous().mT, wide[..., 1::2]):
        assert [bits(x) for x in flat(f(other))] == [bits(x) for x in whole]
    for i in range(3):
        assert [bits(x) for x in flat(f(a[i]))] == [bits(x[i]) for x in whole]


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 4, 3), (0, 3), (3, 0), (2, 0, 0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_give_the_matrix_back(shape, dtype):
    a = regular(*shape, dtype=dtype)
    eps = 1e-6 if dtype == "float32" else 1e-14
    m, n = shape[-2:]
    k = min(m, n)

    def same(x, y):
        assert x.shape == y.shape
        assert x.dtype is a.dtype
        assert not x.numel() or (x - y).abs().max().item() <= 8 * eps

    def orthonormal(q):
        same(q.mT @ q, tercel.eye(q.shape[-1], dtype=a.dtype).expand(*q.shape[:-2], -1, -1))

    for mode, inner in (("reduced", k), ("complete", m)):
        q, r = linalg.qr(a, mode)
        assert q.shape == (*shape[:-1], inner)
        assert r.shape == (*shape[:-2], inner, n)
        orthonormal(q)
        same(q @ r, a)
        same(r.triu(), r)
    q, r = linalg.qr(a, "r")
    assert q.shape == (0,)
    same(r, linalg.qr(a)[1])
    u, s, vh = linalg.svd(a, full_matrices=False)
    same((u * s.unsqueeze(-2)) @ vh, a)
    orthonormal(u)
    orthonormal(vh.mT)
    assert (s.diff() <= 0).all().item()
    u, s, vh = linalg.svd(a)
    assert u.shape == (*shape[:-1], m)
    assert vh.shape == (*shape[:-2], n, n)
    orthonormal(u)
    orthonormal(vh)
    same((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a)
    u, s, v = tercel.svd(a)
    same((u * s.unsqueeze(-2)) @ v.mT, a)


def test_plain_names_are_methods_too():
    a = spd(3, 3)
    for name in ("cholesky", "cholesky_inverse", "det", "inverse", "logdet", "matrix_exp", "pinverse", "qr",
                 "slogdet", "svd"):  # fmt: skip
        got, wanted = flat(getattr(a, name)()), flat(getattr(tercel, name)(a))
        assert [bits(x) for x in got] == [bits(x) for x in wanted]
    b = tercel.ones(3, 1, dtype=tercel.float64)
    assert bits(b.cholesky_solve(a.cholesky())) == bits(
        tercel.cholesky_solve(b, tercel.cholesky(a))
    )
    assert (a @ b.cholesky_solve(a.cholesky()) - b).abs().max().item() < 1e-13
    assert bits(tercel.cholesky(a, upper=True)) == bits(tercel.cholesky(a).mT.contiguous())


@pytest.mark.parametrize("f, what", [
    (linalg.inv, "singular"), (lambda a: linalg.solve(a, a), "singular"), (linalg.cholesky, "positive definite"),
    (lambda a: linalg.solve_triangular(a, a, upper=True), "singular"),
])  # fmt: skip
def test_the_bad_matrix_of_a_batch_is_named(f, what):
    a = spd(3, 2, 2)
    a[1] = 0
    with pytest.raises(linalg.LinAlgError, match=rf"matrix 1 of the batch .*{what}"):
        f(a)
    with pytest.raises(linalg.LinAlgError, match=rf"matrix \(1, 0\) of the batch .*{what}"):
        f(a.unsqueeze(1))
    with pytest.raises(RuntimeError, match=f"the matrix .*{what}"):
        f(a[1])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite(value):
    a = spd(3, 3)
    a[0, 1] = value
    for f in (linalg.eigh, linalg.svd, linalg.svdvals, linalg.pinv):
        with pytest.raises(linalg.LinAlgError, match="not finite"):
            f(a.mT.contiguous())
    assert not linalg.det(a).isfinite().item()
    assert linalg.inv(a).isnan().any().item()
    assert linalg.matrix_exp(a).isnan().all().item()
    assert not linalg.matrix_norm(a).isfinite().item()


def test_singular_matrices():
    a = tercel.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=tercel.float64, requires_grad=True)
    d = linalg.det(a)
    d.backward()
    assert d.item() == pytest.approx(0, abs=1e-15)
    assert a.grad.tolist() == pytest.approx(np.array([[4.0, -2.0], [-2.0, 1.0]]), abs=1e-14)
    zero = tercel.zeros(2, 2)
    assert [x.item() for x in linalg.slogdet(zero)] == [0.0, -math.inf]
    assert tercel.logdet(zero).item() == -math.inf
    assert tercel.logdet(-tercel.eye(3)).isnan().item()
    assert linalg.cond(zero, 1).item() == math.inf
    assert linalg.cond(tercel.tensor([[1.0, 0.0], [0.0, 0.0]])).item() == math.inf
    assert linalg.matrix_rank(a).item() == 1
    assert linalg.matrix_rank(a, atol=10.0).item() == 0
    assert linalg.pinv(zero).tolist() == zero.tolist()


def test_determinants_do_not_overflow():
    a = tercel.eye(400) * 10
    assert linalg.slogdet(a)[1].item() == pytest.approx(400 * math.log(10))
    assert linalg.det(a).item() == math.inf
    assert linalg.det(a * 1e-3).item() == 0.0


def test_equal_eigenvalues_have_finite_gradients():
    a = tercel.eye(3, dtype=tercel.float64).requires_grad_()
    w, v = linalg.eigh(a)
    (w.sum() + (v @ v.mT).sum()).backward()
    assert np.allclose(a.grad.numpy(), np.eye(3))
    a = tercel.tensor([[2.0, 0, 0], [0, 2.0, 0]], dtype=tercel.float64, requires_grad=True)
    u, s, vh = linalg.svd(a, False)
    ((u * s.unsqueeze(-2)) @ vh).sum().backward()  # the matrix itself, whatever the vectors
    assert a.grad.isfinite().all().item()


def test_only_the_named_triangle_is_read():
    a = spd(3, 3)
    low, up = a.tril(), a.triu()
    assert bits(linalg.cholesky(low)) == bits(linalg.cholesky(a))
    assert bits(linalg.cholesky(up, upper=True)) == bits(linalg.cholesky(a, upper=True))
    assert bits(linalg.eigvalsh(low)) == bits(linalg.eigvalsh(a))
    assert np.allclose(linalg.eigvalsh(up, "U").numpy(), linalg.eigvalsh(a).numpy())
    b = regular(3, 2)
    assert bits(linalg.solve_triangular(a, b, upper=False)) == bits(
        linalg.solve_triangular(low, b, upper=False)
    )
    assert bits(linalg.solve_triangular(a, b, upper=True)) == bits(
        linalg.solve_triangular(up, b, upper=True)
    )


def test_substitution_is_accurate_for_ill_conditioned_triangles():
    """Componentwise small residuals, which elimination with row exchanges does not give (Higham 1989)."""
    n = 30
    lower = tercel.full((n, n), -1.0, dtype=tercel.float64).tril(-1) + tercel.eye(
        n, dtype=tercel.float64
    )
    x = tercel.ones(n, 1, dtype=tercel.float64)
    for a, upper in ((lower, False), (lower.mT, True)):
        assert bits(linalg.solve_triangular(a, a @ x, upper=upper)) == bits(x)


def test_least_squares():
    a, b = regular(5, 3), regular(5, 2)
    for driver in (None, "gels", "gelsy", "gelsd", "gelss"):
        x, residuals, rank, s = linalg.lstsq(a, b, driver=driver)
        wanted = np.linalg.lstsq(a.numpy(), b.numpy(), rcond=None)
        assert np.allclose(x.numpy(), wanted[0])
        assert np.allclose(residuals.numpy(), wanted[1])
        assert rank.item() == wanted[2] == 3
        assert s.shape == ((3,) if driver in ("gelsd", "gelss") else (0,))
    assert linalg.lstsq(a.mT, b[:3]).residuals.shape == (0,)
    assert linalg.lstsq(a, b, rcond=10.0).rank.item() == 0


def test_out():
    a = spd(3, 3)
    for f in (
        linalg.inv,
        linalg.det,
        linalg.cholesky,
        linalg.svdvals,
        linalg.pinv,
        linalg.matrix_norm,
    ):
        target = tercel.empty(0, dtype=tercel.float64)
        assert f(a, out=target) is target
        assert bits(target) == bits(f(a))
    pair = tercel.empty(0, dtype=tercel.float64), tercel.empty(0, dtype=tercel.float64)
    linalg.eigh(a, out=pair)
    assert bits(pair[0]) == bits(linalg.eigvalsh(a))
    with pytest.raises(ValueError, match="out must have shape"):
        linalg.inv(a, out=tercel.empty(2, 2, dtype=tercel.float64))
    with pytest.raises(TypeError, match="tuple of 2"):
        linalg.eigh(a, out=a)


def test_errors_name_function_expected_and_got():
    a, b = regular(3, 3), regular(3, 2)
    for call, kind, text in [
        (lambda: linalg.inv(b), ValueError, r"linalg.inv: expected A of square .*\(3, 2\)"),
        (
            lambda: linalg.inv(a.to(tercel.bfloat16)),
            TypeError,
            "float32 or float64, got tercel.bfloat16",
        ),
        (lambda: linalg.inv(a.to(tercel.int64)), TypeError, "int64"),
        (lambda: linalg.inv([[1.0]]), TypeError, "Tensor, got list"),
        (lambda: linalg.svd(a[0]), ValueError, "at least 2 dimensions"),
        (lambda: linalg.solve(a, regular(4, 2)), ValueError, "3 rows"),
        (lambda: linalg.solve(a, b.float()), TypeError, "one dtype"),
        (lambda: linalg.solve(regular(2, 3, 3), regular(4, 3, 3)), ValueError, "broadcast"),
        (lambda: linalg.qr(a, "full"), ValueError, "'reduced', 'complete' or 'r'"),
        (lambda: linalg.eigh(a, "X"), ValueError, "UPLO"),
        (lambda: linalg.matrix_norm(a, 3), ValueError, "ord"),
        (lambda: linalg.matrix_norm(a, "fro", (0, 0)), ValueError, "different"),
        (lambda: linalg.matrix_norm(a, "fro", (0, 5)), IndexError, "out of range"),
        (lambda: linalg.norm(regular(2, 3, 3), 2), ValueError, "1 or 2 dimensions"),
        (lambda: linalg.lstsq(a, b, driver="x"), ValueError, "driver"),
        (lambda: tercel.qr(a, some="x"), TypeError, "bool"),
    ]:
        with pytest.raises(kind, match=text):
            call()
    x = regular(4, 2).requires_grad_()
    with pytest.raises(RuntimeError, match=r"mode='complete'.*no gradient"):
        linalg.qr(x, "complete")[0].sum().backward()


def test_float32_is_computed_in_float64():
    """The Hilbert matrix of order 6 has condition 1.5e7: a float32 inverse would have no correct digit."""
    n = 6
    hilbert = 1.0 / (np.arange(n)[:, None] + np.arange(n) + 1)
    a = tercel.tensor(hilbert, dtype=tercel.float32)
    exact = np.linalg.inv(a.numpy().astype(np.float64))
    assert np.abs(linalg.inv(a).numpy() / exact - 1).max() < 1e-6


def test_results_are_ordinary_tensors():
    a = spd(3, 3)
    assert copy.deepcopy(linalg.inv(a)).is_contiguous()
    values, vectors = linalg.eigh(a)
    assert type(linalg.eigh(a)).__name__ == "linalg_eigh"  # as in PyTorch
    values += 1
    vectors.zero_()
    assert not linalg.inv(a).requires_grad


@pytest.mark.skipif(not tercel.cuda.is_available(), reason="no CUDA device, real or emulated")
def test_on_a_gpu():
    a = spd(3, 3)
    x = a.cuda().requires_grad_()
    w, v = linalg.eigh(x)
    assert w.device == x.device == v.device
    w.sum().backward()  # the gradient of v is missing and becomes zeros on the device
    assert x.grad.device == x.device
    assert np.allclose(x.grad.cpu().numpy(), np.eye(3))
    assert bits(linalg.inv(x).cpu()) == bits(linalg.inv(a))
