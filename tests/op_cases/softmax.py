"""Softmax family along every kind of dim."""

import numpy as np

from . import NORM, Sample, case

GEOMETRIES = [((1,), 0), ((7,), -1), ((3, 17), 1), ((3, 300), 1), ((17, 3), 0), ((40, 70), 0), ((2, 5, 4), 1),
              ((2, 3, 16), -1), ((0, 4), 1), ((), 0)]  # fmt: skip


def samples(s):
    return [Sample((s.normal(*shape, scale=3.0),), dict(dim=dim)) for shape, dim in GEOMETRIES]


def softmax(x, dim):
    if x.ndim == 0:
        return np.ones(())
    e = np.exp(x - x.max(axis=dim, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=dim, keepdims=True)


def log_softmax(x, dim):
    if x.ndim == 0:
        return np.zeros(())
    z = x - x.max(axis=dim, keepdims=True, initial=-np.inf)
    return z - np.log(np.exp(z).sum(axis=dim, keepdims=True))


def rows(s):
    return Sample((s.normal(130, 1000),), dict(dim=1))


def columns(s):
    return Sample((s.normal(4, 300, 100),), dict(dim=1))


def largest(x, dim):
    return np.abs(x).max(initial=1.0)


case("softmax", softmax, samples, tol=NORM, large=rows, batch=())
case("softmax_rows", lambda x: softmax(x, -1), lambda s: [Sample((s.normal(9, n),)) for n in (5, 64, 333)],
     fn=lambda x: x.softmax(-1), tol=NORM, batch=(0,))  # fmt: skip
case("softmax_columns", softmax, lambda s: [Sample((s.normal(2, 9, 19),), dict(dim=1))], fn="softmax", tol=NORM,
     large=columns)  # fmt: skip
case("log_softmax", log_softmax, samples, tol=NORM, scale=largest, large=rows)
case("softmin", lambda x, dim: softmax(-x, dim), samples, tol=NORM, fn="softmin")
