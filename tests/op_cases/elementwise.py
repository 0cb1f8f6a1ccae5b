"""Elementwise ops and activations: oracles are the formulas in NumPy float64."""

import math

import numpy as np

from . import (
    ALL,
    EXACT,
    FLOATS,
    FP8,
    INTS,
    NORM,
    ROUND,
    ULP2,
    ULP4,
    Sample,
    binary,
    case,
    unary,
)  # fmt: skip

ERF = np.vectorize(math.erf, otypes=[np.float64])
ERFC = np.vectorize(math.erfc, otypes=[np.float64])
LGAMMA = np.vectorize(math.lgamma, otypes=[np.float64])


def sigmoid(x):
    return np.where(
        x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))
    )


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def erfinv(y):
    x = np.zeros_like(y)
    for _ in range(80):  # Newton from 0: erf is concave on each side, so it converges monotonically
        x = x + (y - ERF(x)) * math.sqrt(math.pi) / 2 * np.exp(x * x)
    return x


def digamma(x):
    total = np.zeros_like(x)
    for k in range(20):
        total -= 1 / (x + k)
    z = x + 20
    return total + np.log(z) - 0.5 / z - 1 / (12 * z**2) + 1 / (120 * z**4) - 1 / (252 * z**6)


def large(s):
    return Sample((s.normal(300, 500),))


def large2(s):
    return Sample((s.normal(300, 500), s.normal(500) + 4))


def away_from(*points):
    """Uniform samples with the neighbourhood of kinks moved aside, so that central differences hold."""

    def samples(s):
        out = []
        for shape in [(), (0,), (17,), (3, 5), (2, 3, 4)]:
            x = s.uniform(*shape, low=-4.0, high=4.0)
            for p in points:
                x = np.where(np.abs(x - p) < 0.03, p + 0.0625, x)
            out.append(Sample((np.asarray(x),)))
        return out

    return samples


# ---- one operand: name, oracle, range, tolerance ---------------------------------------------------

for name, f, low, high, tol in [
    ("exp", np.exp, -6, 6, ULP4),
    ("exp2", np.exp2, -6, 6, ULP4),
    ("expm1", np.expm1, -3, 3, ULP4),
    ("log", np.log, 0.05, 9, ULP4),
    ("log2", np.log2, 0.05, 9, ULP4),
    ("log10", np.log10, 0.05, 9, ULP4),
    ("log1p", np.log1p, -0.9, 4, ULP4),
    ("sqrt", np.sqrt, 0.05, 9, ROUND),
    ("rsqrt", lambda x: 1 / np.sqrt(x), 0.05, 9, ULP2),
    ("reciprocal", lambda x: 1 / x, 0.2, 5, ROUND),
    ("sin", np.sin, -3, 3, ULP4),
    ("cos", np.cos, -3, 3, ULP4),
    ("tan", np.tan, -1.3, 1.3, ULP4),
    ("asin", np.arcsin, -0.95, 0.95, ULP4),
    ("acos", np.arccos, -0.95, 0.95, ULP4),
    ("atan", np.arctan, -5, 5, ULP4),
    ("sinh", np.sinh, -3, 3, ULP4),
    ("cosh", np.cosh, -3, 3, ULP4),
    ("tanh", np.tanh, -1.5, 1.5, ULP4),
    ("asinh", np.arcsinh, -3, 3, ULP4),
    ("acosh", np.arccosh, 1.2, 6, ULP4),
    ("atanh", np.arctanh, -0.9, 0.9, ULP4),
    ("erf", ERF, -3, 3, ULP4),
    ("erfc", ERFC, -3, 3, ULP4),
    ("erfinv", erfinv, -0.9, 0.9, ULP4),
    ("lgamma", LGAMMA, 0.3, 6, NORM),
    ("sigmoid", sigmoid, -2, 2, ULP4),
    ("square", np.square, -3, 3, ROUND),
    ("sinc", np.sinc, 0.1, 3, NORM),
]:
    case(name, oracle=f, samples=unary(low, high), tol=tol, inplace=name + "_",
         large=large if low <= -3 else None)  # fmt: skip

