"""Special functions that tercel.special adds: Python's math module, element by element, is the oracle."""

import math

import numpy as np

from . import FLOATS, NORM, ULP4, Sample, binary, case, unary


def elementwise(f):
    def oracle(*arrays):
        with np.errstate(all="ignore"):
            return (
                np.vectorize(f, otypes=[np.float64])(*arrays)
                if arrays[0].size
                else np.zeros(np.broadcast_shapes(*(a.shape for a in arrays)))
            )

    return oracle


def entr(x):
    return -math.inf if x < 0 else 0.0 if x == 0 else -x * math.log(x)


def ndtr(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def erfcx(x):
    if x < 2:
        return math.exp(x * x) * math.erfc(x) if x > -26 else math.inf
    tail = 0.0
    for k in range(200, 0, -1):  # continued fraction of Laplace
        tail = k / 2 / (x + tail)
    return 1 / (x + tail) / math.sqrt(math.pi)


def log_ndtr(x):
    return (
        math.log(erfcx(-x / math.sqrt(2)) / 2) - x * x / 2
        if x < 0
        else math.log1p(-math.erfc(x / math.sqrt(2)) / 2)
    )


def ndtri(p):
    """Bisection on ndtr, from the side where it is precise."""
    low, high, goal = -6.0, 0.0, min(p, 1 - p)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if ndtr(middle) < goal else (low, middle)
    return low if p < 0.5 else -low


def zeta(x, q):
    """Sum of 300 terms, the rest as an integral with three corrections."""
    k = np.arange(300.0)
    a = q + 300
    return float(
        ((k + q) ** -x).sum()
        + a ** (1 - x) / (x - 1)
        + a**-x / 2
        + x * a ** (-x - 1) / 12
        - x * (x + 1) * (x + 2) * a ** (-x - 3) / 720
    )


def multigammaln(x, p):
    return math.log(math.pi) * p * (p - 1) / 4 + sum(math.lgamma(x - i / 2) for i in range(p))


def xlog1py(x, y):
    return 0.0 if x == 0 and not math.isnan(y) else x * math.log1p(y)


def size(*arrays, **_):
    return np.asarray(4.0 + np.abs(arrays[0]).max(initial=0))


def tails(*values):
    """Samples of the usual sizes and one of given values."""
    return lambda s: [*unary(-4.0, 4.0)(s), Sample((np.array(values),))]


case("special.entr", elementwise(entr), lambda s: unary(0.05, 3.0)(s), tol=ULP4, dtypes=FLOATS)
case("special.xlog1py", elementwise(xlog1py), binary(0.1, 3.0, -0.5, 3.0), tol=ULP4, dtypes=FLOATS)
case("special.ndtr", elementwise(ndtr), tails(-8.0, -5.0, 5.0, 9.0), tol=NORM, dtypes=FLOATS,
     scale=lambda x: np.maximum(1.0, x * x) * elementwise(ndtr)(x))  # fmt: skip
case("special.log_ndtr", elementwise(log_ndtr), tails(-60.0, -20.0, -8.0, -1.001, -0.999, 5.0, 9.0), tol=NORM,
     dtypes=FLOATS, scale=lambda x: np.maximum(1.0, x * x))  # fmt: skip
case("special.erfcx", elementwise(erfcx), unary(-1.5, 9.0), tol=NORM, dtypes=FLOATS,
     scale=lambda x: np.abs(elementwise(erfcx)(x)))  # fmt: skip
case("special.ndtri", elementwise(ndtri), unary(0.01, 0.99), tol=NORM, dtypes=FLOATS, scale=size)
case("special.multigammaln", lambda x, p: elementwise(lambda v: multigammaln(v, p))(x), lambda s: [
    Sample((s.uniform(*shape, low=2.0, high=6.0), p)) for shape, p in (((), 1), ((7,), 2), ((3, 5), 4), ((2, 0), 3))
], tol=NORM, dtypes=FLOATS, scale=lambda x, p: np.asarray(16.0))  # fmt: skip
case("special.zeta", elementwise(zeta), lambda s: binary(1.5, 6.0, 0.3, 4.0)(s), tol=NORM, dtypes=FLOATS, grad=(1,),
     scale=lambda x, q: np.abs(elementwise(zeta)(x, q)))  # fmt: skip
