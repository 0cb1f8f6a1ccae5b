"""Our CUDA kernels on one GPU, beside PyTorch's when it is installed: timings, correctness, the card.

    python tools/gpu/bench.py --probe                 card, copy bandwidth, PyTorch's 8192^3 bf16 product
    python tools/gpu/bench.py --check [--small]       products against float64, odd shapes, each twice
    python tools/gpu/bench.py [--only TEXT] --csv DIR timings, one dated CSV and a table with the targets
    python tools/gpu/bench.py --sweep                 products over a grid of shapes

--seconds N ends the timings after N seconds; rows that were not reached are listed as "not measured". So are all of
them, in <date>-no-gpu-ops.csv, where there is no GPU.
Inputs are random and rotate through more than 120 MB so that no call finds them in the L2 cache; the two libraries
take turns. ratio = PyTorch's time / ours. Targets (S1: portable kernels, S2: sm_90a) are ratios on an H200.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def module(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch, tercel = module("torch"), module("tercel")
DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "int8": 1, "fp8": 1}
RATE = {
    "f32": 50e12,
    "tf32": 412e12,
    "bf16": 790e12,
    "f16": 790e12,
    "int8": 1500e12,
    "fp8": 1550e12,
}
COPY = 4.3e12
ROTATE = 120 << 20


class Row:
    """One comparison. make(lib) gives the inputs of a call, op(lib, *inputs) is what is timed."""

    def __init__(self, name, dtype, floor_us, targets, make, op, theirs=None):
        self.name, self.dtype, self.floor_us, self.targets = name, dtype, floor_us, targets
        self.make, self.op, self.theirs = make, op, theirs or op


def normal(lib: Any, *shape: int, dtype: str = "f32", grad: bool = False) -> Any:
    x = lib.randn(*shape, device="cuda").to(getattr(lib, DTYPES[dtype]))
    return x.requires_grad_(True) if grad else x


def product(m, n, k, dtype, targets=("", ""), rate="", epilogue=False) -> Row:
    floor = max(2 * m * n * k / RATE[rate or dtype], (m * k + n * k + m * n) * BYTES[dtype] / COPY)

    def op(lib, x, w, b):
        if not epilogue:
            return lib.nn.functional.linear(x, w)
        if lib is tercel:
            return tercel.linear_act(x, w, b, "gelu")
        return lib.nn.functional.gelu(lib.nn.functional.linear(x, w, b))

    def make(lib):
        return [normal(lib, *s, dtype=dtype) for s in ((m, k), (n, k), (n,))]

    name = f"linear{'+bias+gelu' if epilogue else ''} {m}x{n}x{k}"
    return Row(name, rate or dtype, floor * 1e6, targets, make, op)


def int8_product(n: int) -> Row:
    def make(lib):
        x, w = ((normal(lib, n, n) * 40).to(lib.int8) for _ in range(2))
        return [x, w.t()]

    return Row(
        f"int_matmul {n}^3", "int8", 2 * n**3 / RATE["int8"] * 1e6, ("0.55", "1.0"), make,
        lambda lib, x, w: lib.int_matmul(x, w), lambda lib, x, w: lib._int_mm(x, w),
    )  # fmt: skip


def fp8_product(n: int) -> Row:
    def make(lib):
        x, w = (normal(lib, n, n).to(lib.float8_e4m3fn) for _ in range(2))
        one = lib.ones(1, device="cuda").reshape(())
        return [x, w.t(), one]

    return Row(
        f"scaled_matmul {n}^3", "fp8", 2 * n**3 / RATE["fp8"] * 1e6, ("0.25", "0.95"), make,
        lambda lib, x, w, s: lib.scaled_matmul(x, w, s, s),
        lambda lib, x, w, s: lib._scaled_mm(x, w, scale_a=s, scale_b=s, out_dtype=lib.bfloat16),
    )  # fmt: skip


def quantised(m: int, scheme: str, target: tuple[str, str]) -> Row:
    """A weight-only product beside PyTorch's bf16 one."""
    n, k, bytes_ = 28672, 8192, {"int8": 1.0, "int4": 0.5}[scheme]

    def make(lib):
        x, w = (normal(lib, *s, dtype="bf16") for s in ((m, k), (n, k)))
        if lib is tercel:
            name = scheme  # int4: groups of 128
            w = tercel.quantization.quantize(w, name)
        return [x, w]

    floor = n * k * bytes_ / COPY * 1e6
    return Row(
        f"gemv {scheme} {m}x{n}x{k} (vs bf16)", "bf16", floor, target, make,
        lambda lib, x, w: lib.nn.functional.linear(x, w),
    )  # fmt: skip