case(
    "digamma",
    oracle=digamma,
    samples=unary(2.5, 6),
    tol=NORM,
    dtypes=("float32", "bfloat16", "float16"),
)


def polygamma(n, x):
    """(-1)^(n+1) n! sum_k (x + k)^-(n+1): 200 terms, then Euler-Maclaurin."""
    total = sum((x + k) ** -(n + 1.0) for k in range(200))
    e = x + 200
    tail = e**-n / n + e ** -(n + 1.0) / 2 + (n + 1) / 12 * e ** -(n + 2.0)
    tail -= (n + 1) * (n + 2) * (n + 3) / 720 * e ** -(n + 4.0)
    return (-1.0) ** (n + 1) * math.factorial(n) * (total + tail)


case("polygamma", oracle=polygamma, tol=NORM,
     samples=lambda s: [Sample((n, s.uniform(3, 5, low=0.2, high=9))) for n in (1, 2, 5)])  # fmt: skip


def i1(x):
    angle = (np.arange(400) + 0.5) * (math.pi / 400)  # 1/pi int_0^pi e^(x cos t) cos t dt
    angle = angle.reshape(-1, *(1,) * x.ndim)
    return (np.exp(x * np.cos(angle)) * np.cos(angle)).mean(0)


case("i0", oracle=np.i0, samples=unary(-6, 6), tol=NORM)
case("i1", oracle=i1, samples=unary(-6, 6), tol=NORM, scale=lambda x: np.i0(x))
case("logit", oracle=lambda x: np.log(x / (1 - x)), samples=unary(0.05, 0.95), tol=NORM)
case("deg2rad", oracle=np.deg2rad, samples=unary(-360, 360), tol=ULP2)
case("rad2deg", oracle=np.rad2deg, samples=unary(-6, 6), tol=ULP2)

KINKED = away_from(-3, -2, -1, 0, 1, 2, 3)
case("abs", oracle=np.abs, samples=KINKED, dtypes=FLOATS + INTS, tol=EXACT, inplace="abs_")
case("neg", oracle=np.negative, samples=KINKED, dtypes=FLOATS + FP8, tol=EXACT, inplace="neg_")
for name, f in [
    ("sign", np.sign),
    ("ceil", np.ceil),
    ("floor", np.floor),
    ("trunc", np.trunc),
    ("round", np.rint),
]:
    case(
        name,
        oracle=f,
        samples=KINKED,
        dtypes=FLOATS + INTS,
        tol=EXACT,
        inplace=name + "_",
        grad=True,
        grad2=False,
    )
case("frac", oracle=lambda x: x - np.trunc(x), samples=KINKED, tol=EXACT)
case("round_decimals", fn="round", oracle=lambda x, decimals: np.round(x, decimals), grad=False, tol=ULP2,
     dtypes=("float32", "float64"), samples=lambda s: [Sample((s.normal(17),), {"decimals": 2}),
                                                       Sample((s.normal(3, 5) * 100,), {"decimals": -1})])  # fmt: skip
case("nan_to_num", oracle=np.nan_to_num, samples=unary(), tol=EXACT)
for name, f in [
    ("isnan", np.isnan),
    ("isinf", np.isinf),
    ("isfinite", np.isfinite),
    ("signbit", np.signbit),
]:
    case(name, oracle=f, samples=unary(), tol=EXACT, grad=False)
case("logical_not", oracle=np.logical_not, samples=unary(), dtypes=ALL, tol=EXACT, grad=False)
case("bitwise_not", oracle=np.bitwise_not, tol=EXACT, grad=False, dtypes=("float32",),
     samples=lambda s: [Sample((s.ints(n),)) for n in s.sizes] + [Sample((s.bools(5),))])  # fmt: skip

# ---- two operands ----------------------------------------------------------------------------------

