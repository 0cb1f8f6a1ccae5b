"""out=, and NumPy's argument names, over the functions that have them."""

import math

import numpy as np
import pytest

import tercel

X = tercel.from_numpy(np.random.default_rng(0).standard_normal((4, 5)))
I0 = tercel.tensor([[0, 1, 2, 3, 0]])

ONE = {
    "sum": lambda **k: tercel.sum(X, 1, **k),
    "nansum": lambda **k: tercel.nansum(X, 1, **k),
    "mean": lambda **k: tercel.mean(X, (0, 1), **k),
    "prod": lambda **k: tercel.prod(X, 0, **k),
    "prod of all": lambda **k: tercel.prod(X, **k),
    "amax": lambda **k: tercel.amax(X, (0, 1), **k),
    "amin": lambda **k: tercel.amin(X, 0, **k),
    "max": lambda **k: tercel.max(X, **k),
    "max of two": lambda **k: tercel.max(X, -X, **k),
    "argmax": lambda **k: tercel.argmax(X, 1, **k),
    "argmin": lambda **k: tercel.argmin(X, **k),
    "all": lambda **k: tercel.all(X, 1, **k),
    "any": lambda **k: tercel.any(X, **k),
    "var": lambda **k: tercel.var(X, 1, **k),
    "std": lambda **k: tercel.std(X, 1, correction=0, **k),
    "norm": lambda **k: tercel.norm(X, 1, 0, **k),
    "logsumexp": lambda **k: tercel.logsumexp(X, 1, **k),
    "cumsum": lambda **k: tercel.cumsum(X, 1, **k),
    "cumprod": lambda **k: tercel.cumprod(X, 1, **k),
    "logcumsumexp": lambda **k: tercel.logcumsumexp(X, 1, **k),
    "quantile": lambda **k: tercel.quantile(X, 0.3, 1, **k),
    "softmax": lambda **k: tercel.softmax(X, 1, **k),
    "log_softmax": lambda **k: tercel.log_softmax(X, 1, **k),
    "argsort": lambda **k: tercel.argsort(X, 1, **k),
    "msort": lambda **k: tercel.msort(X, **k),
    "tril": lambda **k: tercel.tril(X, **k),
    "triu": lambda **k: tercel.triu(X, 1, **k),
    "diag": lambda **k: tercel.diag(X, **k),
    "cat": lambda **k: tercel.cat([X, X], 1, **k),
    "stack": lambda **k: tercel.stack([X, X], **k),
    "hstack": lambda **k: tercel.hstack([X, X], **k),
    "vstack": lambda **k: tercel.vstack([X, X], **k),
    "dstack": lambda **k: tercel.dstack([X, X], **k),
    "column_stack": lambda **k: tercel.column_stack([X, X], **k),
    "take": lambda **k: tercel.take(X, I0, **k),
    "take_along_dim": lambda **k: tercel.take_along_dim(X, I0, 0, **k),
    "index_select": lambda **k: tercel.index_select(X, 1, I0[0], **k),
    "gather": lambda **k: tercel.gather(X, 0, I0, **k),
    "scatter": lambda **k: tercel.scatter(X, 0, I0, X, **k),
    "scatter_add": lambda **k: tercel.scatter_add(X, 0, I0, X, **k),
    "scatter_reduce": lambda **k: tercel.scatter_reduce(X, 0, I0, X, "amax", **k),
    "index_add": lambda **k: tercel.index_add(X, 1, I0[0], X, **k),
    "index_copy": lambda **k: tercel.index_copy(X, 1, tercel.tensor([2]), X[:, :1], **k),
    "isin": lambda **k: tercel.isin(I0, tercel.tensor([1, 2]), **k),
    "histc": lambda **k: tercel.histc(X, 4, -1, 1, **k),
    "diff": lambda **k: tercel.diff(X, **k),
    "cross": lambda **k: tercel.cross(X[:3], X[1:], 0, **k),
    "kron": lambda **k: tercel.kron(X, X, **k),
    "matrix_power": lambda **k: tercel.matrix_power(X[:, :4], 3, **k),
    "renorm": lambda **k: tercel.renorm(X, 2, 0, 1.0, **k),
    "logit": lambda **k: tercel.logit(X, 1e-3, **k),
    "round": lambda **k: tercel.round(X, decimals=1, **k),
    "deg2rad": lambda **k: tercel.deg2rad(X, **k),
    "nan_to_num": lambda **k: tercel.nan_to_num(X, **k),
    "float_power": lambda **k: tercel.float_power(X, 2, **k),
    "polygamma": lambda **k: tercel.polygamma(1, X, **k),
    "add": lambda **k: tercel.add(X, X, **k),
    "exp": lambda **k: tercel.exp(X, **k),
    "mm": lambda **k: tercel.mm(X, X.T, **k),
    "where": lambda **k: tercel.where(X > 0, X, 0.0, **k),
}
TWO = {
    "max": lambda **k: tercel.max(X, 1, **k),
    "min": lambda **k: tercel.min(X, 1, keepdim=True, **k),
    "aminmax": lambda **k: tercel.aminmax(X, dim=1, **k),
    "sort": lambda **k: tercel.sort(X, 0, **k),
    "topk": lambda **k: tercel.topk(X, 2, **k),
    "kthvalue": lambda **k: tercel.kthvalue(X, 2, **k),
    "median": lambda **k: tercel.median(X, 1, **k),
    "nanmedian": lambda **k: tercel.nanmedian(X, 1, **k),
    "mode": lambda **k: tercel.mode(X, 1, **k),
    "cummax": lambda **k: tercel.cummax(X, 1, **k),
    "cummin": lambda **k: tercel.cummin(X, 1, **k),
    "histogram": lambda **k: tercel.histogram(X, 4, **k),
}


