"""Matrix products: oracles are NumPy's in float64, tolerance k eps |A| |B|."""

import numpy as np

from . import DOT, FLOATS, Sample, case

PRODUCTS = [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((17, 33), (33, 31)), ((5, 0), (0, 3)), ((0, 4), (4, 3)),
    ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 6)), ((3, 4), (2, 4, 5)),
    ((4,), (4, 5)), ((3, 4), (4,)), ((7,), (7,)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)), ((0,), (0,)),
]  # fmt: skip


def products(s):
    return [Sample((s.normal(*a), s.normal(*b))) for a, b in PRODUCTS]


def magnitude(a, b, **_):
    return np.matmul(np.abs(a), np.abs(b))


case(
    "matmul",
    oracle=np.matmul,
    scale=magnitude,
    samples=products,
    dtypes=FLOATS,
    tol=DOT,
    large=lambda s: Sample((s.normal(3, 130, 300), s.normal(300, 270))),
)
case(
    "matmul_rows",
    fn="matmul",
    oracle=np.matmul,
    scale=magnitude,
    samples=lambda s: [Sample((s.normal(5, 2, 9), s.normal(9, 7)))],
    dtypes=FLOATS,
    tol=DOT,
    batch=(0,),
)
case(
    "mm",
    oracle=np.matmul,
    scale=magnitude,
    samples=lambda s: [Sample((s.normal(*a), s.normal(*b))) for a, b in PRODUCTS[:5]],
    tol=DOT,
    batch=(0,),
    large=lambda s: Sample((s.normal(333, 600), s.normal(600, 257))),
)
case(
    "bmm",
    oracle=np.matmul,
    scale=magnitude,
    samples=lambda s: [
        Sample((s.normal(2, 3, 4), s.normal(2, 4, 5))),
        Sample((s.normal(33, 8, 8), s.normal(33, 8, 8))),
        Sample((s.normal(0, 3, 4), s.normal(0, 4, 5))),
    ],
    tol=DOT,
    batch=(0, 1),
)
case(
    "mv",
    oracle=np.matmul,
    scale=magnitude,
    samples=lambda s: [
        Sample((s.normal(m, k), s.normal(k))) for m, k in ((3, 4), (17, 33), (2, 0), (0, 2))
    ],
    tol=DOT,
)
case(
    "dot",
    oracle=np.dot,
    scale=lambda a, b: np.dot(np.abs(a), np.abs(b)),
    samples=lambda s: [Sample((s.normal(n), s.normal(n))) for n in s.sizes],
    tol=DOT,
)
case(
    "outer",
    oracle=np.outer,
    scale=lambda a, b: np.abs(np.outer(a, b)),
    samples=lambda s: [Sample((s.normal(3), s.normal(5))), Sample((s.normal(0), s.normal(2)))],
    tol=DOT,
)


def add_product(input, a, b, beta=1, alpha=1):
    return beta * input + alpha * np.matmul(a, b)


def add_magnitude(input, a, b, beta=1, alpha=1):
    return np.abs(beta * input) + np.abs(alpha) * np.matmul(np.abs(a), np.abs(b))


