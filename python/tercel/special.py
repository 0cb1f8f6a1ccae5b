"""Special functions under the names of torch.special and scipy.special.

Those that tercel has under another name are that function itself. The others are here, computed in float64 and rounded
once to the dtype of the argument (for integers: the default dtype), with gradients.
"""

from __future__ import annotations

import math

from . import _core
from ._core import (
    Tensor,
    digamma,
    erf,
    erfc,
    erfinv,
    exp2,
    expm1,
    i0,
    i1,
    log1p,
    logit,
    logsumexp,
    polygamma,
    round,
    sinc,
    xlogy,
)
from ._core import digamma as psi
from ._core import lgamma as gammaln
from ._core import log_softmax as _log_softmax
from ._core import sigmoid as expit
from ._core import softmax as _softmax
from .autograd import Function

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "i0",
    "i1",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]

_SQRT_HALF, _SQRT_2PI = math.sqrt(0.5), math.sqrt(2 * math.pi)


def softmax(input, dim, *, dtype=None):
    """tercel.softmax."""
    return _softmax(input, dim, dtype=dtype)


def log_softmax(input, dim, *, dtype=None):
    """tercel.log_softmax."""
    return _log_softmax(input, dim, dtype=dtype)


def _tensor(op: str, x, name: str = "input") -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"special.{op}: expected {name} to be a Tensor, got {type(x).__name__}")
    return x if x.dtype.is_floating_point else x.to(_core.get_default_dtype())


