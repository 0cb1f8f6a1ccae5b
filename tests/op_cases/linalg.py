"""Linear algebra: numpy.linalg in float64 is the oracle, on matrices far from singular. Factors are compared where they
are unique (R up to signs, eigenvectors through the products that they make)."""

import math

import numpy as np

import tercel

from . import WIDE_FLOATS, Sample
from . import case as plain_case

L = np.linalg


def case(name, oracle, samples, **fields):
    """Memory layouts and batches are in test_linalg.py: the generic layouts make singular matrices."""
    plain_case(name, oracle, samples, **{"dtypes": WIDE_FLOATS, "layouts": False} | fields)


def regular(s, *batch_n):
    """Square matrices with singular values between 0.5 and 3 or so."""
    *batch, n = batch_n
    a = s.normal(*batch, n, n) * 0.3 / max(n, 1) ** 0.5
    return a + np.eye(n) * (1 + np.arange(n) * 0.25)


def spd(s, *batch_n):
    a = regular(s, *batch_n)
    return a @ np.swapaxes(a, -1, -2)


def tall(s, m, n, *batch):
    """Matrices with singular values 1, 1.5, 2, ... and random directions."""
    k = min(m, n)
    u, v = L.qr(s.normal(*batch, m, k))[0], L.qr(s.normal(*batch, n, k))[0]
    return (u * (1 + 0.5 * np.arange(k))) @ np.swapaxes(v, -1, -2)


def squares(make):
    def samples(s):
        return [
            Sample((make(s, *shape),))
            for shape in ((3,), (1,), (2, 4), (2, 1, 3), (0,), (0, 3), (2, 0))
        ]

    return samples


def shapes(s):
    return [Sample((tall(s, *shape),)) for shape in ((3, 3), (4, 2), (2, 3, 2))] + [
        Sample((s.normal(*shape),)) for shape in ((0, 3), (3, 0), (0, 2, 3))
    ]


def size(*arrays, **_):
    """Scale of results that several steps round."""
    return np.asarray(8.0 * (1 + np.abs(arrays[0]).max(initial=0)))


def square_case(name, oracle, make=regular, **fields):
    fields = {"scale": size} | fields
    case(name, oracle, squares(make), **fields)


def mT(x):
    return np.swapaxes(x, -1, -2)


square_case("linalg.inv", L.inv)
square_case("linalg.det", lambda a: L.det(a))
square_case("linalg.slogdet", lambda a: tuple(L.slogdet(a)))
case("inverse", L.inv, squares(regular), scale=size, grad=False)
case("det", L.det, squares(regular), scale=size, grad=False)
case("slogdet", lambda a: tuple(L.slogdet(a)), squares(regular), scale=size, grad=False)
case("pinverse", L.pinv, shapes, scale=size, grad=False)
case("logdet", lambda a: np.log(L.det(a)), squares(spd), scale=size)
square_case(
    "linalg.cholesky",
    L.cholesky,
    spd,
    fn=lambda a, **k: tercel.linalg.cholesky((a + a.mT) / 2, **k),
    bad=False,
)
case(
    "linalg.cholesky upper", lambda a, upper: mT(L.cholesky(a)) if upper else L.cholesky(a),
    lambda s: [Sample((spd(s, 4),), {"upper": True}), Sample((spd(s, 2, 3),), {"upper": False})],
    fn=lambda a, upper: tercel.linalg.cholesky((a + a.mT) / 2, upper=upper), scale=size,
)  # fmt: skip
square_case("cholesky", L.cholesky, spd, grad=False)
square_case("cholesky_inverse", lambda l: L.inv(np.tril(l) @ mT(np.tril(l))), grad=False)
square_case("linalg.eigvalsh", L.eigvalsh, spd, fn=lambda a: tercel.linalg.eigvalsh((a + a.mT) / 2))


def eigen_products(a):
    """What does not depend on the signs of eigenvectors."""
    w, v = tercel.linalg.eigh((a + a.mT) / 2)
    return w, (v * w.sin().unsqueeze(-2)) @ v.mT, v**2


def eigen_products_oracle(a):
    w, v = L.eigh(a)
    return w, (v * np.sin(w)[..., None, :]) @ mT(v), v**2


square_case("linalg.eigh", eigen_products_oracle, spd, fn=eigen_products, bad=False)


def svd_products(a, full=False):
    u, s, vh = tercel.linalg.svd(a, full)
    k = s.shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    return s, (u * s.sin().unsqueeze(-2)) @ vh, u**2, vh**2


def svd_products_oracle(a, full=False):
    u, s, vh = L.svd(a, full_matrices=False)
    return s, (u * np.sin(s)[..., None, :]) @ vh, u**2, vh**2