case(
    "add",
    oracle=np.add,
    samples=binary(),
    dtypes=FLOATS + FP8,
    tol=ROUND,
    inplace="add_",
    large=large2,
)
case("add_alpha", fn="add", oracle=lambda a, b, alpha: a + alpha * b, tol=ULP2,
     samples=lambda s: [Sample((s.normal(3, 5), s.normal(5)), {"alpha": 0.5})])  # fmt: skip
case("sub", oracle=np.subtract, samples=binary(), tol=ROUND, inplace="sub_", large=large2)
case(
    "mul",
    oracle=np.multiply,
    samples=binary(),
    dtypes=FLOATS + FP8,
    tol=ROUND,
    inplace="mul_",
    large=large2,
)
case(
    "div", oracle=np.divide, samples=binary(-3, 3, 0.3, 3), tol=ROUND, inplace="div_", large=large2
)
case("pow", oracle=np.power, samples=binary(0.2, 3, -3, 3), tol=ULP4, inplace="pow_")
case("atan2", oracle=np.arctan2, samples=binary(0.2, 3, 0.2, 3), tol=ULP4, inplace="atan2_")
case("hypot", oracle=np.hypot, samples=binary(0.2, 3), tol=ULP4)
case("xlogy", oracle=lambda a, b: a * np.log(b), samples=binary(0.2, 3), tol=ULP4)
case("logaddexp", oracle=np.logaddexp, samples=binary(-6, 6), tol=NORM)
case("logaddexp2", oracle=np.logaddexp2, samples=binary(-6, 6), tol=NORM)
case(
    "ldexp",
    oracle=lambda a, b: a * np.exp2(b),
    samples=lambda s: [Sample((s.normal(3, 5), s.ints(5)))],
    tol=EXACT,
)


def apart(s):
    """Pairs whose elements differ by at least 1/16."""
    out = []
    for shape in [(), (0,), (17,), (3, 5), (2, 3, 4)]:
        a = s.uniform(*shape)
        out.append(
            Sample(
                (
                    a,
                    np.asarray(
                        a + np.where(s.bools(*shape), 1, -1) * s.uniform(*shape, low=0.0625, high=1)
                    ),
                )
            )
        )
    return out


for name, f in [
    ("maximum", np.maximum),
    ("minimum", np.minimum),
    ("fmax", np.fmax),
    ("fmin", np.fmin),
]:
    case(name, oracle=f, samples=apart, dtypes=FLOATS + INTS, tol=EXACT)
case("copysign", oracle=np.copysign, samples=binary(0.2, 3, 0.2, 3), tol=EXACT)
case("heaviside", oracle=np.heaviside, samples=binary(), tol=EXACT, grad=False)
case("nextafter", oracle=np.nextafter, samples=binary(), dtypes=("float64",), tol=EXACT, grad=False)


def divisors(s):
    out = []
    for n in s.sizes:
        b = s.ints(n, low=-7, high=8)
        out.append(Sample((s.ints(n, low=-50, high=50), np.where(b == 0, 3, b))))
    return out


def float_divisors(s):
    """Quotients at least 0.1 away from an integer, so that floor and trunc do not jump."""
    out = []
    for shape in [(17,), (3, 5)]:
        b = s.uniform(*shape, low=0.5, high=2)
        out.append(Sample((b * (s.ints(*shape) + s.uniform(*shape, low=0.2, high=0.8)), b)))
    return out


for name, f in [("floor_divide", np.floor_divide), ("remainder", np.remainder), ("fmod", np.fmod)]:
    case(
        name + "_int",
        fn=name,
        oracle=f,
        samples=divisors,
        dtypes=("float32",),
        tol=EXACT,
        grad=False,
    )
    case(name, oracle=f, samples=float_divisors, dtypes=("float32", "float64"), tol=EXACT,
         grad=False if name == "floor_divide" else True)  # fmt: skip
case("div_floor", fn="div", oracle=lambda a, b, rounding_mode: np.floor_divide(a, b), tol=EXACT, grad=False,
     dtypes=("float32",), samples=lambda s: [Sample(x.args, {"rounding_mode": "floor"}) for x in divisors(s)])  # fmt: skip
