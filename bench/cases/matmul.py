"""Matrix products at the sizes of the figures table and of common layers."""

from . import case


def gemm(shape, m, n, k, ta=False, tb=False, quick=False, dtype="float32"):
    def inputs(s):
        return [s.normal(k, m) if ta else s.normal(m, k), s.normal(n, k) if tb else s.normal(k, n)]

    def fn(L, a, b):
        return L.mm(a, b)

    def prepare(L, a, b):
        return [a.t() if ta else a, b.t() if tb else b]

    size = 8 if dtype == "float64" else 4
    case(
        "mm",
        shape,
        inputs=inputs,
        prepare=prepare,
        fn=fn,
        dtype=dtype,
        flops=2.0 * m * n * k,
        bytes=size * (m * k + n * k + m * n),
        quick=quick,
    )


for size in (32, 64, 128, 256, 512, 1024, 2048):
    gemm(f"{size}^3", size, size, size, quick=size in (256, 1024))
gemm("1024^3 tn", 1024, 1024, 1024, ta=True)
gemm("1024^3 nt", 1024, 1024, 1024, tb=True)
gemm("1024^3 tt", 1024, 1024, 1024, ta=True, tb=True)
gemm("1000x333x777", 1000, 333, 777)
gemm("512^3", 512, 512, 512, dtype="float64")
for rows in (1, 4, 16):
    gemm(f"{rows}x4096x4096", rows, 4096, 4096, quick=rows == 1)
    gemm(f"{rows}x4096x4096 nt", rows, 4096, 4096, tb=True)
for b, m, n, k in ((96, 128, 128, 64), (4096, 8, 8, 8)):
    case(
        "bmm",
        f"{b}x{m}x{k}x{n}",
        inputs=lambda s, b=b, m=m, n=n, k=k: [s.normal(b, m, k), s.normal(b, k, n)],
        fn=lambda L, x, y: L.bmm(x, y),
        flops=2.0 * b * m * n * k,
        bytes=4 * b * (m * k + k * n + m * n),
        quick=b == 96,
    )


def linear(L, x, w, b):
    return L.nn.functional.linear(x, w, b)


for rows, i, o in ((32, 64, 64), (128, 768, 3072), (1, 4096, 4096), (16, 4096, 4096)):
    for grad in (False, True):
        case(
            "linear",
            f"{rows}x{i}x{o}",
            inputs=lambda s, rows=rows, i=i, o=o: [s.normal(rows, i), s.normal(o, i), s.normal(o)],
            fn=linear,
            flops=2.0 * rows * i * o * (3 if grad else 1),
            bytes=4 * (rows * i + i * o + rows * o) * (3 if grad else 1),
            grad=grad,
            quick=rows == 128 and not grad,
        )
