"""Reductions and scans: every access pattern (rows, columns, middle dims, all), oracles in NumPy float64."""

import numpy as np

from . import ALL, EXACT, FLOATS, NORM, SUM, WIDE_FLOATS, Sample, case

# shape, dims, keepdim: blocks are 4096 long, groups 256, lanes 16
GEOMETRIES = [
    ((), None, False),
    ((1,), None, False),
    ((17,), (0,), True),
    ((257,), None, False),
    ((3, 5), (1,), False),
    ((3, 5), (-2,), True),
    ((5, 33), (0,), False),
    ((2, 3, 4), (0, 2), False),
    ((2, 3, 4), (1,), True),
    ((300, 3), (0,), False),
    ((2, 70, 18), (1,), False),
    ((2, 2, 3, 3), (0, 2, 3), True),
]
EMPTY = [((0,), None, False), ((2, 0, 3), (1,), False), ((0, 4), (1,), True)]
LONG = [((5000,), None, False), ((2, 4099), (1,), False), ((4100, 2), (0,), False)]


def axes(dim):
    return None if dim is None else tuple(dim) if isinstance(dim, (tuple, list)) else dim


def over_dims(geometries, make="normal"):
    def samples(s):
        return [
            Sample((getattr(s, make)(*shape),), dict(dim=dim, keepdim=keepdim))
            for shape, dim, keepdim in geometries
        ]

    return samples


def numpy_oracle(f):
    return lambda x, dim=None, keepdim=False: f(x, axis=axes(dim), keepdims=keepdim)


def sum_abs(x, dim=None, keepdim=False):
    return np.abs(np.asarray(x, dtype=np.float64)).sum(axis=axes(dim), keepdims=keepdim)


def mean_abs(x, dim=None, keepdim=False):
    return np.abs(x).mean(axis=axes(dim), keepdims=keepdim)


def rows(s):
    return Sample((s.normal(150, 1000),), dict(dim=(1,)))


def columns(s):
    return Sample((s.normal(1000, 150),), dict(dim=(0,)))


case("sum", numpy_oracle(np.sum), over_dims(GEOMETRIES + EMPTY + LONG), dtypes=ALL, tol=SUM, scale=sum_abs,
     large=rows)  # fmt: skip
case(
    "sum_columns",
    numpy_oracle(np.sum),
    lambda s: [Sample((s.normal(70, 5),), dict(dim=(0,)))],
    fn="sum",
    tol=SUM,
    scale=sum_abs,
    large=columns,
)
case("sum_all", lambda x: np.sum(x), lambda s: [Sample((s.normal(13, 17),))], fn="sum", tol=SUM,
     scale=lambda x: np.abs(x).sum(), large=lambda s: Sample((s.normal(345, 457),)))  # fmt: skip
case("sum_rows", lambda x: x.sum(-1), lambda s: [Sample((s.normal(7, n),)) for n in (1, 40, 5000)],
     fn=lambda x: x.sum(-1), tol=SUM, scale=lambda x: np.abs(x).sum(-1), batch=(0,))  # fmt: skip
case(
    "mean", numpy_oracle(np.mean), over_dims(GEOMETRIES + LONG), tol=SUM, scale=mean_abs, large=rows
)


def with_nan(s):
    out = []
    for sample in over_dims(GEOMETRIES)(s):
        x = sample.args[0].copy()
        x[np.abs(x) > 1.2] = np.nan
        out.append(Sample((x,), sample.kwargs))
    return out


def nan_sum_abs(x, dim=None, keepdim=False):
    return np.nansum(np.abs(x), axis=axes(dim), keepdims=keepdim)


case("nansum", numpy_oracle(np.nansum), with_nan, tol=SUM, scale=nan_sum_abs, grad=False)
case("nanmean", numpy_oracle(np.nanmean), with_nan, tol=NORM, scale=lambda *a, **k: 4.0, dtypes=WIDE_FLOATS,
     grad=False)  # fmt: skip


def one_dim(s):
    return [
        Sample((s.uniform(*shape, low=0.5, high=1.5),), dict(dim=dim, keepdim=keep))
        for shape, dim, keep in [((5,), 0, False), ((3, 40), 1, True), ((40, 3), 0, False), ((2, 3, 4), 1, False)]
    ]  # fmt: skip