case(
    "linalg.svd",
    svd_products_oracle,
    shapes,
    fn=svd_products,
    scale=size,
    bad=False,
)
case("linalg.svd full", svd_products_oracle, lambda s: [Sample((*x.args, True)) for x in shapes(s)], fn=svd_products,
     scale=size, bad=False)  # fmt: skip
case("linalg.svdvals", lambda a: L.svd(a, compute_uv=False), shapes, scale=size)
case(
    "svd",
    lambda a: (None, L.svd(a, compute_uv=False), None),
    shapes,
    scale=size,
    grad=False,
)


def signed_qr(q, r, sign, k):
    d = sign(r[..., :k, :k].diagonal(0, -2, -1))
    return q[..., :, :k] * d[..., None, :], d[..., :, None] * r[..., :k, :]


def qr(a, mode="reduced"):
    q, r = tercel.linalg.qr(a, mode)
    return signed_qr(q, r, tercel.sign, min(a.shape[-2:]))


def qr_oracle(a, mode="reduced"):
    q, r = L.qr(a)
    return signed_qr(q, r, np.sign, min(a.shape[-2:])) if a.size else (q, r)


case("linalg.qr", qr_oracle, shapes, fn=qr, scale=size, bad=False)
case("linalg.qr complete", qr_oracle, lambda s: [Sample((tall(s, 3, 5), "complete")), Sample((tall(s, 2, 2), "complete"))],
     fn=qr, scale=size)  # fmt: skip
case("qr", lambda a, some=True: (None, None), shapes, grad=False)


def solve(a, b, left=True):
    vector = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    if vector:
        return L.solve(a, b[..., None])[..., 0]
    return L.solve(a, b) if left else mT(L.solve(mT(a), mT(b)))


def triangular(a, b, upper, left=True, unitriangular=False):
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        i = np.arange(a.shape[-1])
        a[..., i, i] = 1
    return solve(a, b, left)


case("linalg.solve", solve, lambda s: [
    Sample((regular(s, 3), s.normal(3, 2))), Sample((regular(s, 4), s.normal(4))),
    Sample((regular(s, 2, 3), s.normal(2, 3))), Sample((regular(s, 2, 3), s.normal(3, 2))),
    Sample((regular(s, 3), s.normal(2, 3, 2))), Sample((regular(s, 3), s.normal(2, 3)), {"left": False}),
    Sample((regular(s, 0), s.normal(0, 2))), Sample((regular(s, 0, 3), s.normal(0, 3, 2))),
], scale=size)  # fmt: skip
case("linalg.solve_triangular", triangular, lambda s: [
    Sample((regular(s, 3), s.normal(3, 2)), {"upper": True}), Sample((regular(s, 3), s.normal(3, 2)), {"upper": False}),
    Sample((regular(s, 2, 3), s.normal(4, 3)), {"upper": True, "left": False}),
    Sample((regular(s, 3), s.normal(2, 3, 2)), {"upper": False, "unitriangular": True}),
    Sample((regular(s, 3), s.normal(3, 1)), {"upper": True, "unitriangular": True}),
    Sample((regular(s, 0), s.normal(0, 2)), {"upper": True}),
], scale=size)  # fmt: skip
case("cholesky_solve", lambda b, l, upper=False: solve(mT(np.triu(l)) @ np.triu(l) if upper else np.tril(l) @ mT(np.tril(l)), b),
     lambda s: [Sample((s.normal(3, 2), regular(s, 3))), Sample((s.normal(2, 3, 1), regular(s, 3), True)),
                Sample((s.normal(3, 2), regular(s, 2, 3)))], scale=size)  # fmt: skip
case(
    "linalg.pinv",
    lambda a, hermitian=False: L.pinv(a, hermitian=hermitian),
    shapes,
    scale=size,
)
case("linalg.pinv hermitian", lambda a: L.pinv(a, hermitian=True), squares(spd),
     fn=lambda a: tercel.linalg.pinv((a + a.mT) / 2, hermitian=True), scale=size)  # fmt: skip


def low_rank(s):
    """Rank 2 of 4 x 3, well separated from 0."""
    return tall(s, 4, 2) @ tall(s, 2, 3)


case("linalg.matrix_rank", lambda a, **k: L.matrix_rank(a, rtol=1e-5).astype(np.int64), lambda s: [
    Sample((low_rank(s),)), Sample((regular(s, 3),)), Sample((tall(s, 4, 3, 2),)), Sample((s.normal(0, 3),)),
], grad=False)  # fmt: skip


def lstsq(a, b):
    vector = b.ndim == 1
    x = L.pinv(a) @ (b[:, None] if vector else b)
    return x[..., 0] if vector else x


case("linalg.lstsq", lstsq, lambda s: [
    Sample((tall(s, 5, 3), s.normal(5, 2))), Sample((tall(s, 3, 5), s.normal(3, 2))), Sample((tall(s, 4, 2), s.normal(4))),
    Sample((tall(s, 5, 3, 2), s.normal(5, 2))), Sample((regular(s, 3), s.normal(2, 3, 1))),
], fn=lambda a, b: tercel.linalg.lstsq(a, b).solution, scale=size)  # fmt: skip


