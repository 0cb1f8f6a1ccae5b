"""Numeric contract of the elementwise functions: N1-N4 and N10 of the list in the documentation.

float32 functions are sampled over all bit patterns (every `STRIDE`-th; --slow takes more) against NumPy or
the C library in float64, whose own error is below 2^-28 of a float32 ulp.
"""

import math

import numpy as np
import pytest

import tercel
from tercel.testing import ulp

LEVELS = ("generic", "avx2", "avx512")
STRIDE = 9973  # 430,000 of the 2^32 patterns


def vectorised(f):
    def apply(x):
        def one(v):
            try:
                return f(float(v))
            except (ValueError, OverflowError):
                return math.nan if f is not math.lgamma or math.isinf(v) else math.inf

        return np.array([one(v) for v in x])

    return apply


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sinc(x):
    n = np.round(x)
    y = (1 - 2 * (n % 2)) * np.sin(np.pi * (x - n)) / (np.pi * np.where(x == 0, 1, x))
    return np.where(x == 0, 1, y)


def erfinv(x):
    """From the normal quantile and one Newton step; a power series where x is small."""
    from statistics import NormalDist

    quantile, series = NormalDist().inv_cdf, math.sqrt(math.pi) / 2

    def one(v):
        if not abs(v) < 1:
            return math.copysign(math.inf, v) if abs(v) == 1 else math.nan
        if abs(v) < 1e-3:
            square = math.pi / 4 * v * v
            return series * v * (1 + square / 3 + 7 * square * square / 30)
        a = abs(v)
        y = -quantile((1 - a) / 2) / math.sqrt(2)
        error = math.erf(y) - a if a < 0.5 else (1 - a) - math.erfc(y)
        return math.copysign(y - error * series * math.exp(y * y), v)

    return np.array([one(float(v)) for v in x])


ROOT_PI = np.sqrt(np.longdouble("3.14159265358979323846264338"))


def precise_erfc(x):
    """In long double: a series of positive terms below 1, a continued fraction from there on.

    The C library's own errors reach 3.5 ulp of float64.
    """
    a = np.abs(x).astype(np.longdouble)
    gauss = np.exp(-a * a) / ROOT_PI
    near, far = np.minimum(a, 1), np.maximum(a, 1)
    term = total = 2 * near
    for n in range(1, 40):
        term = term * (2 * near * near / (2 * n + 1))
        total = total + term
    fraction = far
    for n in range(400, 0, -1):
        fraction = far + np.longdouble(n) / 2 / fraction
    c = np.where(a < 1, 1 - gauss * total, gauss / fraction)
    return np.where(x < 0, 2 - c, c)


def precise_erfinv(x):
    y, rest = erfinv(x).astype(np.longdouble), 1 - np.abs(x).astype(np.longdouble)
    step = (rest - precise_erfc(np.abs(y))) * np.sign(y)
    step = step * ROOT_PI / 2 * np.exp(y * y)
    return y - step / (1 + y * step)


ERF, ERFC, LGAMMA = (vectorised(f) for f in (math.erf, math.erfc, math.lgamma))