@pytest.mark.parametrize("name", ONE)
def test_out(name):
    f = ONE[name]
    want = f()
    ready, void = tercel.zeros_like(want), tercel.empty(0, dtype=want.dtype)
    strided = tercel.zeros(*want.shape, 2, dtype=want.dtype)[..., 0]
    for out in (ready, void, strided):
        assert f(out=out) is out
        assert tercel.equal(out, want) and out.dtype == want.dtype
    with pytest.raises(tercel.ShapeError, match="out must have shape"):
        f(out=tercel.zeros(*want.shape, 3, dtype=want.dtype))
    wrong = tercel.int32 if want.is_floating_point() else tercel.bool
    if want.dtype != tercel.bool:
        with pytest.raises((RuntimeError, tercel.DTypeError), match="dtype"):
            f(out=tercel.zeros(want.shape, dtype=wrong))


@pytest.mark.parametrize("name", TWO)
def test_out_of_pairs(name):
    f = TWO[name]
    want = f()
    first, second = tercel.empty(0, dtype=want[0].dtype), tercel.zeros_like(want[1])
    got = f(out=(first, second))
    assert type(got)._fields == type(want)._fields
    assert got[0] is first and got[1] is second
    assert tercel.equal(first, want[0]) and tercel.equal(second, want[1])


def test_out_records_no_gradient():
    w = tercel.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="out= does not record gradients"):
        tercel.sum(w, 0, out=tercel.zeros(()))
    with tercel.no_grad():
        assert tercel.sum(w, 0, out=tercel.zeros(())).item() == 3
    view = tercel.zeros(4)[:0]
    with pytest.raises(RuntimeError, match="not resized"):
        tercel.sum(X, 0, out=view)


def test_axis_and_keepdims():
    assert tercel.equal(X.sum(axis=1, keepdims=True), X.sum(1, keepdim=True))
    assert tercel.equal(tercel.softmax(X, axis=0), X.softmax(0))
    assert tercel.equal(tercel.cat([X, X], axis=1), tercel.cat([X, X], 1))
    assert X.unsqueeze(axis=0).shape == (1, 4, 5)
    assert tercel.equal(X.max(axis=1).indices, X.argmax(axis=1))
    assert len(X.split(2, axis=1)) == 3
    with pytest.raises(TypeError, match="incompatible function arguments"):
        X.sum(axis=1, dim=0)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        X.sum(axes=1)
    with pytest.raises(TypeError):
        X.exp(axis=1)