case("prod", lambda x, dim, keepdim: np.prod(x, axis=dim, keepdims=keepdim), one_dim, tol=NORM)
case("prod_all", np.prod, lambda s: [Sample((s.uniform(3, 5, low=0.5, high=1.5),)), Sample((s.uniform(),))],
     fn="prod", tol=NORM)  # fmt: skip


def prod_with_zeros(s):
    x = s.uniform(4, 6, low=0.5, high=1.5)
    x[0, 2] = x[1, 1] = x[1, 4] = 0
    return [Sample((x,), dict(dim=1, keepdim=False))]


case(
    "prod_with_zeros",
    lambda x, dim, keepdim: np.prod(x, axis=dim),
    prod_with_zeros,
    fn="prod",
    tol=NORM,
)

DISTINCT = over_dims(GEOMETRIES, "distinct")
case("amax", numpy_oracle(np.max), DISTINCT, dtypes=ALL, tol=EXACT, large=rows)
case("amin", numpy_oracle(np.min), DISTINCT, dtypes=ALL, tol=EXACT, large=columns)
case("aminmax", lambda x, dim=None, keepdim=False: (np.min(x, axis=dim, keepdims=keepdim),
                                                    np.max(x, axis=dim, keepdims=keepdim)),
     lambda s: [Sample((s.distinct(3, 5),), dict(dim=1, keepdim=True)), Sample((s.distinct(4),))],
     tol=EXACT, dtypes=FLOATS)  # fmt: skip


def along(shapes, make="distinct"):
    def samples(s):
        return [
            Sample((getattr(s, make)(*shape),), dict(dim=dim, keepdim=keep))
            for shape, dim, keep in shapes
        ]

    return samples


ALONG = [((1,), 0, False), ((40,), 0, True), ((3, 17), 1, False), ((17, 3), 0, False), ((2, 5, 4), 1, True),
         ((2, 5, 20), 1, False), ((4, 5), -1, False), ((), 0, False)]  # fmt: skip


def take(x, index, dim, keepdim):
    if x.ndim == 0:
        return x
    picked = np.take_along_axis(x, np.expand_dims(index, dim), dim)
    return picked if keepdim else picked.squeeze(dim)


def pair(arg):
    def oracle(x, dim, keepdim):
        index = arg(x, axis=dim) if x.ndim else np.int64(0)
        values = take(x, index, dim, keepdim)
        return values, np.expand_dims(index, dim) if keepdim and x.ndim else index

    return oracle


def big_along(s):
    return Sample((s.normal(120, 1000),), dict(dim=1, keepdim=False))


case("max", pair(np.argmax), along(ALONG), dtypes=ALL, tol=EXACT, large=big_along)
case("min", pair(np.argmin), along(ALONG), dtypes=ALL, tol=EXACT, large=big_along)
case("argmax", lambda x, dim, keepdim: pair(np.argmax)(x, dim, keepdim)[1], along(ALONG), dtypes=ALL, tol=EXACT,
     grad=False, large=big_along)  # fmt: skip
case("argmin", lambda x, dim, keepdim: pair(np.argmin)(x, dim, keepdim)[1], along(ALONG), dtypes=ALL, tol=EXACT,
     grad=False, large=lambda s: Sample((s.normal(1000, 120),), dict(dim=0, keepdim=False)))  # fmt: skip
case("argmax_all", lambda x: np.argmax(x), lambda s: [Sample((s.normal(3, 5000),)), Sample((s.normal(4, 5),))],
     fn="argmax", tol=EXACT, grad=False, large=lambda s: Sample((s.normal(300, 500),)), dtypes=WIDE_FLOATS)  # fmt: skip

case("all", lambda x, dim=None, keepdim=False: np.all(x, axis=axes(dim), keepdims=keepdim),
     over_dims(GEOMETRIES + EMPTY), dtypes=ALL, tol=EXACT, grad=False)  # fmt: skip
case("any", lambda x, dim=None, keepdim=False: np.any(x, axis=axes(dim), keepdims=keepdim),
     over_dims(GEOMETRIES + EMPTY), dtypes=ALL, tol=EXACT, grad=False)  # fmt: skip
case("count_nonzero", lambda x, dim=None: np.asarray(np.count_nonzero(x, axis=dim)),
     lambda s: [Sample((s.normal(5, 7),), dict(dim=1)), Sample((s.normal(300),))], dtypes=ALL, tol=EXACT,
     grad=False)  # fmt: skip


# ---- moments: the scale of a variance is that of x^2


