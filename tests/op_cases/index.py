"""Indexing. Index arrays are int64 and stay as they are; float arrays take the dtype under test."""

import numpy as np

from . import ALL, EXACT, FLOATS, NORM, SUM, WIDE_FLOATS, Sample, case

MOVE = dict(dtypes=ALL, tol=EXACT)


def along(x, dim, index):
    """Index tuple that replaces dim by `index`, whose sizes may be smaller than x's."""
    grid = list(np.indices(index.shape))
    grid[dim] = index
    return tuple(grid)


def np_index_add(x, dim, index, source, alpha=1):
    out = x.copy()
    np.add.at(out, (slice(None),) * dim + (index,), alpha * source)
    return out


def np_index_set(x, dim, index, source):
    out = x.copy()
    for i, at in enumerate(index):
        out[(slice(None),) * dim + (at,)] = source[(slice(None),) * dim + (i,)]
    return out


def np_scatter(x, dim, index, src):
    out = x.copy()
    for at in np.ndindex(index.shape):
        to = list(at)
        to[dim] = index[at]
        out[tuple(to)] = src[at]
    return out


def np_scatter_reduce(x, dim, index, src, reduce, include_self=True):
    out, count = x.copy(), np.full(x.shape, float(include_self))
    for at in np.ndindex(index.shape):
        to = list(at)
        to[dim] = index[at]
        to = tuple(to)
        v = src[at]
        if count[to] == 0:
            out[to] = v
        else:
            old = out[to]
            out[to] = {"sum": old + v, "mean": old + v, "prod": old * v, "amax": max(old, v),
                       "amin": min(old, v)}[reduce]  # fmt: skip
        count[to] += 1
    return out / np.maximum(count, 1) if reduce == "mean" else out


def lines(s):
    return [
        Sample((s.distinct(4, 5, 3),), dict(dim=1, index=s.ints(7, low=0, high=5))),
        Sample((s.distinct(4, 5, 3),), dict(dim=-1, index=s.ints(2, low=0, high=3))),
        Sample((s.distinct(17),), dict(dim=0, index=s.ints(0, low=0, high=3))),
    ]


def positional(samples):
    return lambda s: [Sample(a.args + tuple(a.kwargs.values())) for a in samples(s)]


def adds(s):
    return [
        Sample((s.normal(4, 5, 3), 1, s.ints(7, low=0, high=5), s.normal(4, 7, 3))),
        Sample((s.normal(6), 0, s.ints(40, low=0, high=6), s.normal(40)), dict(alpha=-2)),
    ]


def gathers(s):
    return [
        Sample((s.distinct(4, 5, 3), 1, s.ints(4, 2, 3, low=0, high=5))),
        Sample((s.distinct(4, 5, 3), 0, s.ints(6, 5, 2, low=0, high=4))),
        Sample((s.distinct(4, 5, 3), -1, s.ints(3, 5, 9, low=0, high=3))),
        Sample((s.distinct(9), 0, s.ints(20, low=0, high=9))),
    ]


def scatters(s):
    return [Sample((*g.args, s.normal(*g.args[2].shape))) for g in gathers(s)]


def reduces(*names):
    def samples(s):
        return [
            Sample(
                (s.distinct(4, 5), 0, s.ints(9, 5, low=0, high=4), s.distinct(9, 5) + 1 / 256),
                dict(reduce=r, include_self=i),
            )
            for r in names
            for i in (True, False)
        ]

    return samples


case("index_select", oracle=lambda x, dim, index: np.take(x, index, dim), samples=positional(lines),
     large=lambda s: Sample((s.normal(500, 100), 0, s.ints(3000, low=0, high=500))), **MOVE)  # fmt: skip
case("index_add", oracle=np_index_add, samples=adds, dtypes=FLOATS, tol=SUM, inplace="index_add_",
     scale=lambda x, dim, index, source, alpha=1: np_index_add(
         abs(x), dim, index, abs(source), abs(alpha)),
     large=lambda s: Sample((s.normal(300), 0, s.ints(200_000, low=0, high=300),
                             s.normal(200_000))))  # fmt: skip
case("index_add_rows", fn="index_add", oracle=np_index_add, tol=SUM,
     samples=lambda s: [Sample((s.normal(5, 6), 0, s.ints(12, low=0, high=5), s.normal(12, 6)))],
     scale=lambda x, dim, index, source: np_index_add(abs(x), dim, index, abs(source)),
     large=lambda s: Sample((s.normal(50, 300), 0, s.ints(1000, low=0, high=50),
                             s.normal(1000, 300))))  # fmt: skip
case("index_copy", oracle=np_index_set, inplace="index_copy_", **MOVE, samples=lambda s: [
    Sample((s.distinct(4, 5, 3), 1, np.array([0, 3]), s.distinct(4, 2, 3))),
    Sample((s.distinct(6), 0, np.array([5, 0, 2]), s.distinct(3)))])  # fmt: skip
case("index_fill", oracle=lambda x, dim, index, value: np_index_set(
    x, dim, index, np.full_like(np.take(x, index, dim), value)), inplace="index_fill_", **MOVE,
    samples=lambda s: [Sample((s.distinct(4, 5, 3), 1, np.array([0, 3]), 1))])  # fmt: skip
case("take", oracle=lambda x, index: x.reshape(-1)[index], **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5), s.ints(3, 4, low=-20, high=20)))])  # fmt: skip
case("gather", oracle=lambda x, dim, index: x[along(x, dim, index)], samples=gathers,
     large=lambda s: Sample((s.normal(300, 400), 1, s.ints(300, 500, low=0, high=400))),
     **MOVE)  # fmt: skip
