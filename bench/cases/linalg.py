"""Linear algebra: one 256 x 256 matrix and a batch of small ones; LAPACK's speed, and what the way there costs."""

import numpy as np

from . import case

N, BATCH, SMALL = 256, 256, 8


def definite(a):
    return a @ a.swapaxes(-1, -2) / a.shape[-1] + np.eye(a.shape[-1], dtype=a.dtype)


def one(s):
    return [definite(s.normal(N, N))]


def many(s):
    return [definite(s.normal(BATCH, SMALL, SMALL))]


OPS = {
    "cholesky": (lambda L, a: L.linalg.cholesky(a), 1 / 3),
    "eigh": (lambda L, a: L.linalg.eigh(a)[0], 9),
    "inv": (lambda L, a: L.linalg.inv(a), 2),
    "qr": (lambda L, a: L.linalg.qr(a)[1], 8 / 3),
    "solve": (lambda L, a: L.linalg.solve(a, a[..., :1]), 2 / 3),
    "svd": (lambda L, a: L.linalg.svd(a)[1], 21),
}
for name, (f, flops) in OPS.items():
    case(f"linalg.{name}", f"{N}x{N}", one, f, flops=flops * N**3, check=False)
    case(
        f"linalg.{name}",
        f"{BATCH}x{SMALL}x{SMALL}",
        many,
        f,
        flops=flops * BATCH * SMALL**3,
        check=False,
    )