def moments(s):
    return [
        Sample((s.normal(*shape),), dict(dim=dim, correction=correction, keepdim=keep))
        for shape, dim, correction, keep in [
            ((5,), None, 1, False), ((3, 40), (1,), 0, True), ((40, 3), (0,), 1, False), ((2, 30, 4), (1,), 2, False),
            ((3, 4, 5), (0, 2), 1, False), ((2000,), None, 1, False), ((1500, 2), (0,), 1, False)]
    ]  # fmt: skip


def var_oracle(x, dim=None, correction=1, keepdim=False):
    return np.var(x, axis=axes(dim), ddof=correction, keepdims=keepdim)


def std_oracle(x, dim=None, correction=1, keepdim=False):
    return np.sqrt(var_oracle(x, dim, correction, keepdim))


def mean_oracle(x, dim=None, correction=1, keepdim=False):
    return np.mean(x, axis=axes(dim), keepdims=keepdim)


def mean_square(x, dim=None, correction=1, keepdim=False):
    return np.mean(x * x, axis=axes(dim), keepdims=keepdim)


case("var", var_oracle, moments, tol=NORM, scale=mean_square, large=rows)
case(
    "std",
    std_oracle,
    moments,
    tol=NORM,
    scale=lambda *a, **k: np.sqrt(mean_square(*a, **k)),
    large=columns,
)
case("var_mean", lambda *a, **k: (var_oracle(*a, **k), mean_oracle(*a, **k)), moments, tol=NORM,
     scale=lambda *a, **k: 2.0)  # fmt: skip
case("std_mean", lambda *a, **k: (std_oracle(*a, **k), mean_oracle(*a, **k)), moments, tol=NORM,
     scale=lambda *a, **k: 2.0)  # fmt: skip


def norms(s):
    out = []
    for p in (2, 1, 0, 3, 1.5, np.inf, -np.inf):
        out.append(Sample((s.distinct(3, 7),), dict(p=p, dim=(1,))))
        out.append(Sample((s.distinct(2, 3, 4),), dict(p=p, dim=(0, 2), keepdim=True)))
    return out


def norm_oracle(x, p, dim, keepdim=False):
    a = np.abs(x)
    if p == np.inf:
        return a.max(axis=dim, keepdims=keepdim)
    if p == -np.inf:
        return a.min(axis=dim, keepdims=keepdim)
    if p == 0:
        return (x != 0).sum(axis=dim, keepdims=keepdim).astype(np.float64)
    return (a**p).sum(axis=dim, keepdims=keepdim) ** (1 / p)


case("norm", norm_oracle, norms, tol=NORM, dtypes=WIDE_FLOATS)
case(
    "norm_default",
    lambda x: np.sqrt((x * x).sum()),
    lambda s: [Sample((s.normal(40, 5),))],
    fn="norm",
    tol=NORM,
)
case("dist", lambda a, b, p: norm_oracle(a - b, p, (0, 1)),
     lambda s: [Sample((s.normal(3, 4), s.normal(3, 4)), dict(p=2.0))], tol=NORM, dtypes=WIDE_FLOATS)  # fmt: skip


def logsumexp_oracle(x, dim, keepdim=False):
    m = x.max(axis=dim, keepdims=True)
    y = m + np.log(np.exp(x - m).sum(axis=dim, keepdims=True))
    return y if keepdim else y.squeeze(dim)


case("logsumexp", logsumexp_oracle,
     lambda s: [Sample((s.normal(*shape),), dict(dim=dim, keepdim=keep)) for shape, dim, keep in
                [((5,), (0,), False), ((3, 40), (1,), True), ((40, 3), (0,), False), ((2, 5, 4), (0, 2), False),
                 ((2, 5, 20), (1,), False)]],
     tol=NORM, scale=lambda *a, **k: 4.0, large=lambda s: Sample((s.normal(120, 1000),), dict(dim=(1,))))  # fmt: skip


# ---- scans


def scans(s):
    return [
        Sample((s.uniform(*shape, low=0.5, high=1.5),), dict(dim=dim))
        for shape, dim in [((1,), 0), ((300,), 0), ((3, 17), 1), ((17, 3), 0), ((2, 5, 4), 1), ((0, 3), 0), ((), 0)]
    ]  # fmt: skip


def scan_oracle(f):
    return lambda x, dim: f(x, axis=dim) if x.ndim else x


case("cumsum", scan_oracle(np.cumsum), scans, dtypes=ALL, tol=NORM,
     large=lambda s: Sample((s.normal(300, 500),), dict(dim=1)))  # fmt: skip