case("take_along_dim", oracle=lambda x, index, dim: np.take_along_axis(x, index, dim), **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5), s.ints(1, 7, low=0, high=5)), dict(dim=1)),
                        Sample((s.distinct(1, 5), s.ints(3, 5, low=0, high=1)),
                               dict(dim=0))])  # fmt: skip
case("scatter", oracle=np_scatter, inplace="scatter_", tol=EXACT, samples=lambda s: [
    Sample((s.distinct(4, 5), 1, s.rng.permuted(np.tile(np.arange(5), (4, 1)), axis=1),
            s.distinct(4, 5))),
    Sample((s.distinct(4, 5, 3), 0, np.array([[[3, 0]], [[1, 2]]]), s.distinct(2, 1, 2))),
    Sample((s.distinct(4, 5, 3), 0, np.array([[[3, 0]], [[1, 2]]]), s.distinct(2, 3, 3)))])  # fmt: skip
case("scatter_add", oracle=lambda x, dim, index, src: np_scatter_reduce(x, dim, index, src, "sum"),
     samples=scatters, inplace="scatter_add_", tol=SUM,
     scale=lambda x, dim, index, src: np_scatter_reduce(abs(x), dim, index, abs(src), "sum"),
     large=lambda s: Sample((s.normal(100), 0, s.ints(200_000, low=0, high=100),
                             s.normal(200_000))))  # fmt: skip
case("scatter_reduce", oracle=np_scatter_reduce, samples=reduces("sum", "mean", "prod"),
     dtypes=WIDE_FLOATS, tol=NORM, inplace="scatter_reduce_")  # fmt: skip
case("scatter_reduce_extreme", fn="scatter_reduce", oracle=np_scatter_reduce,
     samples=reduces("amax", "amin"), dtypes=FLOATS, tol=EXACT)  # fmt: skip
case("getitem_list", fn=lambda x, i, j: x[i, :, j], oracle=lambda x, i, j: x[i, :, j], **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5, 3), s.ints(2, 6, low=-4, high=4),
                                s.ints(6, low=-3, high=3)))])  # fmt: skip
case("getitem_rows", fn=lambda x, i: x[:, i], oracle=lambda x, i: x[:, i], **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5, 3), s.ints(7, low=-5, high=5)))])  # fmt: skip
case("index_put", oracle=lambda x, indices, values, accumulate: (
         lambda y: (np.add.at(y, tuple(indices), values), y)[1])(x.copy()), tol=SUM,
     scale=lambda x, indices, values, accumulate: (
         lambda y: (np.add.at(y, tuple(indices), abs(values)), y)[1])(abs(x)),
     samples=lambda s: [Sample((s.normal(4, 5), [s.ints(30, low=-4, high=4),
                                                 s.ints(30, low=0, high=5)], s.normal(30), True)),
                        Sample((s.normal(4, 5), [s.ints(9, low=0, high=4)], s.normal(9, 5), True)),
                        Sample((s.normal(4, 5), [s.ints(9, low=0, high=4)], s.normal(5), True))])  # fmt: skip
case("masked_select", oracle=lambda x, mask: np.broadcast_arrays(x, mask)[0][np.broadcast_to(
         mask, np.broadcast_shapes(x.shape, mask.shape))], **MOVE,
     samples=lambda s: [Sample((s.distinct(n), s.bools(n))) for n in (1, 17, 130)]
     + [Sample((s.distinct(4, 5), s.bools(5))), Sample((s.distinct(4, 1), s.bools(3)))],
     large=lambda s: Sample((s.normal(300, 500), s.bools(300, 500))))  # fmt: skip
case("masked_fill", oracle=lambda x, mask, value: np.where(mask, value, x), **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5), s.bools(4, 5), 1)),
                        Sample((s.distinct(3, 4, 5), s.bools(4, 1), 0))], inplace="masked_fill_",
     large=lambda s: Sample((s.normal(300, 500), s.bools(300, 500), 1)))  # fmt: skip
case("masked_scatter", oracle=lambda x, mask, source: (
         lambda y: (np.place(y, mask, source.reshape(-1)), y)[1])(x.copy()), **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5), s.bools(4, 5), s.distinct(20) + 1))],
     inplace="masked_scatter_")  # fmt: skip
case("select_scatter", oracle=lambda x, src, dim, index: np_index_set(
         x, dim, np.array([index]), np.expand_dims(src, dim)), **MOVE,
     samples=lambda s: [Sample((s.distinct(4, 5), s.distinct(4), 1, 2))])  # fmt: skip
case("diagonal_scatter", oracle=lambda x, src: (
         lambda y: (np.fill_diagonal(y, src), y)[1])(x.copy()), **MOVE,
     samples=lambda s: [Sample((s.distinct(5, 5), s.distinct(5) + 1))])  # fmt: skip
case("searchsorted", oracle=lambda a, v, right=False: np.searchsorted(
         a, v, "right" if right else "left"), tol=EXACT, grad=False, dtypes=FLOATS,
     samples=lambda s: [Sample((np.sort(s.distinct(40)), s.uniform(3, 5)), dict(right=r))
                        for r in (False, True)])  # fmt: skip


def nonzero_static(x, size, fill_value=-1):
    found = np.argwhere(x)[:size]
    return np.concatenate([found, np.full((size - len(found), x.ndim), fill_value)])


case(
    "nonzero_static", nonzero_static, lambda s: [
        Sample((s.normal(3, 5) * s.bools(3, 5),), {"size": n, "fill_value": f}) for n, f in ((4, -1), (0, 0), (20, 7))
    ] + [Sample((s.normal(0, 2),), {"size": 2}), Sample((np.asarray(1.5),), {"size": 2})],
    dtypes=ALL, tol=EXACT, grad=False,
)  # fmt: skip
