"""Reductions and scans over 64 MB; bytes = one read (scans: and one write)."""

from . import case

N = 4096
BYTES = 4 * N * N

OPS = {
    "sum": lambda L, x, *dim: x.sum(*dim),
    "mean": lambda L, x, *dim: x.mean(*dim),
    "amax": lambda L, x, *dim: x.amax(*dim) if dim else x.max(),
    "argmax": lambda L, x, *dim: x.argmax(*dim),
    "var": lambda L, x, *dim: x.var(*dim),
}


def matrix(s):
    return [s.normal(N, N)]


for name, f in OPS.items():
    for dim in (0, 1):
        case(name, f"4096x4096 dim {dim}", matrix, (lambda L, x, f=f, d=dim: f(L, x, d)), bytes=BYTES,
             quick=name == "sum")  # fmt: skip
    case(name, "4096x4096 all", matrix, f, bytes=BYTES)
for dim in (0, 1):
    case(
        "logsumexp",
        f"4096x4096 dim {dim}",
        matrix,
        (lambda L, x, d=dim: L.logsumexp(x, d)),
        bytes=BYTES,
    )
    case(
        "cumsum",
        f"4096x4096 dim {dim}",
        matrix,
        (lambda L, x, d=dim: L.cumsum(x, d)),
        bytes=2 * BYTES,
    )
    case("norm", f"4096x4096 dim {dim}", matrix, (lambda L, x, d=dim: L.norm(x, 2, d)), bytes=BYTES)
case(
    "sum",
    "256x64x1024 dim 1",
    lambda s: [s.normal(256, 64, 1024)],
    lambda L, x: x.sum(1),
    bytes=BYTES,
)
case("sum", "32x64x56x56 dims 0 2 3", lambda s: [s.normal(32, 64, 56, 56)], lambda L, x: x.sum((0, 2, 3)),
     bytes=4 * 32 * 64 * 56 * 56)  # fmt: skip
case(
    "sum",
    "512x512 dim 0",
    lambda s: [s.normal(512, 512)],
    lambda L, x: x.sum(0),
    bytes=4 * 512 * 512,
)
case(
    "sum",
    "512x512 dim 1",
    lambda s: [s.normal(512, 512)],
    lambda L, x: x.sum(1),
    bytes=4 * 512 * 512,
)
case(
    "sum", "bf16 4096x4096 dim 1", matrix, lambda L, x: x.sum(1), dtype="bfloat16", bytes=BYTES // 2
)