case(
    "addmm",
    oracle=add_product,
    scale=add_magnitude,
    samples=lambda s: [
        Sample((s.normal(3, 5), s.normal(3, 4), s.normal(4, 5))),
        Sample((s.normal(5), s.normal(3, 4), s.normal(4, 5)), dict(beta=0.5, alpha=-2.0)),
        Sample((s.normal(17, 1), s.normal(17, 4), s.normal(4, 33)), dict(beta=2.0)),
        Sample((s.normal(3, 5), s.normal(3, 0), s.normal(0, 5)), dict(beta=2.0)),
    ],
    tol=DOT,
    inplace=None,
)
case(
    "baddbmm",
    oracle=add_product,
    scale=add_magnitude,
    samples=lambda s: [
        Sample((s.normal(2, 3, 5), s.normal(2, 3, 4), s.normal(2, 4, 5))),
        Sample(
            (s.normal(1, 3, 5), s.normal(2, 3, 4), s.normal(2, 4, 5)), dict(beta=0.5, alpha=3.0)
        ),
    ],
    tol=DOT,
)
case(
    "addbmm",
    oracle=lambda c, a, b, beta=1, alpha=1: beta * c + alpha * np.matmul(a, b).sum(0),
    scale=lambda c, a, b, beta=1, alpha=1: (
        np.abs(c) + abs(alpha) * np.matmul(np.abs(a), np.abs(b)).sum(0)
    ),
    samples=lambda s: [
        Sample((s.normal(3, 5), s.normal(2, 3, 4), s.normal(2, 4, 5)), dict(alpha=2.0))
    ],
    tol=DOT,
)
case(
    "addmv",
    oracle=add_product,
    scale=add_magnitude,
    samples=lambda s: [Sample((s.normal(3), s.normal(3, 4), s.normal(4)), dict(beta=0.5))],
    tol=DOT,
)
case(
    "addr",
    oracle=lambda c, a, b, beta=1, alpha=1: beta * c + alpha * np.outer(a, b),
    scale=lambda c, a, b, beta=1, alpha=1: np.abs(c) + np.abs(alpha * np.outer(a, b)),
    samples=lambda s: [Sample((s.normal(3, 5), s.normal(3), s.normal(5)), dict(alpha=2.0))],
    tol=DOT,
)


def linear(x, w, b=None):
    y = np.matmul(x, np.atleast_2d(w).T)
    y = y if w.ndim == 2 else y[..., 0]
    return y if b is None else y + b


case(
    "linear",
    oracle=linear,
    scale=lambda x, w, b=None: linear(np.abs(x), np.abs(w), None if b is None else np.abs(b)),
    samples=lambda s: [
        Sample((s.normal(3, 4), s.normal(5, 4), s.normal(5))),
        Sample((s.normal(2, 3, 4), s.normal(5, 4), s.normal(5))),
        Sample((s.normal(0, 4), s.normal(5, 4), s.normal(5))),
        Sample((s.normal(17, 33), s.normal(31, 33))),
    ],
    tol=DOT,
    batch=(0,),
    large=lambda s: Sample((s.normal(70, 600), s.normal(300, 600), s.normal(300))),
)
case(
    "linear_1d",
    fn="linear",
    oracle=linear,
    scale=lambda x, w, b=None: linear(np.abs(x), np.abs(w), None if b is None else np.abs(b)),
    samples=lambda s: [
        Sample((s.normal(4), s.normal(5, 4), s.normal(5))),
        Sample((s.normal(3, 4), s.normal(4))),
    ],
    tol=DOT,
)
case(
    "bilinear",
    oracle=lambda x, y, w, b: np.einsum("...i,oij,...j->...o", x, w, y) + b,
    scale=lambda x, y, w, b: np.einsum("...i,oij,...j->...o", *map(np.abs, (x, w, y))) + np.abs(b),
    samples=lambda s: [Sample((s.normal(3, 4), s.normal(3, 5), s.normal(6, 4, 5), s.normal(6)))],
    dtypes=("float32", "float64"),
    tol=DOT,
)

EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 5)), ("bij,bjk", (2, 3, 4), (2, 4, 5)), ("ii->i", (4, 4)), ("ii", (4, 4)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 6)), ("ij->j", (3, 4)), ("i,j->ij", (3,), (4,)),
    ("ij,ij->", (3, 4), (3, 4)), ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("ba,ca", (2, 3), (4, 3)),
    ("i...,...j", (3, 2), (2, 5)), ("iij,jkk->ik", (3, 3, 2), (2, 4, 4)),
]  # fmt: skip
for equation, *shapes in EINSUMS:
    case(
        f"einsum_{equation}",
        fn=lambda *xs, e=equation: __import__("tercel").einsum(e, *xs),
        oracle=lambda *xs, e=equation: np.einsum(e, *xs),
        scale=lambda *xs, e=equation: np.einsum(e, *map(np.abs, xs)),
        samples=lambda s, shapes=shapes: [Sample(tuple(s.normal(*shape) for shape in shapes))],
        dtypes=("float32", "float64"),
        tol=DOT,
        bad=False,
    )