def test_argument_names():
    t = tercel.arange(24.0).reshape(2, 3, 4)
    assert t.view(size=(6, 4)).shape == t.reshape(shape=(6, 4)).shape == (6, 4)
    assert t.view(dtype=tercel.int32).dtype == tercel.int32
    assert t.permute(dims=(2, 0, 1)).shape == (4, 2, 3)
    assert tercel.ones(1, 3).expand(size=(2, 3)).shape == (2, 3)
    assert t.swapaxes(axis0=0, axis1=2).shape == (4, 3, 2)
    assert len(tercel.split(tensor=t, split_size_or_sections=1)) == 2
    assert len(t.split(split_size=2, dim=2)) == 2
    assert len(tercel.tensor_split(t, sections=3, dim=1)) == 3
    assert len(tercel.hsplit(t, indices=[1])) == 2
    assert tercel.heaviside(input=tercel.zeros(1), values=tercel.ones(1)).item() == 1
    assert [i.tolist() for i in tercel.where(t > 22)] == [[1], [2], [3]]
    assert tercel.logsumexp(tercel.tensor([0, 0]), 0).item() == pytest.approx(np.log(2))
    for wrong in (lambda: t.view(6, 4, size=(6, 4)), lambda: t.view(sizes=(6, 4))):
        with pytest.raises(TypeError):
            wrong()


def test_special_gradients_are_right():
    x = tercel.tensor([0.3, 1.0, 2.5, 11.0, -0.4, -3.7], dtype=tercel.float64, requires_grad=True)
    for f in (tercel.digamma, lambda t: tercel.polygamma(2, t), tercel.i0, tercel.i1):
        assert tercel.autograd.gradcheck(f, (x,))
        assert tercel.autograd.gradgradcheck(f, (x,))
    # psi'(1) = pi^2 / 6, psi''(1) = -2 zeta(3), psi'(1/4) = pi^2 + 8 G
    known = {(1, 1.0): np.pi**2 / 6, (2, 1.0): -2.4041138063191886, (1, 0.25): 17.197329154507113}
    for (n, at), want in known.items():
        got = tercel.polygamma(n, tercel.tensor(at, dtype=tercel.float64)).item()
        assert abs(got - want) <= 4e-15 * abs(want)
    # The recurrence psi^(n)(x + 1) - psi^(n)(x) = (-1)^n n! x^-(n+1), also below 0.
    for n in (1, 2, 3, 8, 25):
        t = tercel.tensor([-7.3, -0.6, 0.2, 5.5], dtype=tercel.float64)
        sign = (-1.0) ** n * float(np.prod(np.arange(1, n + 1, dtype=np.float64)))
        step = tercel.polygamma(n, t + 1) - tercel.polygamma(n, t)
        want = sign * t ** -(n + 1.0)
        scale = tercel.polygamma(n, t).abs() + tercel.polygamma(n, t + 1).abs()
        assert ((step - want).abs() <= 1e-12 * scale).all()
    # Large orders at large x: the powers alone would underflow.
    for n, at in ((150, 200.0), (150, 3.0), (60, 1e4), (21, 700.0)):
        terms = (at / (at + np.arange(20000.0))) ** (n + 1)
        want = (-1) ** (n + 1) * math.exp(math.lgamma(n + 1) - (n + 1) * math.log(at)) * terms.sum()
        got = tercel.polygamma(n, tercel.tensor(at, dtype=tercel.float64)).item()
        assert abs(got - want) <= 1e-12 * abs(want)
    assert tercel.polygamma(1, tercel.tensor([0.0, -2.0])).isinf().all()
    with pytest.raises(ValueError, match="n must be in"):
        tercel.polygamma(-1, tercel.ones(1))


@pytest.mark.parametrize("bins", [5, [-2.0, -0.5, 0.0, 0.1, 3.0]])
def test_histogram(bins):
    a = np.random.default_rng(1).standard_normal(200)
    weight = np.arange(200.0)
    edges = tercel.tensor(bins, dtype=tercel.float64) if isinstance(bins, list) else bins
    for kwargs in ({}, {"density": True}, {"weight": weight}, {"range": (-1.0, 2.0)}):
        if "range" in kwargs and isinstance(bins, list):
            continue
        numpy_kwargs = {"weights" if k == "weight" else k: v for k, v in kwargs.items()}
        want, want_edges = np.histogram(a, bins, **numpy_kwargs)
        if "weight" in kwargs:
            kwargs["weight"] = tercel.from_numpy(weight)
        got = tercel.histogram(tercel.from_numpy(a), edges, **kwargs)
        np.testing.assert_allclose(got.hist.numpy(), want, rtol=1e-14)
        np.testing.assert_allclose(got.bin_edges.numpy(), want_edges, rtol=1e-14, atol=1e-15)
    with pytest.raises(ValueError, match="must increase"):
        tercel.histogram(X, tercel.tensor([1.0, 0.0], dtype=tercel.float64))
