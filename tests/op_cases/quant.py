"""Quantisation: oracles in NumPy from the formula. Codes are compared exactly; x / scale is x * (1 / scale) in
float32, as the op defines it."""

import numpy as np

from . import EXACT, ROUND, Sample, case

F32 = np.float32


def steps(x, scale):
    return x.astype(F32) * (F32(1) / np.asarray(scale, F32))


def integers(x, scale, zero, low, high):
    t = np.rint(steps(x, scale)).astype(F32) + np.asarray(zero, F32)
    return np.where(np.isnan(t), np.broadcast_to(zero, t.shape), np.clip(t, low, high))


SHAPES = [(7,), (3, 17), (2, 3, 5), (0, 4), (33, 257), ()]

for name, low, high in (("int8", -128, 127), ("uint8", 0, 255)):
    case(
        f"quantize_per_tensor_{name}",
        fn=lambda x, name=name: __import__("tercel").quantize_per_tensor(
            x, 0.037, 3, getattr(__import__("tercel"), name)
        ),
        oracle=lambda x, low=low, high=high, name=name: integers(x, F32(0.037), 3, low, high).astype(name),
        samples=lambda s: [Sample((s.normal(*shape, scale=4.0),)) for shape in SHAPES],
        dtypes=("float32", "bfloat16", "float16"),
        tol=EXACT,
        grad=False,
        large=lambda s: Sample((s.normal(300, 401),)),
    )  # fmt: skip

case(
    "fake_quantize_per_tensor_affine",
    oracle=lambda x, scale, zero_point, quant_min, quant_max: (
        (integers(x, F32(scale), zero_point, quant_min, quant_max) - F32(zero_point)) * F32(scale)
    ),
    samples=lambda s: [
        Sample(
            (s.normal(*shape, scale=4.0),),
            dict(scale=0.05, zero_point=2, quant_min=-100, quant_max=90),
        )
        for shape in SHAPES
    ],
    dtypes=("float32", "bfloat16", "float16"),
    tol=ROUND,
    grad=False,  # straight-through: tests/test_quant.py
    large=lambda s: Sample(
        (s.normal(300, 401),), dict(scale=0.02, zero_point=0, quant_min=-8, quant_max=7)
    ),
)


def int_product(a, b):
    return (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)


def narrow(a, b):
    import tercel

    return tercel.int_matmul(a.to(tercel.int8), b.to(tercel.int8))


case(
    "int_matmul",
    fn=narrow,
    oracle=int_product,
    samples=lambda s: [
        Sample((s.ints(m, k, low=-128, high=128), s.ints(k, n, low=-128, high=128)))
        for m, n, k in ((1, 1, 1), (3, 5, 7), (17, 33, 66), (2, 3, 0), (0, 3, 4), (15, 16, 64))
    ],
    dtypes=("float32",),  # the operands are integers in any case
    tol=EXACT,
    grad=False,
    bad=False,
)