# name: (function in float64, bound in ulp, range of x)
FULL = (-math.inf, math.inf)
FUNCTIONS = {
    "exp": (np.exp, 1.0, FULL),
    "exp2": (np.exp2, 1.0, FULL),
    "expm1": (np.expm1, 1.0, FULL),
    "log": (np.log, 1.0, FULL),
    "log2": (np.log2, 1.0, FULL),
    "log10": (np.log10, 1.0, FULL),
    "log1p": (np.log1p, 1.0, FULL),
    "sin": (np.sin, 1.0, FULL),
    "cos": (np.cos, 1.0, FULL),
    "tan": (np.tan, 1.0, FULL),
    "asin": (np.arcsin, 1.0, FULL),
    "acos": (np.arccos, 1.0, FULL),
    "atan": (np.arctan, 1.25, FULL),
    "sinh": (np.sinh, 1.0, FULL),
    "cosh": (np.cosh, 1.0, FULL),
    "tanh": (np.tanh, 1.0, FULL),
    "asinh": (np.arcsinh, 1.0, FULL),
    "acosh": (np.arccosh, 1.0, FULL),
    "atanh": (np.arctanh, 1.0, FULL),
    "erf": (ERF, 1.0, FULL),
    "erfc": (ERFC, 1.0, FULL),
    "erfinv": (erfinv, 1.5, (-1.5, 1.5)),
    "sinc": (sinc, 1.0, FULL),
    "lgamma": (LGAMMA, 1.0, (1e-30, math.inf)),
    "logit": (
        lambda x: np.where(x < 0.25, np.log(x) - np.log1p(-x), 2 * np.arctanh(2 * x - 1)),
        1.0,
        FULL,
    ),
    "sqrt": (np.sqrt, 0.5, FULL),
    "reciprocal": (lambda x: 1 / x, 0.5, FULL),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 2.0, FULL),
    "sigmoid": (sigmoid, 2.0, FULL),
    "_core.silu": (lambda x: x * sigmoid(x), 2.0, (-700, math.inf)),
    "_core.softplus": (softplus, 2.0, (-700, 20)),
    "_core.gelu": (lambda x: 0.5 * x * ERFC(-x / math.sqrt(2)), 8.0, (-5, math.inf)),
    "_core.gelu_tanh": (
        lambda x: x * sigmoid(1.5957691216057308 * (x + 0.044715 * x**3)),
        8.0,
        (-5, 1e30),
    ),
}


def function(name):
    if name == "_core.gelu_tanh":
        return lambda x: tercel._core.gelu(x, approximate="tanh")
    return getattr(tercel._core, name.removeprefix("_core."))


@pytest.fixture
def levels():
    yield [level for level in LEVELS if supported(level)]
    tercel.set_isa("auto")


def supported(level):
    try:
        tercel.set_isa(level)
    except RuntimeError:
        return False
    return True


@pytest.fixture(scope="module")
def patterns():
    return np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_bounds(name, patterns, levels):
    oracle, bound, (low, high) = FUNCTIONS[name]
    x = patterns[(patterns >= low) & (patterns <= high)]
    with np.errstate(all="ignore"):
        exact = oracle(x.astype(np.float64))
        rounded = exact.astype(np.float32)
    results = []
    for level in levels:
        tercel.set_isa(level)
        y = function(name)(tercel.from_numpy(x)).numpy()
        assert np.array_equal(np.isnan(y), np.isnan(exact)), f"{level}: NaN where it should not be"
        normal = np.isfinite(rounded)
        assert np.array_equal(y[np.isinf(rounded)], rounded[np.isinf(rounded)])
        error = np.abs(y[normal].astype(np.float64) - exact[normal]) / ulp(exact[normal], "float32")
        worst = int(np.argmax(error))
        assert error[worst] <= bound + 1e-6, f"{level}: {error[worst]} ulp at {x[normal][worst]!r}"
        results.append(y.tobytes())
    if len(results) == 3:
        assert results[1] == results[2], "avx2 and avx512 differ"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_lane_does_not_depend_on_its_neighbours(name, patterns, levels):
    """N8: rare inputs (huge angles, underflow) take another path for their own lane only."""
    x = patterns[::5].copy()
    shuffled = np.random.default_rng(7).permutation(len(x))
    for level in levels:
        tercel.set_isa(level)
        y = function(name)(tercel.from_numpy(x)).numpy()[shuffled]
        z = function(name)(tercel.from_numpy(x[shuffled])).numpy()
        nan = np.isnan(y)  # the payload of a NaN is not part of the contract
        assert np.array_equal(nan, np.isnan(z)), level
        assert np.array_equal(y.view(np.uint32)[~nan], z.view(np.uint32)[~nan]), level