case("cumsum_columns", scan_oracle(np.cumsum), lambda s: [Sample((s.normal(70, 5),), dict(dim=0))], fn="cumsum",
     tol=NORM, large=lambda s: Sample((s.normal(500, 300),), dict(dim=0)))  # fmt: skip
case("cumprod", scan_oracle(np.cumprod), scans, tol=NORM)


def cumprod_zeros(s):
    x = s.uniform(3, 6, low=0.5, high=1.5)
    x[0, 2] = x[1, 1] = x[1, 4] = 0
    return [Sample((x,), dict(dim=1))]


case("cumprod_with_zeros", scan_oracle(np.cumprod), cumprod_zeros, fn="cumprod", tol=NORM)
case(
    "logcumsumexp", scan_oracle(np.logaddexp.accumulate), scans, tol=NORM, scale=lambda *a, **k: 8.0
)


def cum_pair(better):
    def oracle(x, dim):
        if x.ndim == 0:
            return x, np.int64(0)
        values = better.accumulate(x, axis=dim)
        moved, best = np.moveaxis(x, dim, -1), np.moveaxis(values, dim, -1)
        index = np.zeros(moved.shape, dtype=np.int64)
        for at in np.ndindex(*moved.shape[:-1]):
            for i in range(moved.shape[-1]):
                hits = np.flatnonzero(moved[at][: i + 1] == best[at][i])
                index[at + (i,)] = hits[-1]
        return values, np.moveaxis(index, -1, dim)

    return oracle


def distinct_scans(s):
    return [Sample((s.distinct(*shape),), dict(dim=dim)) for shape, dim in
            [((1,), 0), ((30,), 0), ((3, 17), 1), ((17, 3), 0), ((2, 5, 4), 1)]]  # fmt: skip


case("cummax", cum_pair(np.maximum), distinct_scans, dtypes=ALL, tol=EXACT)
case("cummin", cum_pair(np.minimum), distinct_scans, dtypes=ALL, tol=EXACT)


# ---- ranks


def lower_median(x, axis):
    return np.take(np.argsort(x, axis=axis, kind="stable"), (x.shape[axis] - 1) // 2, axis=axis)


def median_oracle(x, dim, keepdim):
    return pair(lower_median)(x, dim, keepdim)


case("median", median_oracle, along(ALONG), dtypes=FLOATS + ("int32", "int64"), tol=EXACT)
case("nanmedian", median_oracle, along(ALONG), dtypes=FLOATS, tol=EXACT)
case("median_all", lambda x: np.sort(x, axis=None)[(x.size - 1) // 2],
     lambda s: [Sample((s.distinct(3, 4),)), Sample((s.distinct(9),))], fn="median", dtypes=FLOATS, tol=EXACT)  # fmt: skip


def mode_oracle(x, dim, keepdim):
    moved = np.moveaxis(x, dim, -1)
    value, index = (
        np.zeros(moved.shape[:-1], dtype=x.dtype),
        np.zeros(moved.shape[:-1], dtype=np.int64),
    )
    for at in np.ndindex(*moved.shape[:-1]):
        found, counts = np.unique(moved[at], return_counts=True)
        value[at] = found[np.argmax(counts)]
        index[at] = np.flatnonzero(moved[at] == value[at])[-1]
    return (np.expand_dims(value, dim), np.expand_dims(index, dim)) if keepdim else (value, index)


case("mode", mode_oracle,
     lambda s: [Sample((s.ints(4, 9, low=0, high=4),), dict(dim=1, keepdim=False)),
                Sample((s.ints(9, 4, low=0, high=3),), dict(dim=0, keepdim=True))],
     dtypes=("float32",), tol=EXACT, grad=False)  # fmt: skip

QUANTILES = [
    ("linear", 0.3),
    ("lower", 0.5),
    ("higher", 0.5),
    ("midpoint", 0.4),
    ("nearest", 0.8),
    ("linear", 1.0),
]
case("quantile", lambda x, q, dim, keepdim, interpolation: np.quantile(x, q, axis=dim, keepdims=keepdim,
                                                                       method=interpolation),
     lambda s: [Sample((s.distinct(5, 8), q), dict(dim=dim, keepdim=keep, interpolation=name))
                for name, q in QUANTILES for dim, keep in ((1, False), (0, True), (None, False))],
     dtypes=WIDE_FLOATS, tol=NORM)  # fmt: skip