case("div_trunc", fn="div", oracle=lambda a, b, rounding_mode: np.trunc(a / b), tol=EXACT, grad=False,
     dtypes=("float32",), samples=lambda s: [Sample(x.args, {"rounding_mode": "trunc"}) for x in divisors(s)])  # fmt: skip


def int_pairs(low, high, low2, high2):
    return lambda s: [
        Sample((s.ints(n, low=low, high=high), s.ints(n, low=low2, high=high2))) for n in s.sizes
    ]


for name, f in [("bitwise_and", np.bitwise_and), ("bitwise_or", np.bitwise_or), ("bitwise_xor", np.bitwise_xor),
                ("gcd", np.gcd), ("lcm", np.lcm)]:  # fmt: skip
    case(
        name,
        oracle=f,
        samples=int_pairs(-99, 99, -99, 99),
        dtypes=("float32",),
        tol=EXACT,
        grad=False,
    )
case(
    "bitwise_left_shift",
    oracle=np.left_shift,
    samples=int_pairs(-99, 99, 0, 20),
    dtypes=("float32",),
    tol=EXACT,
    grad=False,
)
case(
    "bitwise_right_shift",
    oracle=np.right_shift,
    samples=int_pairs(-9999, 9999, 0, 20),
    dtypes=("float32",),
    tol=EXACT,
    grad=False,
)
case(
    "pow_int",
    fn="pow",
    oracle=np.power,
    samples=int_pairs(-6, 6, 0, 8),
    dtypes=("float32",),
    tol=EXACT,
    grad=False,
)