EDGES = [0.0, 1e-45, 1e-40, 1.1754944e-38, 2**-24, 0.5, 0.70710677, 0.9966, 0.99999994, 1.0]
EDGES += [1.0000001, 1.4142135, 1.5707964, 3.1415927, 3.95, 126.5, 65535.99, 65536.0, 8388607.5]
EDGES += [2.0**30, 3e38, 3.4028235e38, math.inf, math.nan]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges(name, levels):
    """Zeros keep their sign, limits are exact, and lanes around them are not disturbed."""
    oracle, bound, (low, high) = FUNCTIONS[name]
    x = np.array(EDGES + [-v for v in EDGES] + [0.3] * 5, np.float32)
    x = x[(x >= low) & (x <= high) | np.isnan(x)]
    with np.errstate(all="ignore"):
        exact = oracle(x.astype(np.float64))
        want = exact.astype(np.float32)
    for level in levels:
        tercel.set_isa(level)
        y = function(name)(tercel.from_numpy(x)).numpy()
        assert np.array_equal(np.isnan(y), np.isnan(want)), level
        limit = np.isinf(want) | (want == 0)
        assert np.array_equal(y[np.isinf(want)], want[np.isinf(want)]), level
        if not name.startswith("_core") and name != "sinc":  # their zeros beyond 0 have any sign
            assert np.array_equal(np.signbit(y[limit]), np.signbit(want[limit])), level
        finite = np.isfinite(want)
        error = np.abs(y[finite].astype(np.float64) - exact[finite]) / ulp(exact[finite], "float32")
        assert error.max() <= bound + 1e-6, (level, x[finite][np.argmax(error)])


def test_float64_edges(levels):
    """Limits of the float64 functions that are vectors, as NumPy has them."""
    x = np.array(
        EDGES + [1e-310, 720.0, 1e200] + [-v for v in EDGES] + [-720.0, -1e200], np.float64
    )
    same = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh"}
    same |= {"acosh": "arccosh", "atanh": "arctanh"}
    for level in levels:
        tercel.set_isa(level)
        for name in [*"sin cos tan sinh cosh exp2 log2 log10".split(), *same]:
            with np.errstate(all="ignore"):
                want = getattr(np, same.get(name, name))(x)
            y = function(name)(tercel.from_numpy(x)).numpy()
            assert np.array_equal(np.isnan(y), np.isnan(want)), (level, name)
            limit = ~np.isfinite(want) | (want == 0)
            assert np.array_equal(y[limit], want[limit], equal_nan=True), (level, name)
            number = limit & ~np.isnan(want)
            assert np.array_equal(np.signbit(y[number]), np.signbit(want[number])), (level, name)
            rest = ~limit
            error = np.abs(y - want)[rest] / ulp(want[rest], "float64")
            assert error.max() <= 3, (level, name, x[rest][np.argmax(error)])
        a, b = (m.ravel() for m in np.meshgrid(x, x))
        for name, f in {"atan2": np.arctan2, "hypot": np.hypot}.items():
            with np.errstate(all="ignore"):
                want = f(a, b)
            y = function(name)(tercel.from_numpy(a), tercel.from_numpy(b)).numpy()
            assert np.array_equal(np.isnan(y), np.isnan(want)), (level, name)
            finite = np.isfinite(want)
            assert np.array_equal(y[~finite], want[~finite], equal_nan=True), (level, name)
            error = np.abs(y - want)[finite] / ulp(want[finite], "float64")
            assert error.max() <= 2, (level, name)


