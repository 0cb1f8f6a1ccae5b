"""Sorting and selection."""

import numpy as np

from . import ALL, EXACT, FLOATS, Sample, case

SHAPES = [(1,), (2,), (33,), (200,), (7, 9), (3, 5, 4)]


def per_dim(s):
    return [
        Sample((s.distinct(*shape),), dict(dim=d)) for shape in SHAPES for d in (0, len(shape) - 1)
    ]


def np_sort(x, dim=-1, descending=False):
    order = np.argsort(-x if descending else x, dim, kind="stable")
    return np.take_along_axis(x, order, dim), order


def np_topk(x, k, dim=-1, largest=True):
    values, order = np_sort(x, dim, largest)
    return np.take(values, np.arange(k), dim), np.take(order, np.arange(k), dim)


case(
    "sort",
    oracle=np_sort,
    samples=per_dim,
    tol=EXACT,
    large=lambda s: Sample((s.normal(200_000),)),
)
case(
    "sort_descending",
    fn=lambda x, dim: __import__("tercel").sort(x, dim, True),
    oracle=lambda x, dim: np_sort(x, dim, True),
    samples=per_dim,
    tol=EXACT,
)
case(
    "argsort",
    oracle=lambda x, dim: np_sort(x, dim)[1],
    samples=lambda s: [Sample((s.ints(9, 40),), dict(dim=d)) for d in (0, 1)],
    tol=EXACT,
    grad=False,
)
case(
    "msort",
    oracle=lambda x: np.sort(x, 0),
    samples=lambda s: [Sample((s.distinct(*shape),)) for shape in SHAPES],
    dtypes=ALL,
    tol=EXACT,
    grad=False,
)
case(
    "topk",
    oracle=np_topk,
    samples=lambda s: [
        Sample((s.distinct(*shape),), dict(k=k, dim=-1, largest=largest))
        for shape, k in [((200,), 5), ((200,), 199), ((3, 70), 1), ((2, 90), 20)]
        for largest in (True, False)
    ],
    tol=EXACT,
    dtypes=FLOATS,
    large=lambda s: Sample((s.normal(20, 9000),), dict(k=30)),
)
case(
    "kthvalue",
    oracle=lambda x, k, dim: tuple(np.take(a, k - 1, dim) for a in np_sort(x, dim)),
    samples=lambda s: [Sample((s.distinct(7, 9),), dict(k=3, dim=d)) for d in (0, 1)],
    tol=EXACT,
)