for name, f in [("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal),
                ("gt", np.greater), ("ge", np.greater_equal), ("logical_and", np.logical_and),
                ("logical_or", np.logical_or), ("logical_xor", np.logical_xor)]:  # fmt: skip
    case(name, oracle=f, samples=binary(), dtypes=ALL, tol=EXACT, grad=False)
case("isclose", oracle=np.isclose, samples=binary(), tol=EXACT, grad=False)

# ---- three operands --------------------------------------------------------------------------------


def triples(low=-3.0, high=3.0, low3=-3.0, high3=3.0):
    def samples(s):
        shapes = [
            ((17,), (17,), (17,)),
            ((), (), ()),
            ((3, 5), (5,), (3, 1)),
            ((0, 2), (2,), ()),
            ((33,), (33,), (1,)),
        ]
        return [Sample((s.uniform(*a, low=low, high=high), s.uniform(*b, low=low, high=high),
                        s.uniform(*c, low=low3, high=high3))) for a, b, c in shapes]  # fmt: skip

    return samples


case("where", oracle=np.where, dtypes=ALL, tol=EXACT,
     samples=lambda s: [Sample((s.bools(*c), s.normal(*a), s.normal(*b)))
                        for c, a, b in [((17,), (17,), (17,)), ((3, 5), (5,), (3, 1)), ((), (4,), ()), ((2, 0), (1,), ())]])  # fmt: skip
case("lerp", oracle=lambda a, b, w: a + w * (b - a), samples=triples(0.5, 1, 0, 1), tol=ULP4)
case(
    "addcmul",
    oracle=lambda x, a, b, value=1: x + value * a * b,
    samples=triples(0.5, 3, 0.5, 3),
    tol=ULP4,
    inplace="addcmul_",
)
case(
    "addcdiv",
    oracle=lambda x, a, b, value=1: x + value * a / b,
    samples=triples(0.5, 3, 0.5, 3),
    tol=ULP4,
)
case("clamp", oracle=lambda x, min, max: np.clip(x, min, max), dtypes=FLOATS, tol=EXACT,
     samples=lambda s: [Sample((x.args[0],), {"min": -1.5, "max": 1.75}) for x in away_from(-1.5, 1.75)(s)])  # fmt: skip
case("clamp_tensor", fn="clamp", oracle=np.clip, tol=EXACT,
     samples=lambda s: [Sample((s.uniform(17), s.uniform(17, low=-0.8, high=-0.1), s.uniform(17, low=0.1, high=0.8)))])  # fmt: skip

# ---- activations -----------------------------------------------------------------------------------


def activation(name, oracle, samples=KINKED, tol=ULP4, dtypes=FLOATS, **kwargs):
    def with_kwargs(s):
        return [Sample(x.args, kwargs) for x in samples(s)]

    label = name + "".join(f"_{v}" for v in kwargs.values())
    case(label, fn="_core." + name, oracle=oracle, samples=with_kwargs, tol=tol, dtypes=dtypes)


def elu(x, alpha=1.0, scale=1.0, beta=1.0):
    return np.where(x > 0, scale * x, scale * alpha * np.expm1(beta * np.minimum(x, 0)))


def gelu_tanh(x, approximate):
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * sigmoid(2 * u)


activation("relu", lambda x: np.maximum(x, 0), tol=EXACT)
activation("relu6", lambda x: np.clip(x, 0, 6), tol=EXACT)
activation(
    "leaky_relu",
    lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
    negative_slope=0.2,
)
activation("elu", elu, alpha=1.5)
activation("celu", lambda x, alpha: elu(x, alpha, 1.0, 1 / alpha), alpha=2.0)
activation("selu", lambda x: elu(x, 1.6732632423543772, 1.0507009873554805))
activation(
    "gelu", lambda x, approximate: 0.5 * x * ERFC(-x / math.sqrt(2)), tol=NORM, approximate="none"
)
activation("gelu", gelu_tanh, tol=NORM, approximate="tanh")
activation("silu", lambda x: x * sigmoid(x))
activation("mish", lambda x: x * np.tanh(softplus(x)), tol=NORM)
activation("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6)
activation("hardsigmoid", lambda x: np.clip(x + 3, 0, 6) / 6)
activation(
    "hardtanh",
    lambda x, min_val, max_val: np.clip(x, min_val, max_val),
    tol=EXACT,
    min_val=-1.0,
    max_val=2.0,
)
activation(
    "softplus", lambda x, beta, threshold: softplus(beta * x) / beta, beta=1.5, threshold=20.0
)
activation("softsign", lambda x: x / (1 + np.abs(x)))
activation("tanhshrink", lambda x: x - np.tanh(x), tol=NORM)
activation("softshrink", lambda x, lambd: np.sign(x) * np.maximum(np.abs(x) - lambd, 0), samples=away_from(-0.75, 0.75),
           tol=NORM, lambd=0.75)  # fmt: skip
activation(
    "hardshrink",
    lambda x, lambd: np.where(np.abs(x) > lambd, x, 0),
    samples=away_from(-0.75, 0.75),
    tol=EXACT,
    lambd=0.75,
)
activation("threshold", lambda x, threshold, value: np.where(x > threshold, x, value), samples=away_from(0.5), tol=EXACT,
           threshold=0.5, value=-2.0)  # fmt: skip
activation("logsigmoid", lambda x: -softplus(-x))
case("prelu", oracle=lambda x, w: np.where(x > 0, x, (w.reshape(1, -1, *[1] * (x.ndim - 2)) if x.ndim > 1 else w) * x),
     samples=lambda s: [Sample((s.distinct(2, 3, 4), s.normal(3))), Sample((s.distinct(7), s.normal(1)))], tol=ULP4)  # fmt: skip
case(
    "rrelu_eval",
    fn="_core.rrelu",
    oracle=lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2),
    samples=KINKED,
    tol=ULP4,
)
case("glu", fn="_core.glu", oracle=lambda x, dim: np.split(x, 2, dim)[0] * sigmoid(np.split(x, 2, dim)[1]), tol=ULP4,
     samples=lambda s: [Sample((s.normal(3, 6, 2),), {"dim": 1}), Sample((s.normal(34),), {"dim": -1})])  # fmt: skip