def test_erfinv_limits(levels):
    x = np.array([1, -1, 1.0000001, -2, math.inf, -math.inf, math.nan, 0.0, -0.0], np.float32)
    for level in levels:
        tercel.set_isa(level)
        for dtype in (np.float32, np.float64):
            y = tercel.erfinv(tercel.from_numpy(x.astype(dtype))).numpy()
            assert y[0] == math.inf and y[1] == -math.inf and np.isnan(y[2:7]).all()
            assert (y[7:] == 0).all() and np.signbit(y[7:]).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_remainders_are_exact(dtype, levels):
    """Random bit patterns, quotients next to integers, and every pair of special values."""
    rng = np.random.default_rng(3)
    word = np.uint32 if dtype == np.float32 else np.uint64
    a, b = (rng.integers(0, np.iinfo(word).max, 60_000, dtype=word).view(dtype) for _ in "ab")
    b[1::3] = a[1::3] / rng.integers(1, 1 << 24, len(a[1::3])).astype(dtype)  # close to integers
    a[2::3], b[2::3] = (rng.standard_normal(20_000).astype(dtype) * s for s in (100, 1))
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    special = np.array([0, tiny, 1, 1.5, 3, 2**22, 2**23 + 1, huge, math.inf, math.nan], dtype)
    grid = np.meshgrid(np.concatenate([special, -special]), np.concatenate([special, -special]))
    a = np.concatenate([a, grid[0].ravel()]).astype(dtype)
    b = np.concatenate([b, grid[1].ravel()]).astype(dtype)
    with np.errstate(all="ignore"):
        want = {"fmod": np.fmod(a, b), "remainder": np.remainder(a, b)}
        want["nextafter"] = np.nextafter(a, b)
        want["floor_divide"] = np.floor_divide(a, b)
    for level in levels:
        tercel.set_isa(level)
        for name, w in want.items():
            y = getattr(tercel, name)(tercel.from_numpy(a), tercel.from_numpy(b)).numpy()
            same = (y == w) | (np.isnan(y) & np.isnan(w))
            i = int(np.argmin(same))
            assert same.all(), (level, name, a[i], b[i], y[i], w[i])
            if name in ("fmod", "nextafter"):
                zero = w == 0
                assert np.array_equal(np.signbit(y[zero]), np.signbit(w[zero])), (level, name)


def test_atan2_bounds(patterns, levels):
    rng = np.random.default_rng(5)
    y, x = np.repeat(patterns[::7], 2), rng.permutation(np.repeat(patterns[::7], 2))
    x[1::2] = y[1::2] * rng.uniform(-3, 3, len(y[1::2])).astype(np.float32)
    with np.errstate(all="ignore"):
        exact = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    results = []
    for level in levels:
        tercel.set_isa(level)
        z = tercel.atan2(tercel.from_numpy(y), tercel.from_numpy(x)).numpy()
        assert np.array_equal(np.isnan(z), np.isnan(exact))
        error = np.abs(z.astype(np.float64) - exact) / ulp(exact, "float32")
        assert np.nanmax(error) <= 1.25
        results.append(z.tobytes())
    assert len(results) < 3 or results[1] == results[2], "avx2 and avx512 differ"


@pytest.mark.parametrize("exponent", [2.5, -3.0, 0.3333, 17.0, -0.5, 0.0])
def test_pow_bounds(exponent, patterns, levels):
    x, e = patterns[::7], np.float32(exponent)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), np.float64(e))
    for level in levels:
        tercel.set_isa(level)
        y = tercel.pow(tercel.from_numpy(x), tercel.tensor([float(e)])).numpy()
        finite = np.isfinite(exact.astype(np.float32))
        assert np.array_equal(np.isnan(y), np.isnan(exact))
        error = np.abs(y[finite].astype(np.float64) - exact[finite]) / ulp(exact[finite], "float32")
        assert error.max() <= 1.0


@pytest.mark.parametrize("exponent", [1 / 3, 2.3, -0.7, 3, 3.0])
def test_gradient_of_a_power_is_float64_throughout(exponent):
    """b a^(b-1) with a number b: b - 1 is not rounded to float32 on the way."""
    values = np.array([0.3, 1.7, 2.9])
    want = exponent * values ** (exponent - 1)
    for power in (
        lambda x: x**exponent,
        lambda x: (x * 1).pow_(exponent),
        lambda x: tercel.float_power(x, exponent),
    ):
        x = tercel.from_numpy(values.copy()).requires_grad_()
        power(x).sum().backward()
        assert np.abs(x.grad.numpy() / want - 1).max() < 1e-15
    x = tercel.from_numpy(values.copy()).requires_grad_()
    x.norm(3).backward()
    want = values**2 / (values**3).sum() ** (2 / 3)
    assert np.abs(x.grad.numpy() / want - 1).max() < 1e-15


