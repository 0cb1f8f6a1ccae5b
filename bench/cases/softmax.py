"""Softmax: small (in the cache) and large (64 MB)."""

from . import case

SHAPES = {"512x256": (512, 256), "8192x2048": (8192, 2048)}

for label, shape in SHAPES.items():
    size = 4 * shape[0] * shape[1]

    def inputs(s, shape=shape):
        return [s.normal(*shape)]

    quick = label == "8192x2048"
    case("softmax", label, inputs, lambda L, x: L.softmax(x, -1), bytes=2 * size, quick=quick)
    case("softmax", label, inputs, lambda L, x: L.softmax(x, -1), bytes=5 * size, grad=True)
    case("log_softmax", label, inputs, lambda L, x: L.log_softmax(x, -1), bytes=2 * size)
    case("log_softmax", label, inputs, lambda L, x: L.log_softmax(x, -1), bytes=5 * size, grad=True)
case(
    "softmax",
    "4096x4096 dim 0",
    lambda s: [s.normal(4096, 4096)],
    lambda L, x: L.softmax(x, 0),
    bytes=2 * 4 * 4096**2,
)
case("softmax", "bf16 8192x2048", lambda s: [s.normal(8192, 2048)], lambda L, x: L.softmax(x, -1), dtype="bfloat16",
     bytes=2 * 2 * 8192 * 2048)  # fmt: skip
