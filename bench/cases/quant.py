"""Integer products and quantised linear layers. Peers: torch._int_mm, torch's quantize_dynamic (oneDNN), float32; in rows
of their own ONNX Runtime, where it is installed."""

import numpy as np

import onnx_peer

from . import case


def codes(*shape):
    rng = np.random.default_rng(0)
    return rng.integers(-128, 128, shape).astype(np.int8)


for size in (512, 1024, 2048):
    case(
        "int_matmul",
        f"{size}^3 s8",
        inputs=lambda s, n=size: [codes(n, n), codes(n, n)],
        fn=lambda L, a, b: L.int_matmul(a, b),
        theirs=lambda L, a, b: L._int_mm(a, b),
        flops=2.0 * size**3,
        bytes=2 * size**2 + 4 * size**2,
        quick=size == 1024,
    )


for size in (512, 1024, 2048):  # torch._int_mm takes signed codes only: those are its row
    case(
        "int_matmul",
        f"{size}^3 u8s8",
        inputs=lambda s, n=size: [codes(n, n), codes(n, n)],
        prepare=lambda L, a, b: [a.view(L.uint8) if L.__name__ == "tercel" else a, b],
        fn=lambda L, a, b: L.int_matmul(a, b, zero_point_a=128),
        theirs=lambda L, a, b: L._int_mm(a, b),
        flops=2.0 * size**3,
        bytes=2 * size**2 + 4 * size**2,
        check=False,
    )


for size in (512, 1024, 2048):
    case(
        "int_matmul packed",
        f"{size}^3 s8",
        inputs=lambda s, n=size: [codes(n, n), s.normal(n, n)],
        prepare=lambda L, a, w: (
            [a, L.quantization.quantize(w, "int8")]
            if L.__name__ == "tercel"
            else [a, (w * 40).to(L.int8).t()]
        ),
        fn=lambda L, a, w: L.int_matmul(a, w),
        theirs=lambda L, a, w: L._int_mm(a, w),
        flops=2.0 * size**3,
        bytes=2 * size**2 + 4 * size**2,
        check=False,
        quick=size == 1024,
    )


def quantised(scheme):
    def prepare(L, x, w):
        if L.__name__ == "tercel":
            return [x, L.quantization.quantize(w, scheme)]
        if scheme != "int8-dynamic":
            return [x, w]
        layer = L.nn.Linear(w.shape[1], w.shape[0], bias=False)
        layer.weight = L.nn.Parameter(w)
        return [x, L.ao.quantization.quantize_dynamic(L.nn.Sequential(layer), {L.nn.Linear})]

    return prepare


def theirs(L, x, w):
    return w(x) if isinstance(w, L.nn.Module) else L.nn.functional.linear(x, w)


BITS = {"int8": 8, "fp8": 8, "int4": 4.25, "int4-g32": 5, "nf4": 4.5, "mxfp4": 4.25, "mxfp8": 8.25}
for m, k, n in ((1, 4096, 4096), (16, 4096, 4096), (128, 768, 3072), (1024, 1024, 1024)):
    case(
        "linear int8-dynamic",
        f"{m}x{k}x{n}",
        inputs=lambda s, m=m, k=k, n=n: [s.normal(m, k), s.normal(n, k)],
        prepare=quantised("int8-dynamic"),
        fn=lambda L, x, w: L.nn.functional.linear(x, w),
        theirs=theirs,
        flops=2.0 * m * n * k,
        bytes=n * k + 4 * (m * k + m * n),
        check=False,
        quick=m == 128,
    )
for scheme, width in BITS.items():
    for m in (1, 4, 16, 128):
        if m > 4 and scheme not in ("int8", "fp8", "int4"):
            continue
        case(
            f"linear {scheme}",
            f"{m}x4096x4096",
            inputs=lambda s, m=m: [s.normal(m, 4096), s.normal(4096, 4096)],
            prepare=quantised(scheme),
            fn=lambda L, x, w: L.nn.functional.linear(x, w),
            theirs=theirs,  # float32
            flops=2.0 * m * 4096 * 4096,
            bytes=width / 8 * 4096 * 4096 + 8 * m * 4096,
            check=False,
            quick=scheme == "int4" and m == 1,
        )


def against_onnx(scheme, peer):
    """Row of a scheme with ONNX Runtime in the place of PyTorch."""

    def prepare(L, x, w):
        if L.__name__ == "tercel":
            return [x, L.quantization.quantize(w, scheme)]
        return [peer(x.numpy(), w.numpy(), L.get_num_threads())]

    return prepare


if onnx_peer.AVAILABLE:
    for scheme, rows, peer in (
        ("int8-dynamic", (1, 16, 128, 1024), onnx_peer.dynamic_int8),
        ("int4-g32", (1, 4, 16, 128), lambda x, w, threads: onnx_peer.int4(x, w, 32, threads)),
    ):
        for m in rows:
            n = k = 1024 if m == 1024 else 4096
            case(
                f"linear {scheme} (ONNX Runtime)",
                f"{m}x{k}x{n}",
                inputs=lambda s, m=m, k=k, n=n: [s.normal(m, k), s.normal(n, k)],
                prepare=against_onnx(scheme, peer),
                fn=lambda L, x, w: L.nn.functional.linear(x, w),
                theirs=lambda L, run: run(),
                flops=2.0 * m * n * k,
                bytes=n * k * (5 / 8 if scheme == "int4-g32" else 1) + 4 * m * (n + k),
                check=False,
            )
