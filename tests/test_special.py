"""tercel.special: the names, and the corner values that the generated cases leave out."""

from __future__ import annotations

import math

import pytest

import tercel
from tercel import special


def test_names():
    for name in special.__all__:
        assert callable(getattr(special, name)), name
    for name, plain in {
        "expit": "sigmoid",
        "gammaln": "lgamma",
        "psi": "digamma",
        "erf": "erf",
    }.items():
        assert getattr(special, name) is getattr(tercel, plain)
    x = tercel.tensor([[0.5, 2.0]])
    assert special.softmax(x, 1).tolist() == tercel.softmax(x, 1).tolist()
    assert special.log_softmax(x, 1, dtype=tercel.float64).dtype is tercel.float64
    assert tercel.mvlgamma(x + 3, 2).tolist() == x.add(3).mvlgamma(2).tolist()


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("f, x, wanted", [
    (special.entr, [0.0, -1.0, INF, NAN], [0.0, -INF, -INF, NAN]),
    (special.ndtr, [-INF, 0.0, INF, NAN], [0.0, 0.5, 1.0, NAN]),
    (special.ndtri, [0.0, 0.5, 1.0, -0.1, 1.1, NAN], [-INF, 0.0, INF, NAN, NAN, NAN]),
    (special.log_ndtr, [-INF, INF, NAN], [-INF, 0.0, NAN]),
    (special.erfcx, [-INF, -30.0, 0.0, INF, NAN], [INF, INF, 1.0, 0.0, NAN]),
    (lambda x: special.xlog1py(0, x), [-1.0, -3.0, INF, NAN], [0.0, 0.0, 0.0, NAN]),
    (lambda x: special.xlog1py(x, -1.0), [0.0, 2.0], [0.0, -INF]),
    (lambda x: special.zeta(x, 1), [1.0, 0.5, 2.0, INF], [INF, NAN, math.pi**2 / 6, 1.0]),
    (lambda q: special.zeta(2, q), [0.0, -3.0, NAN], [INF, INF, NAN]),
    (lambda q: special.zeta(2.5, q), [-0.5], [NAN]),
])  # fmt: skip
def test_corners(f, x, wanted):
    got = f(tercel.tensor(x, dtype=tercel.float64)).tolist()
    assert got == pytest.approx(wanted, nan_ok=True, rel=1e-14)


def test_tails_keep_their_digits():
    x = tercel.tensor([-30.0, 1e-30, 1e10], dtype=tercel.float64)
    assert special.log_ndtr(x)[0].item() == pytest.approx(-454.3212439563432, rel=1e-14)
    assert special.ndtri(x)[1].item() == pytest.approx(-11.464024688443617, rel=1e-14)
    assert special.erfcx(x)[2].item() == pytest.approx(1e-10 / math.sqrt(math.pi), rel=1e-14)
    assert special.zeta(-x[:1], -20.5).isfinite().item()
    assert special.ndtri(tercel.tensor(1e-30)).item() == pytest.approx(-11.464025, rel=1e-6)


def test_gradients_at_corners():
    x = tercel.zeros(1, dtype=tercel.float64, requires_grad=True)
    y = tercel.full((1,), 0.5, dtype=tercel.float64, requires_grad=True)
    special.xlog1py(x, y).sum().backward()
    assert y.grad.tolist() == [0.0]
    p = tercel.tensor([0.5], requires_grad=True)
    special.ndtri(p).sum().backward()
    assert p.grad.item() == pytest.approx(math.sqrt(2 * math.pi))
    with pytest.raises(RuntimeError, match="gradient with respect to input"):
        special.zeta(tercel.tensor(2.0, requires_grad=True), 1.0).backward()


def test_dtypes_and_errors():
    assert special.ndtr(tercel.tensor([0, 1])).dtype is tercel.float32
    assert special.zeta(tercel.ones(2, dtype=tercel.float16) * 2, 1).dtype is tercel.float16
    out = tercel.empty(0)
    assert special.ndtr(tercel.zeros(2), out=out) is out
    for call, kind, text in [
        (lambda: special.ndtr(1.0), TypeError, "Tensor, got float"),
        (lambda: special.xlog1py(1.0, 2.0), TypeError, "Tensor"),
        (lambda: special.xlog1py(tercel.ones(1), "x"), TypeError, "numbers, got str"),
        (lambda: special.multigammaln(tercel.ones(1), 0), ValueError, "positive int"),
        (lambda: special.multigammaln(tercel.ones(1), 3), ValueError, "above"),
        (lambda: special.zeta(tercel.ones(1) * 2, -1e6 - 0.5), ValueError, "-10000"),
    ]:
        with pytest.raises(kind, match=text):
            call()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_digamma_at_infinity(dtype):
    x = tercel.tensor([-math.inf, math.inf, -1.0, 0.0], dtype=getattr(tercel, dtype))
    at = tercel.special.digamma(x).tolist()
    assert math.isnan(at[0]) and at[1] == math.inf and math.isnan(at[2]) and at[3] == -math.inf
