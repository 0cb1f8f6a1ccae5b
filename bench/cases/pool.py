"""Pooling layers of ResNet and a global average."""

from . import case

SHAPE = (8, 64, 112, 112)
SIZE = 8 * 64 * 112 * 112
ROWS = {
    "max_pool2d": ("3x3s2_8x64x112", lambda L, x: L.max_pool2d(x, 3, 2, 1)),
    "avg_pool2d": ("2x2_8x64x112", lambda L, x: L.nn.functional.avg_pool2d(x, 2)),
    "adaptive_avg_pool2d": ("1x1_8x64x112", lambda L, x: L.nn.functional.adaptive_avg_pool2d(x, 1)),
}

for op, (shape, fn) in ROWS.items():
    for grad in (False, True):
        out = SIZE if op == "adaptive_avg_pool2d" else 4
        case(
            op,
            shape,
            inputs=lambda s: [s.normal(*SHAPE)],
            fn=fn,
            bytes=4.0 * SIZE * (2.5 if grad else 1.25) if out == 4 else 4.0 * SIZE * (1 + grad),
            grad=grad,
            quick=op == "max_pool2d",
        )
