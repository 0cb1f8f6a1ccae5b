"""Matrix products at the sizes of the figures table and of common layers."""

from . import case


def gemm(shape, m, n, k, ta=False, tb=False, quick=False, dtype="float32"):
    def inputs(s):
        return [s.normal(k, m) if ta else s.normal(m, k), s.normal(n, k) if tb else s.normal(k, n)]

    def fn(L, a, b):
        return L.mm(a, b)

    def prepare(L, a, b):
        return [a.t() if ta else a, b.t() if tb else b]

    size = {"float64": 8, "float32": 4}.get(dtype, 2)
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
for rows in (1, 4, 8, 16):
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


def at_precision(precision):
    def fn(L, a, b):
        L.set_float32_matmul_precision(precision)
        try:
            return L.mm(a, b)
        finally:
            L.set_float32_matmul_precision("highest")

    return fn


for precision in ("high", "medium"):  # AMX only; elsewhere float32
    for size in (512, 1024, 2048):
        case(
            f"mm f32 {precision}",
            f"{size}^3",
            inputs=lambda s, n=size: [s.normal(n, n), s.normal(n, n)],
            fn=at_precision(precision),
            flops=2.0 * size**3,
            bytes=12 * size**2,
            check=False,
        )


def linear(L, x, w, b):
    return L.nn.functional.linear(x, w, b)


def layer(rows, i, o, grad, dtype="float32", quick=False):
    case(
        "linear",
        f"{rows}x{i}x{o}",
        inputs=lambda s: [s.normal(rows, i), s.normal(o, i), s.normal(o)],
        fn=linear,
        dtype=dtype,
        flops=2.0 * rows * i * o * (3 if grad else 1),
        bytes=(4 if dtype == "float32" else 2) * (rows * i + i * o + rows * o) * (3 if grad else 1),
        grad=grad,
        quick=quick,
    )


for rows, i, o in ((32, 64, 64), (128, 768, 3072), (1, 4096, 4096), (16, 4096, 4096)):
    for grad in (False, True):
        layer(rows, i, o, grad, quick=rows == 128 and not grad)
for rows in (1, 4, 16, 128):  # what weight-only rows of bench/cases/quant.py are held against
    layer(rows, 4096, 4096, False, "bfloat16")
layer(128, 768, 3072, False, "bfloat16")
for dtype in ("float32", "bfloat16"):
    layer(1024, 768, 768, True, dtype, quick=dtype == "bfloat16")


# 16-bit formats: float32 sums, converted while loading below AMX.
for dtype in ("bfloat16", "float16"):
    gemm("512^3", 512, 512, 512, dtype=dtype)
    gemm("1024^3", 1024, 1024, 1024, dtype=dtype, quick=dtype == "bfloat16")
    gemm("2048^3", 2048, 2048, 2048, dtype=dtype)
    for rows in (1, 4, 8, 16):
        gemm(f"{rows}x4096x4096 nt", rows, 4096, 4096, tb=True, dtype=dtype)


def no_grad_call(L, layer, x):
    with L.no_grad():
        return layer(x)


def packed_layer(L, x, w):
    """The same with a weight that stays packed (AMX), against PyTorch's plain product."""
    if L.__name__ != "tercel":
        return [x, w]
    module = L.nn.Linear(w.shape[1], w.shape[0], bias=False)
    module.weight = L.nn.Parameter(w)
    return [x, L.nn.utils.pack_linear_(module)]


for dtype in ("bfloat16", "float16"):
    for rows, i, o in ((512,) * 3, (1024,) * 3, (2048,) * 3, (128, 768, 3072), (1, 4096, 4096)):
        case(
            "linear packed",
            f"{rows}x{i}x{o}",
            inputs=lambda s, rows=rows, i=i, o=o: [s.normal(rows, i), s.normal(o, i)],
            prepare=packed_layer,
            fn=lambda L, x, layer: no_grad_call(L, layer, x),
            theirs=lambda L, x, w: L.nn.functional.linear(x, w),
            dtype=dtype,
            flops=2.0 * rows * i * o,
            bytes=2 * (rows * i + i * o + rows * o),
        )


def scaled(shape, m, n, k, fmt, quick=False):
    """float8 operands with a scale per row and column; PyTorch has no such product on most processors, so it multiplies
    the decoded operands in float32."""

    def prepare(L, a, w, sa, sb):
        code = getattr(L, fmt)
        return [(a / sa).to(code), (w / sb).to(code).t(), sa, sb.reshape(1, -1)]

    case(
        "scaled_mm",
        f"{shape} {fmt[7:]}",
        inputs=lambda s: [
            s.normal(m, k),
            s.normal(n, k),
            s.uniform(m, 1, low=0.01, high=0.02),
            s.uniform(n, 1, low=0.01, high=0.02),
        ],
        prepare=prepare,
        fn=lambda L, a, b, sa, sb: L.scaled_matmul(a, b, sa, sb, out_dtype=L.float32),
        theirs=lambda L, a, b, sa, sb: (a.float() @ b.float()) * sa * sb,
        flops=2.0 * m * n * k,
        bytes=m * k + n * k + 4 * m * n,
        quick=quick,
    )


for fmt in ("float8_e4m3fn", "float8_e5m2"):
    scaled("512^3", 512, 512, 512, fmt)
    scaled("1024^3", 1024, 1024, 1024, fmt, quick=fmt.endswith("fn"))
    for rows in (1, 4, 16):
        scaled(f"{rows}x4096x4096", rows, 4096, 4096, fmt)

for dtype in ("float32", "bfloat16"):
    case(
        "linear_act",
        "gelu 128x768x3072",  # weights of unit gain, as in a network
        inputs=lambda s: [s.normal(128, 768), s.normal(3072, 768) * 768**-0.5, s.normal(3072)],
        fn=lambda L, x, w, b: L.linear_act(x, w, b, "gelu"),
        theirs=lambda L, x, w, b: L.nn.functional.gelu(L.nn.functional.linear(x, w, b)),
        dtype=dtype,
        flops=2.0 * 128 * 768 * 3072,
        quick=dtype == "float32",
    )
    case(
        "gated_linear",
        "silu 128x768x3072",
        inputs=lambda s: [s.normal(128, 768), s.normal(6144, 768)],
        fn=lambda L, x, w: L.gated_linear(x, w),
        theirs=lambda L, x, w: (lambda h: L.nn.functional.silu(h[:, :3072]) * h[:, 3072:])(
            L.nn.functional.linear(x, w)
        ),
        dtype=dtype,
        flops=2.0 * 128 * 768 * 6144,
    )