def test_pow_special_values():
    values = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, math.inf, -math.inf, math.nan, 1e-40]
    a, b = (np.ascontiguousarray(m, np.float32) for m in np.meshgrid(values, values))
    for name, f in [
        ("pow", np.power),
        ("atan2", np.arctan2),
        ("fmax", np.fmax),
        ("maximum", np.maximum),
    ]:
        with np.errstate(all="ignore"):
            want = f(a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
        got = getattr(tercel, name)(tercel.from_numpy(a), tercel.from_numpy(b)).numpy()
        assert np.array_equal(got, want, equal_nan=True), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_has_no_cancellation(dtype):
    x = np.concatenate([np.linspace(-40, 6, 4001, dtype=np.float32), [-np.inf, np.inf, np.nan]])
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        exact = np.where(x == -np.inf, 0.0, 0.5 * x * ERFC(-x / math.sqrt(2)))
    y = (
        tercel._core.gelu(tercel.from_numpy(x).to(getattr(tercel, dtype)))
        .to(tercel.float64)
        .numpy()
    )
    assert np.array_equal(np.isnan(y), np.isnan(exact))
    bound = 2.0**-24 if dtype == "float32" else 2.0**-51
    finite = np.isfinite(x)
    assert (np.abs(y - exact)[finite] <= bound * np.maximum(1, np.abs(x[finite]))).all()
    assert y[-3] == 0 and y[-2] == math.inf


DOUBLES = {
    "exp": (np.exp, -745, 709.7, 2.0),
    "expm1": (np.expm1, -40, 709, 2.0),
    "log": (np.log, 5e-324, 1e308, 2.0),
    "log1p": (np.log1p, -0.999, 1e10, 2.0),
    "tanh": (np.tanh, -20, 20, 3.0),
    "sigmoid": (sigmoid, -30, 30, 4.0),
    "sin": (np.sin, -1e5, 1e5, 2.0),
    "cos": (np.cos, -1e5, 1e5, 2.0),
    "tan": (np.tan, -1e5, 1e5, 2.0),
    "asin": (np.arcsin, -1, 1, 2.0),
    "acos": (np.arccos, -1, 1, 2.0),
    "atan": (np.arctan, -50, 50, 2.0),
    "exp2": (np.exp2, -1070, 1023, 2.0),
    "log2": (np.log2, 5e-324, 1e308, 2.0),
    "log10": (np.log10, 5e-324, 1e308, 2.0),
    "erfc": (precise_erfc, -5, 26, 2.0),
    "erfinv": (precise_erfinv, -1, 1, 2.0),
    "erf": (ERF, -7, 7, 2.0),
    "sinh": (np.sinh, -710, 710, 3.0),
    "cosh": (np.cosh, -710, 710, 2.0),
    "asinh": (np.arcsinh, -1e5, 1e5, 2.0),
    "acosh": (np.arccosh, 1, 1e5, 2.0),
    "atanh": (np.arctanh, -1, 1, 2.0),
    "sinc": (sinc, -30, 30, 4.0),  # of the oracle
}


@pytest.mark.parametrize("name", DOUBLES)
def test_float64_bounds(name, levels):
    """One ulp of slack over the contract's 2: the oracle is a float64 library too."""
    oracle, low, high, bound = DOUBLES[name]
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.uniform(low, high, 20000), rng.uniform(max(low, -2), min(high, 2), 20000)]
    )
    x = np.concatenate([x, np.ldexp(1.0, -rng.integers(1, 300, 1000)) if low <= 0 else x[:0]])
    exact = oracle(x)
    for level in levels:
        tercel.set_isa(level)
        y = function(name)(tercel.from_numpy(x)).numpy()
        assert (np.abs(y - exact) / ulp(exact, "float64")).max() <= bound, level