def expm(a):
    """Taylor series of A / 2^12, squared twelve times, with more digits than float64 where there are any."""
    x = a.astype(np.longdouble) / 4096
    result = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    term = result
    for k in range(1, 14):
        term = term @ x / k
        result = result + term
    for _ in range(12):
        result = result @ result
    return result.astype(np.float64)


for name in ("linalg.matrix_exp", "matrix_exp"):
    case(name, expm, lambda s: [*squares(regular)(s), Sample((s.normal(3, 3) * 4,))], scale=lambda a: np.asarray(64 * (1 + np.abs(expm(a)).max(initial=0))))  # fmt: skip
case("linalg.matrix_power", L.matrix_power, lambda s: [
    Sample((regular(s, 3), n)) for n in (0, 1, 3, -1, -2)
], scale=lambda a, n: size(L.matrix_power(a, n)))  # fmt: skip
case("linalg.multi_dot", L.multi_dot, lambda s: [
    Sample(([s.normal(3, 4), s.normal(4, 2), s.normal(2, 5)],)), Sample(([s.normal(3), s.normal(3, 4)],)),
], scale=lambda a: np.asarray(16.0))  # fmt: skip
case("linalg.matmul", np.matmul, lambda s: [Sample((s.normal(2, 3, 4), s.normal(4, 2)))], scale=lambda a, b: np.asarray(16.0))  # fmt: skip
case("linalg.cross", lambda a, b, dim=-1: np.cross(a, b, axis=dim), lambda s: [
    Sample((s.normal(4, 3), s.normal(4, 3))), Sample((s.normal(3, 2), s.normal(3, 2)), {"dim": 0}),
], scale=lambda a, b, dim=-1: np.asarray(16.0))  # fmt: skip
case("linalg.vecdot", lambda x, y, dim=-1: (x * y).sum(dim), lambda s: [
    Sample((s.normal(2, 5), s.normal(5))), Sample((s.normal(3, 2), s.normal(3, 2)), {"dim": 0}), Sample((s.normal(2, 0), s.normal(2, 0))),
], scale=lambda x, y, dim=-1: np.asarray(16.0))  # fmt: skip
case("linalg.diagonal", lambda a, offset=0: np.diagonal(a, offset, -2, -1), lambda s: [
    Sample((s.normal(2, 3, 4),)), Sample((s.normal(3, 4),), {"offset": 1}),
])  # fmt: skip
case("linalg.vander", lambda x, N=None: x[..., None] ** np.arange(x.shape[-1] if N is None else N), lambda s: [
    Sample((s.normal(4),)), Sample((s.positive(2, 3),), {"N": 5}), Sample((s.normal(3),), {"N": 1}), Sample((s.normal(2, 0),)),
], scale=lambda x, N=None: np.asarray(8 * (1 + np.abs(x).max(initial=0)) ** 5))  # fmt: skip


def matrix_norm(a, ord="fro", dim=(-2, -1), keepdim=False):
    return L.norm(a, ord, dim, keepdim)


ORDERS = ("fro", "nuc", 2, -2, 1, -1, math.inf, -math.inf)
case("linalg.matrix_norm", matrix_norm, lambda s: [
    *(Sample((tall(s, 3, 4) + 0.01 * s.normal(3, 4), ord)) for ord in ORDERS),
    *(Sample((s.normal(3, 2, 4), ord), {"dim": (2, 0), "keepdim": True}) for ord in ("fro", "nuc", 1)),
    Sample((s.normal(2, 0, 3),)),
], scale=size)  # fmt: skip
case("linalg.vector_norm", lambda x, ord=2, dim=None: (np.abs(x) ** ord).sum(dim) ** (1 / ord), lambda s: [
    Sample((s.distinct(2, 5),)), Sample((s.distinct(2, 5), 3, 1)),
], scale=size)  # fmt: skip
case("linalg.norm", lambda a, ord=None, dim=None: L.norm(a, ord, dim) if ord or dim or a.ndim < 3 else L.norm(a.ravel()), lambda s: [
    Sample((s.normal(3, 4),)), Sample((s.normal(3, 4), "nuc")), Sample((s.normal(5), 3)), Sample((s.normal(2, 3, 4), 1, (0, 2))),
    Sample((s.normal(2, 3, 4),)), Sample((s.normal(2, 3), 2, 1)),
], scale=size)  # fmt: skip
case("linalg.cond", lambda a, p=None: L.cond(a, p), lambda s: [
    *(Sample((regular(s, 3), p)) for p in (None, *ORDERS)), Sample((tall(s, 4, 3),)), Sample((regular(s, 2, 3), 1)),
], scale=lambda a, p=None: 8 * L.cond(a, p))  # fmt: skip