case(
    "tensordot",
    oracle=lambda a, b, dims: np.tensordot(a, b, dims),
    scale=lambda a, b, dims: np.tensordot(np.abs(a), np.abs(b), dims),
    samples=lambda s: [
        Sample((s.normal(3, 4, 5), s.normal(4, 5, 2)), dict(dims=2)),
        Sample((s.normal(3, 4, 5), s.normal(4, 2, 3)), dict(dims=([1, 0], [0, 2]))),
    ],
    dtypes=("float32", "float64"),
    tol=DOT,
)
case(
    "kron",
    oracle=np.kron,
    scale=lambda a, b: np.abs(np.kron(a, b)),
    samples=lambda s: [
        Sample((s.normal(3, 4), s.normal(2, 5))),
        Sample((s.normal(3), s.normal(2))),
    ],
    tol=DOT,
)
case(
    "matrix_power",
    oracle=np.linalg.matrix_power,
    scale=lambda a, n: np.linalg.matrix_power(np.abs(a), n) * max(n, 1),
    samples=lambda s: [Sample((s.normal(3, 3),), dict(n=n)) for n in (0, 1, 2, 5)],
    dtypes=("float32", "float64"),
    tol=DOT,
)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "none": lambda v: v,
    "relu": lambda v: np.maximum(v, 0),
    "silu": lambda v: v * sigmoid(v),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
}


def linear_act(x, w, b=None, activation="none", residual=0.0):
    return ACTIVATIONS[activation](linear(x, w, b)) + residual


def linear_act_scale(x, w, b=None, activation="none", residual=0.0):
    size = linear(np.abs(x), np.abs(w), None if b is None else np.abs(b))
    return 1.2 * size + np.abs(residual) + 1.0  # slopes are at most 1.13


case(
    "linear_act",
    oracle=linear_act,
    scale=linear_act_scale,
    samples=lambda s: (
        [
            Sample(
                (s.normal(5, 7), s.normal(9, 7), s.normal(9)),
                dict(activation=name, residual=s.normal(5, 9)),
            )
            for name in ACTIVATIONS
        ]
        + [
            Sample((s.normal(2, 3, 4), s.normal(5, 4))),
            Sample((s.normal(4), s.normal(5, 4), s.normal(5))),
        ]
    ),
    tol=DOT,
    batch=(),
)
case(
    "gated_linear",
    oracle=lambda x, w, b=None, activation="silu": (
        lambda h: ACTIVATIONS[activation](h[..., : w.shape[0] // 2]) * h[..., w.shape[0] // 2 :]
    )(linear(x, w, b)),
    scale=lambda x, w, b=None, activation="silu": (
        lambda h: (1.2 * h[..., : w.shape[0] // 2] + 1.0) * (h[..., w.shape[0] // 2 :] + 1.0)
    )(linear(np.abs(x), np.abs(w), None if b is None else np.abs(b))),
    samples=lambda s: [
        Sample((s.normal(5, 7), s.normal(10, 7), s.normal(10))),
        Sample((s.normal(2, 3, 4), s.normal(6, 4)), dict(activation="sigmoid")),
        Sample((s.normal(0, 4), s.normal(6, 4))),
    ],
    dtypes=("float32", "bfloat16", "float16"),
    tol=DOT,
    grad=False,
    batch=(0,),
)
case(
    "scaled_matmul",
    oracle=lambda a, b, sa=1.0, sb=1.0: np.matmul(a * sa, b * sb),
    scale=lambda a, b, sa=1.0, sb=1.0: np.matmul(np.abs(a * sa), np.abs(b * sb)),
    samples=lambda s: [
        Sample((s.normal(3, 4), s.normal(4, 5))),
        Sample((s.normal(17, 33), s.normal(33, 31))),
        Sample((s.normal(2, 3, 0), s.normal(0, 5))),
    ],
    dtypes=("float32", "bfloat16", "float16"),
    tol=DOT,
    grad=False,
)