def _pair(op: str, x, y) -> tuple[Tensor, Tensor, _core.dtype]:
    """Both operands in float64, one of them possibly a number, and the dtype of the result."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        raise TypeError(
            f"special.{op}: expected a Tensor, got {type(x).__name__} and {type(y).__name__}"
        )
    for v in (x, y):
        if isinstance(v, bool) or not isinstance(v, (int, float, Tensor)):
            raise TypeError(f"special.{op}: expected tensors or numbers, got {type(v).__name__}")
    dtype = _core.result_type(x, y)
    if not dtype.is_floating_point:
        dtype = _core.get_default_dtype()
    device = (x if isinstance(x, Tensor) else y).device
    wide = [
        v.to(_core.float64) if isinstance(v, Tensor) else _core.tensor(float(v), dtype=_core.float64, device=device)
        for v in (x, y)
    ]  # fmt: skip
    return wide[0], wide[1], dtype


def _done(op: str, result: Tensor, dtype, out=None) -> Tensor:
    result = result.to(dtype)
    return result if out is None else _core._into_out(result, out, f"special.{op}")


def entr(input, *, out=None):
    """-x log(x); 0 for x = 0, -inf for x < 0."""
    x = _tensor("entr", input)
    wide = x.to(_core.float64)
    return _done("entr", _core.where(wide < 0, -math.inf, -xlogy(wide, wide)), x.dtype, out)


def xlog1py(input, other, *, out=None):
    """x log1p(y) with broadcasting; 0 where x is 0, unless y is NaN. One operand may be a number."""
    x, y, dtype = _pair("xlog1py", input, other)
    nothing = (x == 0) & ~y.isnan()
    y = _core.where(nothing, 0.0, y)
    return _done("xlog1py", x * log1p(y), dtype, out)


def ndtr(input, *, out=None):
    """Distribution function of the standard normal distribution: erfc(-x / sqrt(2)) / 2."""
    x = _tensor("ndtr", input)
    return _done("ndtr", erfc(x.to(_core.float64) * -_SQRT_HALF) / 2, x.dtype, out)


# Wichura 1988, "Algorithm AS 241: The percentage points of the normal distribution": numerators and denominators, highest
# power first, near 1/2, in the tails, far in the tails. Relative accuracy 1e-16.
_NEAR = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_TAIL = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


def _ratio(coefficients, r):
    top, bottom = (_horner(c, r) for c in coefficients)
    return top / bottom


def _horner(coefficients, r):
    y = _core.full_like(r, coefficients[0])
    for c in coefficients[1:]:
        y = y * r + c
    return y


class _Ndtri(Function):
    @staticmethod
    def forward(ctx, p):
        q = p - 0.5
        near = q.abs() <= 0.425
        middle = q * _ratio(_NEAR, _core.where(near, 0.180625 - q * q, 0.0))
        tail = _core.minimum(p, 1 - p)
        r = _core.sqrt(-_core.log(_core.where(near, 0.5, tail)))
        finite = _core.where(r.isinf(), 6.0, r)
        outside = _core.where(r <= 5, _ratio(_TAIL, finite - 1.6), _ratio(_FAR, finite - 5))
        outside = _core.where(r.isinf(), math.inf, outside)
        y = _core.where(near, middle, _core.copysign(outside, q))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * _core.exp(0.5 * y * y) * _SQRT_2PI


def ndtri(input, *, out=None):
    """Inverse of ndtr: the x below which a standard normal value falls with probability `input`.

    -inf and inf for 0 and 1, NaN outside. Wichura 1988, algorithm AS 241.
    """
    p = _tensor("ndtri", input)
    return _done("ndtri", _Ndtri.apply(p.to(_core.float64)), p.dtype, out)


class _Erfcx(Function):
    @staticmethod
    def forward(ctx, x):
        # x^2 = h^2 + (x - h)(x + h), where h has 24 bits and its square is exact.
        small = _core.where(x < 8, x, 8.0)
        h = small.to(_core.float32).to(_core.float64)
        h = _core.where(h.isinf(), small, h)
        below = _core.exp(h * h) * _core.exp((small - h) * (small + h)) * erfc(small)
        below = _core.where(small < -27, math.inf, below)
        # sum_k (-1)^k (2k - 1)!! / (2 x^2)^k / (x sqrt(pi)), 17 terms: 1e-16 from 8 on
        large = _core.where(x < 8, 8.0, x)
        t, series = 0.5 / large / large, 1.0
        for k in range(16, 0, -1):
            series = 1.0 - (2 * k - 1) * t * series
        above = series / (large * math.sqrt(math.pi))
        y = _core.where(x < 8, below, above)
        y = _core.where(x.isnan(), x, y)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * (2 * x * y - 2 / math.sqrt(math.pi))


def erfcx(input, *, out=None):
    """exp(x^2) erfc(x), which does not underflow where erfc does."""
    x = _tensor("erfcx", input)
    return _done("erfcx", _Erfcx.apply(x.to(_core.float64)), x.dtype, out)


class _LogNdtr(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        left = _core.where(x < -1, x, -1.0)
        low = _core.log(_Erfcx.apply(left * -_SQRT_HALF) / 2) - 0.5 * left * left
        return _core.where(x < -1, low, log1p(erfc(x * _SQRT_HALF) * -0.5))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (2 / _SQRT_2PI) / _Erfcx.apply(x * -_SQRT_HALF)


def log_ndtr(input, *, out=None):
    """log(ndtr(x)), accurate far in the tails."""
    x = _tensor("log_ndtr", input)
    return _done("log_ndtr", _LogNdtr.apply(x.to(_core.float64)), x.dtype, out)


def multigammaln(input, p, *, out=None):
    """Logarithm of the multivariate gamma function of dimension p: log(pi) p (p - 1) / 4 + sum_{i < p} lgamma(x - i / 2).

    p: a positive int; x must be above (p - 1) / 2. mvlgamma is the same.
    """
    if isinstance(p, bool) or not isinstance(p, int) or p < 1 or p > 1 << 16:
        raise ValueError(f"special.multigammaln: expected a positive int p up to 65536, got {p!r}")
    x = _tensor("multigammaln", input)
    if x.numel() and not (x.detach() > (p - 1) / 2).all().item():
        raise ValueError(
            f"special.multigammaln: expected all elements above (p - 1) / 2 = {(p - 1) / 2}"
        )
    wide = x.to(_core.float64)
    total = _core.full_like(wide, math.log(math.pi) * p * (p - 1) / 4)
    for i in range(p):
        total = total + gammaln(wide - i / 2)
    return _done("multigammaln", total, x.dtype, out)


mvlgamma = multigammaln

# (2k)! / B_2k
_EULER_MACLAURIN = (
    12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183791606e9, 7.47242496e10, -2.950130727918164224e12,
    1.1646782814350067249e14, -4.5979787224074726105e15, 1.8152105401943546773e17, -7.1661652561756670113e18,
)  # fmt: skip


class _Zeta(Function):
    @staticmethod
    def forward(ctx, x, q):
        ctx.save_for_backward(x, q)
        with_pole = (q <= 0) & (q == q.floor())
        valid = (x > 1) & ((q > 0) | ((x == x.floor()) & ~with_pole))
        s, a = _core.where(valid, x, 2.0), _core.where(valid, q, 1.0)
        if a.numel() and a.min().item() < -10_000:
            raise ValueError(f"special.zeta: expected q of at least -10000, got {a.min().item()}")
        # The first ten terms, and more of a negative q: Euler-Maclaurin needs a start above nine.
        total, start, k = _core.zeros_like(s), a, 0
        while k < 10 or (start <= 9).any().item():
            more = (start <= 9) | (k < 10)
            total = _core.where(more, total + start ** (-s), total)
            start = _core.where(more, start + 1, start)
            k += 1
        power = start ** (-s)
        total = total + power * start / (s - 1) + 0.5 * power
        factor, power = s, power / start
        for k, c in enumerate(_EULER_MACLAURIN):
            total = total + _core.where(power == 0, 0.0, factor * power / c)
            factor = factor * (s + (2 * k + 1)) * (s + (2 * k + 2))
            power = power / start / start
        y = _core.where(valid, total, math.nan)
        y = _core.where(with_pole & (x > 1), math.inf, y)
        return _core.where(x == 1, math.inf, y)

    @staticmethod
    def backward(ctx, g):
        x, q = ctx.saved_tensors
        if ctx.needs_input_grad[0]:
            raise RuntimeError("special.zeta: the gradient with respect to input is not provided")
        return None, g * -x * _Zeta.apply(x + 1, q)


def zeta(input, other, *, out=None):
    """Hurwitz zeta function sum_k (k + q)^-x with x = input > 1, q = other; one operand may be a number.

    inf for x = 1 and for q = 0, -1, ...; NaN for x < 1 and for q < 0 with x not an integer. Gradient with respect to
    other only. Euler-Maclaurin summation.
    """
    x, q, dtype = _pair("zeta", input, other)
    x, q = _core.broadcast_tensors(x, q)
    return _done("zeta", _Zeta.apply(x, q), dtype, out)
