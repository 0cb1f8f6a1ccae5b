"""Differences, integrals, vector products and sample statistics: NumPy in float64 is the oracle."""

import numpy as np

import tercel

from . import DOT, EXACT, FLOATS, GRAD, NORM, SUM, WIDE_FLOATS, Sample, case


def diff(x, n=1, dim=-1, prepend=None, append=None):
    extra = {k: v for k, v in (("prepend", prepend), ("append", append)) if v is not None}
    return np.diff(x, n=n, axis=dim, **extra)


case(
    "diff", diff, lambda s: [
        Sample((s.normal(9),)), Sample((s.normal(3, 5), 2)), Sample((s.normal(3, 5), 1, 0)),
        Sample((s.normal(4, 1),)), Sample((s.normal(2, 6), 1, 1, s.normal(2, 2), s.normal(2, 1))),
        Sample((s.normal(2, 0, 3), 1, 2)), Sample((s.normal(5), 0)),
    ], tol=SUM, scale=lambda x, *a, **k: np.abs(x).max(initial=1.0) * 8, grad=(0, 3, 4),
    dtypes=WIDE_FLOATS,
)  # fmt: skip


def integrate(y, x=None, dx=1.0, dim=-1):
    d = np.diff(x, axis=-1 if x.ndim == 1 else dim) if x is not None else dx
    y = np.moveaxis(y, dim, -1)
    if x is not None and x.ndim > 1:
        d = np.moveaxis(d, dim, -1)
    return y, ((y[..., 1:] + y[..., :-1]) * d / 2)


def trapezoid(y, x=None, dx=1.0, dim=-1):
    return integrate(y, x, dx, dim)[1].sum(axis=-1)


def cumulative_trapezoid(y, x=None, dx=1.0, dim=-1):
    return np.moveaxis(np.cumsum(integrate(y, x, dx, dim)[1], axis=-1), -1, dim)


def trapezoid_scale(y, x=None, dx=1.0, dim=-1):
    width = np.abs(np.diff(x)).max(initial=1.0) if x is not None and x.ndim else 1.0 + abs(dx)
    return 4 * np.abs(y).sum() * max(width, 1.0) + 1


def _samples(s):
    return [
        Sample((s.normal(9),)), Sample((s.normal(3, 5),), {"dx": 0.5, "dim": 0}),
        Sample((s.normal(3, 5), s.normal(5))), Sample((s.normal(3, 5), s.normal(3)), {"dim": 0}),
        Sample((s.normal(3, 5), s.normal(3, 5)), {"dim": 0}), Sample((s.normal(4, 1),)),
    ]  # fmt: skip


for name, oracle in (("trapezoid", trapezoid), ("cumulative_trapezoid", cumulative_trapezoid)):
    # Sixteen-bit operands round at every step.
    case(name, oracle, _samples, tol=SUM, scale=trapezoid_scale, dtypes=WIDE_FLOATS)


def cross(a, b, dim=None):
    a, b = np.broadcast_arrays(a, b)
    axis = a.shape.index(3) if dim is None else dim
    return np.cross(a, b, axis=axis)


case(
    "cross", cross, lambda s: [
        Sample((s.normal(3), s.normal(3))), Sample((s.normal(4, 3), s.normal(4, 3))),
        Sample((s.normal(3, 3), s.normal(3, 3), -1)), Sample((s.normal(2, 1, 3), s.normal(5, 3))),
        Sample((s.normal(0, 3), s.normal(0, 3), 1)),
    ], tol=DOT, scale=lambda a, b, dim=None: 4 * (1 + np.abs(a).max(initial=0) * np.abs(b).max(initial=0)),
    dtypes=WIDE_FLOATS,
)  # fmt: skip


def renorm(x, p, dim, maxnorm):
    others = tuple(i for i in range(x.ndim) if i != dim % x.ndim)
    length = (np.abs(x) ** p).sum(axis=others, keepdims=True) ** (1 / p)
    return np.where(length > maxnorm, x * (maxnorm / (length + 1e-7)), x)


case(
    "renorm", renorm, lambda s: [
        Sample((s.normal(4, 7), 2, 0, 1.5)), Sample((s.normal(3, 5, 2), 1, 1, 2.0)),
        Sample((s.normal(3, 5), 3, -1, 100.0)),
    ], tol=NORM, dtypes=WIDE_FLOATS, grad2=False,
)  # fmt: skip


def cov(x, correction=1, fweights=None, aweights=None):
    return np.cov(x, ddof=correction, fweights=fweights, aweights=aweights)