@pytest.mark.parametrize("exponent", [2.5, -3.0, 0.3333, 17.0, -40.0, 1e5, 0.0])
def test_float64_pow_bounds(exponent, levels):
    """Signs, NaN, and results that overflow or are subnormal included."""
    rng = np.random.default_rng(4)
    x = rng.uniform(0.1, 5, 20_000) if abs(exponent) < 1e3 else rng.uniform(0.993, 1.007, 20_000)
    x[::5] *= -1
    x[::7] = np.exp2(rng.uniform(-1074, 1024, len(x[::7])))
    x[:12] = [0.0, -0.0, 1, -1, math.inf, -math.inf, math.nan, 5e-324, 1e308, -1e-310, 2, 0.5]
    with np.errstate(all="ignore"):
        want = np.power(x, exponent)
    for level in levels:
        tercel.set_isa(level)
        y = tercel.pow(tercel.from_numpy(x), tercel.full([1], exponent, dtype=tercel.float64))
        y = y.numpy()
        finite = np.isfinite(want)
        assert np.array_equal(y[~finite], want[~finite], equal_nan=True), level
        error = np.abs(y - want)[finite] / ulp(want[finite], "float64")
        assert error.max() <= 2, (level, x[finite][np.argmax(error)])


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_is_correctly_rounded(name, dtype, levels):
    rng = np.random.default_rng(1)
    word = np.uint32 if dtype == np.float32 else np.uint64
    a, b = (rng.integers(0, np.iinfo(word).max, 300_000, dtype=word).view(dtype) for _ in "ab")
    b[::3] = a[::3] * dtype(0.75)  # close operands: cancellation and subnormal results
    with np.errstate(all="ignore"):
        want = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[name](a, b)
    for level in levels:
        tercel.set_isa(level)
        got = function(name)(tercel.from_numpy(a), tercel.from_numpy(b)).numpy()
        same = (got.view(word) == want.view(word)) | (np.isnan(got) & np.isnan(want))
        assert same.all(), level


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "sqrt", "sigmoid", "erf", "reciprocal"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_formats_round_the_float32_result_once(name, dtype, levels):
    """All 65,536 inputs."""
    codes = tercel.from_numpy(np.arange(65536, dtype=np.uint16).view(np.int16))
    half = getattr(tercel, dtype)
    x = codes.view(half)
    for level in levels:
        tercel.set_isa(level)
        narrow = function(name)(x)
        wide = function(name)(x.to(tercel.float32)).to(half)
        a, b = narrow.to(tercel.float32).numpy(), wide.to(tercel.float32).numpy()
        assert np.array_equal(a, b, equal_nan=True), level


def test_casts_match_numpy(levels):
    rng = np.random.default_rng(2)
    x64 = np.concatenate(
        [
            rng.integers(0, 2**63, 100_000, dtype=np.uint64).view(np.float64),
            rng.standard_normal(100_000),
        ]
    )
    x32 = rng.integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    for level in levels:
        tercel.set_isa(level)
        for x in (x64, x32):
            with np.errstate(all="ignore"):
                want = x.astype(np.float16)
            got = tercel.from_numpy(x).to(tercel.float16).numpy()
            assert np.array_equal(got, want, equal_nan=True)
        got = tercel.from_numpy(x64).to(tercel.float32).numpy()
        with np.errstate(all="ignore"):
            assert np.array_equal(got, x64.astype(np.float32), equal_nan=True)


def test_subnormals_are_not_flushed(levels):
    x = np.array([1e-45, -1e-40, 1.1e-38, 5e-39], np.float32)
    for level in levels:
        tercel.set_isa(level)
        t = tercel.from_numpy(x)
        assert np.array_equal((t * 1).numpy(), x)
        assert np.array_equal((t + 0).numpy(), x)
        assert np.array_equal(tercel.expm1(t).numpy(), x)
        assert tercel.exp(tercel.tensor([-100.0])).item() == np.float32(np.exp(-100.0))