def memory(name, dtype, shape, passes, op, targets=("", ""), more=()) -> Row:
    size = int(np.prod(shape)) * BYTES[dtype]

    def make(lib):
        return [normal(lib, *s, dtype=dtype) for s in (shape, *more)]

    return Row(name, dtype, passes * size / COPY * 1e6, targets, make, op)


def backward(name, dtype, shape, passes, f, targets, more=()) -> Row:
    """The backward pass of f alone: the graph is made before."""
    size = int(np.prod(shape)) * BYTES[dtype]

    def make(lib):
        inputs = [normal(lib, *s, dtype=dtype, grad=True) for s in (shape, *more)]
        y = f(lib, *inputs)
        return [y, inputs, lib.ones_like(y)]

    def op(lib, y, inputs, g):
        return lib.autograd.grad(y, inputs, g, retain_graph=True)

    return Row(f"{name} bwd", dtype, passes * size / COPY * 1e6, targets, make, op)


def conv(name, n, c, hw, k, size, targets, dtype="bf16") -> Row:
    flops, numbers = 2 * n * hw * hw * k * c * size * size, n * hw * hw * (c + k)
    floor = max(flops / RATE[dtype], BYTES[dtype] * numbers / COPY)
    shapes = ((n, c, hw, hw), (k, c, size, size))
    return Row(
        f"conv {name}", dtype, floor * 1e6, targets,
        lambda lib: [normal(lib, *s, dtype=dtype) for s in shapes],
        lambda lib, x, w: lib.nn.functional.conv2d(x, w, padding=size // 2),
    )  # fmt: skip


def conv_gradient(name, n, c, hw, of, target) -> Row:
    """Gradient of a 3x3 convolution with respect to its input ("dgrad") or its weight ("wgrad")."""
    floor = max(2 * n * hw * hw * c * c * 9 / RATE["bf16"], 4 * n * hw * hw * c / COPY)

    def make(lib):
        x, w = (normal(lib, *s, dtype="bf16", grad=True) for s in ((n, c, hw, hw), (c, c, 3, 3)))
        y = lib.nn.functional.conv2d(x, w, padding=1)
        return [y, x if of == "dgrad" else w, lib.ones_like(y)]

    return Row(
        f"conv {name} {of}", "bf16", floor * 1e6, target, make,
        lambda lib, y, leaf, g: lib.autograd.grad(y, [leaf], g, retain_graph=True),
    )  # fmt: skip


def attention(b, h, s, d, causal, passes, targets) -> Row:
    """passes 2: forward, 5: backward, in products of [s, s, d]."""
    floor = 2 * passes * b * h * s * s * d / (2 if causal else 1) / RATE["bf16"] * 1e6

    def forward(lib, *qkv):
        return lib.nn.functional.scaled_dot_product_attention(*qkv, is_causal=causal)

    def make(lib):
        qkv = [normal(lib, b, h, s, d, dtype="bf16", grad=passes == 5) for _ in range(3)]
        if passes == 2:
            return qkv
        y = forward(lib, *qkv)
        return [y, qkv, lib.ones_like(y)]

    def op(lib, *args):
        return forward(lib, *args) if passes == 2 else lib.autograd.grad(*args, retain_graph=True)

    kind = f"attention {'fwd' if passes == 2 else 'bwd'}{' causal' if causal else ''}"
    return Row(f"{kind} b{b} h{h} s{s} d{d}", "bf16", floor, targets, make, op)


def decode_attention(b, kv, heads, group, d, targets) -> Row:
    """One query row per sequence, `group` query heads to a head of keys and values."""

    def make(lib):
        q = normal(lib, b, heads * group, 1, d, dtype="bf16")
        return [q, *(normal(lib, b, heads, kv, d, dtype="bf16") for _ in range(2))]

    return Row(
        f"attention decode b{b} kv{kv} h{heads} d{d}", "bf16", 4 * b * kv * heads * d / COPY * 1e6,
        targets, make,
        lambda lib, *qkv: lib.nn.functional.scaled_dot_product_attention(*qkv, enable_gqa=True),
    )  # fmt: skip


def add_rms_norm(rows: int, cols: int) -> Row:
    def op(lib, x, y, w):
        if lib is tercel:
            return tercel.add_rms_norm(x, y, (cols,), w)
        s = x + y
        return lib.nn.functional.rms_norm(s, (cols,), w), s

    return memory(
        f"add + rms_norm {rows}x{cols}", "bf16", (rows, cols), 4, op, ("1.5", "1.7"),
        [(rows, cols), (cols,)],
    )  # fmt: skip


def adamw(numel: int) -> Row:
    def make(lib):
        p = normal(lib, numel, grad=True)
        p.grad = normal(lib, numel)
        return [lib.optim.AdamW([p], lr=1e-3, **({"fused": True} if lib is torch else {}))]

    floor = numel * 28 / COPY * 1e6
    return Row(f"adamw {numel:.0e}", "f32", floor, ("1.0", "1.05"), make, lambda lib, o: o.step())


def cross_entropy(rows: int, classes: int) -> Row:
    def make(lib):
        x = normal(lib, rows, classes, dtype="bf16", grad=True)
        return [x, lib.arange(rows).to("cuda") % classes]

    def op(lib, x, t):
        return lib.autograd.grad(lib.nn.functional.cross_entropy(x, t), [x])

    floor = 4 * rows * classes * 2 / COPY * 1e6
    return Row(f"cross_entropy fwd+bwd {rows}x{classes}", "bf16", floor, ("2", "2.5"), make, op)


def rows() -> list[Row]:
    """The table of targets, those that stage 1 has kernels for first."""
    norm = (16384, 8192)

    def layer_norm(lib, x, w):
        return lib.nn.functional.layer_norm(x, (8192,), w)

    def rms_norm(lib, x, w):
        return lib.nn.functional.rms_norm(x, (8192,), w)

    def batch_norm(lib, x, w):
        return lib.nn.functional.batch_norm(x, None, None, w, training=True)

    def group_norm(lib, x, w):
        return lib.nn.functional.group_norm(x, 32, w)

    def softmax(lib, x):
        return lib.softmax(x, -1)

    nhwc, planes = (256, 256, 56, 56), (32, 512, 64, 64)
    return [
        product(8192, 8192, 8192, "bf16", ("0.50", "0.95-1.02")),
        product(8192, 8192, 8192, "f16", ("0.50", "0.95-1.02")),
        product(4096, 4096, 4096, "bf16", ("0.50", "1.0")),
        product(4096, 4096, 4096, "f16", ("0.50", "1.0")),
        product(4096, 14336, 4096, "bf16", ("0.55", "1.05"), epilogue=True),
        product(64, 8192, 8192, "bf16", ("0.85", "1.0")),
        product(4096, 4096, 4096, "f32", ("0.85", "0.93")),
        product(1, 28672, 8192, "bf16", ("0.95", "1.0")),
        product(8, 28672, 8192, "bf16", ("0.95", "1.0")),
        quantised(1, "int8", ("1.7", "1.85")),
        quantised(8, "int8", ("1.7", "1.85")),
        quantised(1, "int4", ("2.8", "3.3")),
        quantised(8, "int4", ("2.8", "3.3")),
        memory("layer_norm 16384x8192", "bf16", norm, 2, layer_norm, ("1.3", "1.5"), [(8192,)]),
        backward("layer_norm 16384x8192", "bf16", norm, 3, layer_norm, ("1.5", "1.8"), [(8192,)]),
        memory("rms_norm 16384x8192", "bf16", norm, 2, rms_norm, ("1.3", "1.5"), [(8192,)]),
        backward("rms_norm 16384x8192", "bf16", norm, 3, rms_norm, ("1.5", "1.8"), [(8192,)]),
        add_rms_norm(16384, 8192),
        memory("batch_norm 256x56x56x256", "bf16", nhwc, 3, batch_norm, ("0.95", "1.0"), [(256,)]),
        backward("batch_norm 256x56x56x256", "bf16", nhwc, 5, batch_norm, ("0.95", "1.0"), [(256,)]),
        memory("group_norm 32x512x64x64", "bf16", planes, 2, group_norm, ("1.5", "2"), [(512,)]),
        backward("group_norm 32x512x64x64", "bf16", planes, 3, group_norm, ("1.5", "2"), [(512,)]),
        memory("softmax 16384x32768", "bf16", (16384, 32768), 2, softmax, ("1.0", "1.2")),
        backward("softmax 16384x32768", "bf16", (16384, 32768), 3, softmax, ("1.0", "1.2")),
        cross_entropy(8192, 128256),
        memory("gelu 2^29", "bf16", (1 << 29,), 2, lambda lib, x: lib.nn.functional.gelu(x), ("0.98", "1.0")),
        memory("add 2^29", "bf16", (1 << 29,), 3, lambda lib, x, y: x + y, ("0.98", "1.0"), [(1 << 29,)]),
        memory("sum 2^30", "f32", (1 << 30,), 1, lambda lib, x: lib.sum(x), ("1.0", "1.0")),
        memory("row sums 65536x4096", "f32", (65536, 4096), 1, lambda lib, x: lib.sum(x, 1), ("1.0", "1.0")),
        memory("column sums 65536x4096", "f32", (65536, 4096), 1, lambda lib, x: lib.sum(x, 0), ("1.0", "1.0")),
        memory("tiny add", "f32", (64,), 3, lambda lib, x, y: x + y, ("2", "plans"), [(64,)]),
        adamw(10**9),
        memory("sort 2^26", "f32", (1 << 26,), 2, lambda lib, x: lib.sort(x)[0]),
        memory("topk 50 of 64x128256", "f32", (64, 128256), 1, lambda lib, x: lib.topk(x, 50)[0]),
        int8_product(8192),
        product(8192, 8192, 8192, "f32", ("0.60", "0.95"), rate="tf32"),
        fp8_product(8192),
        *(
            row
            for c, hw in ((64, 56), (128, 28), (256, 14))
            for row in (
                conv(f"3x3 n256 {hw}^2x{c}", 256, c, hw, c, 3, ("0.55", "0.9")),
                conv_gradient(f"3x3 n256 {hw}^2x{c}", 256, c, hw, "dgrad", ("0.5", "0.85")),
                conv_gradient(f"3x3 n256 {hw}^2x{c}", 256, c, hw, "wgrad", ("0.5", "0.8")),
            )
        ),
        conv("1x1 n256 56^2 256->64", 256, 256, 56, 64, 1, ("0.85", "1.0")),
        conv("3x3 n32 56^2x256", 32, 256, 56, 256, 3, ("1.0", "-"), "f32"),
        attention(2, 16, 8192, 128, False, 2, ("0.9", "1.5")),
        attention(2, 16, 8192, 128, True, 2, ("0.9", "1.5")),
        attention(2, 16, 8192, 128, True, 5, ("0.8", "1.2")),
        decode_attention(64, 8192, 8, 4, 128, ("2", "85 % of copy")),
    ]  # fmt: skip


def libraries() -> dict[str, Any]:
    """Those that are installed and have the GPU."""
    both = (("torch", torch), ("tercel", tercel))
    return {k: m for k, m in both if m is not None and m.cuda.is_available()}


def time_us(lib: Any, f: Callable, inputs: list, reps: int) -> list[float]:
    """Microseconds of single calls, inputs in rotation."""
    times = []
    for i in range(reps):
        start, end = (lib.cuda.Event(enable_timing=True) for _ in range(2))
        lib.cuda.synchronize()
        start.record()
        f(*inputs[i % len(inputs)])
        end.record()
        lib.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return times


def nbytes(x: Any) -> int:
    if isinstance(x, (list, tuple)):
        return sum(nbytes(v) for v in x)
    return x.numel() * x.element_size() if hasattr(x, "element_size") else 0


def measure(row: Row, reps: int) -> dict:
    calls, times = {}, {}
    for name, lib in libraries().items():
        lib.set_float32_matmul_precision("high" if row.dtype == "tf32" else "highest")
        op = row.theirs if lib is torch else row.op
        inputs = [row.make(lib)]
        inputs += [
            row.make(lib) for _ in range(min(8, ROTATE // max(nbytes(inputs[0]), ROTATE // 8)))
        ]
        calls[name] = (lib, lambda *x, lib=lib, op=op: op(lib, *x), inputs)
        times[name] = []
        slow = max(time_us(*calls[name], 3)) > 300e3
        reps = min(reps, 8) if slow else reps
    for _ in range(4):  # in turns: clocks and temperature are shared
        for name, call in calls.items():
            times[name] += time_us(*call, max(1, reps // 4))
    medians = {k: statistics.median(v) for k, v in times.items()}
    ours = medians["tercel"]
    theirs = medians.get("torch")
    return {
        "floor_us": f"{row.floor_us:.1f}",
        "torch_us": f"{theirs:.1f}" if theirs else "",
        "tercel_us": f"{ours:.1f}",
        "ratio": f"{theirs / ours:.3f}" if theirs else "",
        "of_floor": f"{row.floor_us / ours:.3f}",
    }


COLUMNS = [
    "op",
    "dtype",
    "S1",
    "S2",
    "floor_us",
    "torch_us",
    "tercel_us",
    "ratio",
    "of_floor",
    "note",
]


def bench(table: list[Row], seconds: float, write: Callable[[list[dict]], None]) -> list[dict]:
    """All rows that fit in the time; `write` is called after each, so that a stop loses nothing."""
    results, begin = [], time.monotonic()
    for row in table:
        line = dict.fromkeys(COLUMNS, "")
        line.update(op=row.name, dtype=row.dtype, S1=row.targets[0], S2=row.targets[1])
        line["floor_us"] = f"{row.floor_us:.1f}"
        if time.monotonic() - begin > seconds:
            line["note"] = "not measured"
        else:
            try:
                line.update(measure(row, 24))
            except Exception as error:  # one row must not take the others with it
                line["note"] = f"not measured: {type(error).__name__}: {str(error)[:80]}"
            for lib in libraries().values():
                lib.cuda.empty_cache()
        results.append(line)
        print(text_line(line), flush=True)
        write(results)
    return results


def text_line(line: dict) -> str:
    widths = [38, 5, 6, 10, 9, 10, 10, 7, 8, 40]
    return "  ".join(f"{line[c]:{w}}" for c, w in zip(COLUMNS, widths, strict=True)).rstrip()


# ---- correctness ------------------------------------------------------------------------------------------------

SHAPES = [(1, 1, 1), (17, 33, 65), (128, 256, 64), (200, 264, 328), (1, 512, 1000), (13, 100, 4097)]
LARGE = [(1000, 1016, 72), (2048, 2048, 2048), (4096, 4097, 511), (64, 8192, 8192)]
EPS = {"f32": 2.0**-23, "bf16": 2.0**-7, "f16": 2.0**-10}


def check(small: bool) -> int:
    """Products of every layout against float64 on the host; the second run must give the same bits."""
    bad = 0
    for dtype, eps in EPS.items():
        for m, n, k in SHAPES if small else SHAPES + LARGE:
            for layout in ("nt", "nn", "tn", "tt"):
                a = normal(tercel, *((m, k) if layout[0] == "n" else (k, m)), dtype=dtype)
                b = normal(tercel, *((k, n) if layout[1] == "n" else (n, k)), dtype=dtype)
                a, b = a if layout[0] == "n" else a.t(), b if layout[1] == "n" else b.t()
                got = [tercel.matmul(a, b).double().cpu().numpy() for _ in range(2)]
                x, y = a.double().cpu().numpy(), b.double().cpu().numpy()
                error = (np.abs(got[0] - x @ y) / (np.abs(x) @ np.abs(y))).max()
                same = np.array_equal(got[0], got[1])
                if not (error < eps + 1e-6) or not same:
                    bad += 1
                    print(
                        f"FAIL {dtype} {m}x{n}x{k} {layout}: error {error:.2e}, repeatable {same}"
                    )
    print("check:", "FAIL" if bad else "ok")
    return bad


def probe() -> None:
    if torch is None or not torch.cuda.is_available():
        print("PyTorch with CUDA is not here: our own times only")
        return
    p = torch.cuda.get_device_properties(0)
    print(
        p.name,
        f"{p.multi_processor_count} SMs, {p.total_memory >> 30} GiB, torch",
        torch.__version__,
    )
    x, y = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    t = statistics.median(time_us(torch, lambda: y.copy_(x), [()], 20))
    print(f"copy: {2 * x.numel() / t / 1e6:.2f} TB/s")
    a, b = (normal(torch, 8192, 8192, dtype="bf16") for _ in range(2))
    t = statistics.median(time_us(torch, lambda: a @ b, [()], 20))
    print(f"torch 8192^3 bf16: {2 * 8192**3 / t / 1e6:.0f} TFLOP/s")


def main() -> int:
    parser = argparse.ArgumentParser()
    for flag in ("probe", "check", "small", "sweep"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    if options.probe:
        probe()
        return 0
    here = tercel is not None and tercel.cuda.is_available()
    if not here:
        print("bench: tercel has no CUDA device here")
        if options.check or options.sweep or not options.csv:
            return 2
    if options.check:
        return bool(check(options.small))
    table = rows()
    if options.sweep:
        sizes = (64, 256, 1024, 4096)
        table = [
            product(m, n, k, "bf16") for m in sizes for n in (1024, 4096) for k in (1024, 8192)
        ]
    gpu = tercel.cuda.get_device_name().replace(" ", "-") if here else "no-gpu"
    kind = "sweep" if options.sweep else "ops"

    def write(results: list[dict]) -> None:
        if not options.csv:
            return
        options.csv.mkdir(parents=True, exist_ok=True)
        path = options.csv / f"{datetime.date.today()}-{gpu}-{kind}.csv"
        with path.open("w", newline="") as f:
            writer = csv.DictWriter(f, COLUMNS)
            writer.writeheader()
            writer.writerows(results)

    print(text_line({c: c for c in COLUMNS}))
    seconds = options.seconds if here else -1.0
    results = bench([r for r in table if options.only in r.name], seconds, write)
    return 0 if any(r["tercel_us"] for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
