"""Elementwise ops: one at a time on 64 MB (bound by memory), small tensors (bound by the call), broadcasts."""

from . import case

N = 4096  # N x N float32 = 64 MB
MB64 = 4 * N * N


def one(name, quick=False, low=None, **kwargs):
    inputs = (
        (lambda s: [s.normal(N, N)])
        if low is None
        else (lambda s: [s.uniform(N, N, low=low, high=4.0)])
    )
    functional = kwargs.pop("functional", False)

    def ours(L, x):
        return getattr(L.nn.functional if functional else L, name)(x, **kwargs)

    label = "64MB" + "".join(f" {v}" for v in kwargs.values())
    case(name, label, inputs=inputs, fn=ours, bytes=2 * MB64, quick=quick)


for f in ("exp", "tanh", "sigmoid"):
    one(f, quick=True)
for f in ("neg", "abs", "sin", "cos", "erf", "expm1", "round", "relu"):
    one(f)
for f in ("log", "sqrt", "rsqrt", "log1p", "lgamma"):
    one(f, low=0.1)
for f in ("silu", "elu", "softplus", "hardswish", "mish"):
    one(f, functional=True)
one("gelu", quick=True, functional=True)
one("gelu", functional=True, approximate="tanh")

for op in ("add", "mul", "div", "maximum", "atan2", "pow"):
    case(op, "64MB", quick=op == "add", bytes=3 * MB64,
         inputs=lambda s: [s.uniform(N, N, low=0.5, high=2.0), s.uniform(N, N, low=0.5, high=2.0)],
         fn=lambda L, a, b, op=op: getattr(L, op)(a, b))  # fmt: skip
case(
    "mul", "64MB scalar", inputs=lambda s: [s.normal(N, N)], fn=lambda L, x: x * 1.5, bytes=2 * MB64
)
case("add", "64MB bfloat16", dtype="bfloat16", bytes=3 * MB64,
     inputs=lambda s: [s.normal(2 * N, N), s.normal(2 * N, N)], fn=lambda L, a, b: a + b)  # fmt: skip
case("add", "bias 8192x1024", bytes=2 * 4 * 8192 * 1024,
     inputs=lambda s: [s.normal(8192, 1024), s.normal(1024)], fn=lambda L, a, b: a + b)  # fmt: skip
case("add", "channel 32x64x56x56", bytes=2 * 4 * 32 * 64 * 56 * 56,
     inputs=lambda s: [s.normal(32, 64, 56, 56), s.normal(1, 64, 1, 1)], fn=lambda L, a, b: a + b)  # fmt: skip
case("add", "transposed 2048x2048", bytes=3 * 4 * 2048 * 2048,
     inputs=lambda s: [s.normal(2048, 2048), s.normal(2048, 2048)], fn=lambda L, a, b: a + b.T)  # fmt: skip
case("gt", "64MB", inputs=lambda s: [s.normal(N, N)], fn=lambda L, x: x > 0, bytes=1.25 * MB64)
case("where", "64MB", bytes=3.25 * MB64,
     inputs=lambda s: [s.bools(N, N), s.normal(N, N), s.normal(N, N)], fn=lambda L, c, a, b: L.where(c, a, b))  # fmt: skip
case(
    "clamp",
    "64MB",
    inputs=lambda s: [s.normal(N, N)],
    fn=lambda L, x: L.clamp(x, -1, 1),
    bytes=2 * MB64,
)
case("add_", "64MB", inputs=lambda s: [s.normal(N, N), s.normal(N, N)], fn=lambda L, a, b: a.add_(b), bytes=3 * MB64,
     check=False)  # fmt: skip

for op in ("add", "mul", "exp", "relu"):
    two = op in ("add", "mul")
    case(op, "64", inputs=lambda s, two=two: [s.normal(64)] * (2 if two else 1),
         fn=lambda L, *x, op=op: getattr(L, op)(*x), bytes=0)  # fmt: skip
    case(op, "16384", inputs=lambda s, two=two: [s.normal(16384)] * (2 if two else 1),
         fn=lambda L, *x, op=op: getattr(L, op)(*x), bytes=0)  # fmt: skip

case("gelu", "8192x1024", grad=True, inputs=lambda s: [s.normal(8192, 1024)], bytes=5 * 4 * 8192 * 1024,
     fn=lambda L, x: L.nn.functional.gelu(x))  # fmt: skip
case("mul", "8192x1024", grad=True, inputs=lambda s: [s.normal(8192, 1024), s.normal(8192, 1024)],
     bytes=8 * 4 * 8192 * 1024, fn=lambda L, a, b: a * b)  # fmt: skip

# ---- copies ----------------------------------------------------------------------------------------
case(
    "clone",
    "64MB",
    inputs=lambda s: [s.normal(N, N)],
    fn=lambda L, x: x.clone(),
    bytes=2 * MB64,
    quick=True,
)
case("transpose", "4096x4096", inputs=lambda s: [s.normal(N, N)], fn=lambda L, x: x.T.contiguous(), bytes=2 * MB64,
     quick=True)  # fmt: skip
case(
    "transpose",
    "512x512",
    inputs=lambda s: [s.normal(512, 512)],
    fn=lambda L, x: x.T.contiguous(),
    bytes=2 << 20,
)
case("transpose", "4096x4096 bfloat16", dtype="bfloat16", inputs=lambda s: [s.normal(N, N)],
     fn=lambda L, x: x.T.contiguous(), bytes=MB64)  # fmt: skip
case("permute", "8x12x256x64 heads", inputs=lambda s: [s.normal(8, 12, 256, 64)],
     fn=lambda L, x: x.transpose(1, 2).contiguous(), bytes=2 * 4 * 8 * 12 * 256 * 64)  # fmt: skip
case("permute", "32x64x56x56 nhwc", inputs=lambda s: [s.normal(32, 64, 56, 56)],
     fn=lambda L, x: x.permute(0, 2, 3, 1).contiguous(), bytes=2 * 4 * 32 * 64 * 56 * 56)  # fmt: skip
case("cast", "64MB to bfloat16", inputs=lambda s: [s.normal(N, N)], fn=lambda L, x: x.to(L.bfloat16), bytes=1.5 * MB64,
     quick=True)  # fmt: skip
case("cast", "32MB bfloat16 to float32", dtype="bfloat16", inputs=lambda s: [s.normal(N, N)],
     fn=lambda L, x: x.to(L.float32), bytes=1.5 * MB64)  # fmt: skip