def test_integer_rules():
    i = tercel.tensor([7, -7, 5], dtype=tercel.int32)
    assert (i // 2).tolist() == [3, -4, 2]
    assert (i % -3).tolist() == [-2, -1, -1]
    assert tercel.fmod(i, 3).tolist() == [1, -1, 2]
    for f in (lambda: i // 0, lambda: i % 0, lambda: tercel.fmod(i, tercel.tensor([1, 0, 1]))):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            f()
    assert (i / 0).tolist() == [math.inf, -math.inf, math.inf]
    for dtype in (tercel.int8, tercel.int16, tercel.int32, tercel.int64):
        bits = {tercel.int8: 8, tercel.int16: 16, tercel.int32: 32, tercel.int64: 64}[dtype]
        low = tercel.tensor([-(2 ** (bits - 1))], dtype=dtype)
        assert (low // -1).tolist() == low.tolist()
        assert (low % -1).tolist() == [0]
        assert (-low).tolist() == low.tolist()
        assert abs(low).tolist() == low.tolist()
    with pytest.raises(RuntimeError, match="negative integer powers"):
        i**-1
    assert tercel.bitwise_left_shift(i, 40).tolist() == [0, 0, 0]
    assert tercel.bitwise_right_shift(i, 40).tolist() == [0, -1, 0]


def test_result_dtypes():
    i, f, b = tercel.tensor([1]), tercel.tensor([1.0]), tercel.tensor([True])
    h = f.to(tercel.bfloat16)
    assert (i + 1.5).dtype == tercel.float32
    assert (i / 2).dtype == tercel.float32
    assert (h * 2.5).dtype == tercel.bfloat16
    assert (h + f).dtype == tercel.float32
    assert (b + b).dtype == tercel.bool
    assert (b + 1).dtype == tercel.int64
    assert (i > f).dtype == tercel.bool
    assert tercel.sqrt(i).dtype == tercel.float32
    assert tercel.floor(i).dtype == tercel.int64
    assert (f * tercel.tensor(2.0, dtype=tercel.float64)).dtype == tercel.float32
    for bad in (
        lambda: b - b,
        lambda: -b,
        lambda: f & f,
        lambda: i.add_(1.5),
        lambda: tercel.add(i, i, alpha=1.5),
    ):
        with pytest.raises((TypeError, RuntimeError)):
            bad()


def test_out_and_overlap():
    x = tercel.arange(8).to(tercel.float32)
    out = tercel.empty(8)
    assert tercel.add(x, 1, out=out) is out
    assert out.tolist() == [v + 1 for v in range(8)]
    with pytest.raises(ValueError):
        tercel.add(x, 1, out=tercel.empty(7))
    with pytest.raises(RuntimeError):
        tercel.exp(x, out=tercel.empty(8, dtype=tercel.int32))
    y = tercel.arange(8).to(tercel.float32)
    y[1:] += y[:-1]  # reads the old values
    assert y.tolist() == [0, 1, 3, 5, 7, 9, 11, 13]
    z = tercel.arange(8).to(tercel.float32)
    tercel.mul(z[:-1], 2, out=z[1:])
    assert z.tolist() == [0, 0, 2, 4, 6, 8, 10, 12]


def test_inplace_saves_what_backward_needs():
    x = tercel.tensor([0.5, 1.5], requires_grad=True)
    y = (x * 1).sin_()
    y.backward(tercel.ones_like(y))
    assert np.allclose(x.grad.numpy(), np.cos([0.5, 1.5]))
    a, b = tercel.tensor([2.0], requires_grad=True), tercel.tensor([3.0], requires_grad=True)
    c = a * 1
    c *= b
    c.backward(tercel.ones_like(c))
    assert a.grad.item() == 3.0 and b.grad.item() == 2.0


def test_integer_parameters_out_of_range():
    """Bounds saturate, factors wrap as integer arithmetic does, at 64 bits too."""
    for dtype in (tercel.int8, tercel.uint8, tercel.int16, tercel.int32, tercel.int64):
        name = str(dtype).split(".")[-1]
        v = np.array([np.iinfo(name).min, 0, 7, np.iinfo(name).max], name)
        x = tercel.tensor(v)
        for bound in (1e300, math.inf, 2.0**63):
            same = tercel.nn.functional.hardtanh(x, -bound, bound)
            assert same.dtype == dtype and same.tolist() == v.tolist()
        assert (
            tercel.nn.functional.hardtanh(x, -math.inf, 5.5).tolist() == np.minimum(v, 5).tolist()
        )
        for factor in (2**63 - 1, -(2**63), 2**53 + 1, 2**40 + 3, 2**31, -(2**31), 3):
            with np.errstate(over="ignore"):
                scaled = (v.astype(np.int64) * np.int64(factor)).astype(name)
            for got, want in (
                (tercel.add(x, x, alpha=factor), v + scaled),
                (tercel.sub(x, x, alpha=factor), v - scaled),
                (x.clone().sub_(x, alpha=factor), v - scaled),
                (tercel.addcmul(x, x, tercel.ones_like(x), value=factor), v + scaled),
                (x.clone().addcmul_(x, tercel.ones_like(x), value=factor), v + scaled),
            ):
                assert got.dtype == dtype and got.tolist() == want.tolist(), (name, factor)


def test_numbers_beyond_the_dtype_are_not_wrapped():
    """Comparisons see the number itself; bounds and values that do not fit are refused."""
    for dtype in (tercel.int8, tercel.uint8, tercel.int16, tercel.int32):
        x = tercel.tensor([0, 5, 7], dtype=dtype)
        for n in (2**32, 2**40, -(2**32), 2**63 - 1, -(2**63)):
            for number in (n, tercel.tensor(n)):
                assert not (x == number).any() and (x != number).all(), (dtype, n)
                assert (x < number).tolist() == (number > x).tolist() == [n > 0] * 3
                assert (x >= number).tolist() == [n < 0] * 3
                assert tercel.logical_and(x, number).tolist() == [False, True, True]
            assert x.clone().lt_(n).tolist() == [n > 0] * 3
            for call in (
                lambda x=x, n=n: tercel.clamp(x, n, None),
                lambda x=x, n=n: tercel.clamp(x, -1 if dtype.is_signed else 0, n),
                lambda x=x, n=n: x.clone().clamp_(max=n),
                lambda x=x, n=n: tercel.clamp_max(x, n),
                lambda x=x, n=n: x.clone().clamp_min_(n),
                lambda x=x, n=n: tercel.where(x > 0, x, n),
            ):
                with pytest.raises(OverflowError, match="does not fit dtype"):
                    call()
    assert tercel.clamp(tercel.tensor([1.0]), -(2**40), 2**40).item() == 1.0


def test_ldexp_of_fractional_exponents():
    """x 2^n for any n, in every dtype; exact for whole n, also where 2^n alone overflows."""
    for dtype in (tercel.float32, tercel.float64):
        x = tercel.tensor([1.0, 3.0, -2.0], dtype=dtype)
        n = tercel.tensor([0.5, -1.25, 3.0], dtype=dtype)
        expected = x.double() * 2 ** n.double()
        assert (tercel.ldexp(x, n).double() - expected).abs().max() < 1e-6
    tiny = tercel.tensor([2.0**-140])
    assert tercel.ldexp(tiny, tercel.tensor([200])).item() == 2.0**60


@pytest.mark.parametrize("name", ["deg2rad_", "rad2deg_", "logit_"])
def test_in_place_functions_with_float_results_refuse_integers(name):
    with pytest.raises(TypeError, match=name):
        getattr(tercel.tensor([1, 2]), name)()


def test_angle_of_the_origin_has_gradient_zero():
    a = tercel.tensor([0.0, 1.0], requires_grad=True)
    b = tercel.tensor([0.0, 2.0], requires_grad=True)
    tercel.atan2(a, b).sum().backward()
    assert a.grad.tolist() == [0, pytest.approx(0.4)] and b.grad.tolist() == [
        0,
        pytest.approx(-0.2),
    ]