case(
    "cov", cov, lambda s: [
        Sample((s.normal(3, 40),)), Sample((s.normal(40),)),
        Sample((s.normal(3, 40),), {"correction": 0}),
        Sample((s.normal(3, 9),), {"fweights": s.ints(9, low=1, high=4)}),
        Sample((s.normal(3, 9),), {"aweights": s.positive(9)}),
        Sample((s.normal(2, 9),), {"fweights": s.ints(9, low=1, high=4), "aweights": s.positive(9)}),
    ], tol=SUM, scale=lambda x, *a, **k: 1 + (x * x).max(), dtypes=WIDE_FLOATS,
)  # fmt: skip
# Of constant rows it is 0 / 0, or rounding error over rounding error: no oracle can tell.
case(
    "corrcoef", np.corrcoef, lambda s: [Sample((s.normal(3, 40),)), Sample((s.normal(4, 7),))],
    tol=GRAD, dtypes=WIDE_FLOATS, grad=False, layouts=False,
)  # fmt: skip


def unravel_index(indices, shape):
    return tuple(np.asarray(i, dtype=np.int64) for i in np.unravel_index(indices, shape))


case(
    "unravel_index", unravel_index,
    lambda s: [Sample((s.ints(2, 5, low=0, high=24), (2, 3, 4))), Sample((s.ints(0, low=0, high=2), (3, 4)))],
    dtypes=("int64", "int32"), grad=False,
)  # fmt: skip


def atleast(rank):
    return {1: np.atleast_1d, 2: np.atleast_2d, 3: np.atleast_3d}[rank]


for rank in (1, 2, 3):
    case(
        f"atleast_{rank}d", atleast(rank),
        lambda s: [Sample((s.normal(*shape),)) for shape in ((), (3,), (2, 3), (2, 3, 2), (0,))],
        dtypes=FLOATS,
    )  # fmt: skip


def split(f):
    return lambda x, at: tuple(f(x, at))


for name, f in (("hsplit", np.hsplit), ("vsplit", np.vsplit), ("dsplit", np.dsplit)):
    case(
        name,
        split(f),
        lambda s: [Sample((s.normal(4, 6, 2), 2)), Sample((s.normal(4, 6, 4), (1, 3)))],
    )


def gradient(x, spacing=1.0, dim=None, edge_order=1):
    axes = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    steps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(axes)
    found = np.gradient(x, *steps, axis=axes, edge_order=edge_order)
    return tuple(found) if len(axes) > 1 else (found,)


def abscissae(s, n):
    return np.cumsum(s.uniform(n, low=0.5, high=1.5))


def gradient_case(name, samples, **fields):
    case(name, gradient, samples, fn="gradient", tol=SUM, scale=lambda x, **k: 64 * (1 + np.abs(x).max(initial=0)),
         dtypes=WIDE_FLOATS, grad=(0,), **fields)  # fmt: skip


gradient_case("gradient", lambda s: [
    Sample((s.normal(6),)), Sample((s.normal(4, 5),)), Sample((s.normal(4, 5),), {"spacing": 0.5, "dim": 1}),
    Sample((s.normal(4, 5),), {"spacing": [0.5, 2.0], "edge_order": 2}), Sample((s.normal(2, 3, 4),), {"dim": (0, -1)}),
    Sample((s.normal(3),), {"edge_order": 2}), Sample((s.normal(2),)),
])  # fmt: skip
# The expanded layout would make all coordinates equal.
gradient_case("gradient at coordinates", lambda s: [
    Sample((s.normal(5),), {"spacing": [abscissae(s, 5)], "dim": 0}),
    Sample((s.normal(5, 4),), {"spacing": [abscissae(s, 5), abscissae(s, 4)], "edge_order": 2}),
], layouts=False)  # fmt: skip


def frexp_samples(s):
    sizes = [Sample((s.normal(*shape, scale=10.0),)) for shape in ((), (7,), (3, 33), (2, 0))]
    powers = 2.0 ** np.arange(-14, 15)
    return [*sizes, Sample((np.concatenate([powers, -powers, [0.0, np.inf, -np.inf]]),))]


# Piecewise linear in x; the second output has no gradient.
case("frexp", lambda x: tuple(a.astype(b) for a, b in zip(np.frexp(x), (x.dtype, np.int32))), frexp_samples,
     tol=EXACT, grad=False)  # fmt: skip
case("frexp mantissa", lambda x: np.frexp(x)[0], lambda s: [Sample((s.distinct(7) * 3,)), Sample((s.distinct(2, 5) * 3,))],
     fn=lambda x: tercel.frexp(x).mantissa, tol=EXACT)  # fmt: skip
