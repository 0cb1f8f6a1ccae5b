"""Our CUDA kernels beside PyTorch's on one GPU: correctness with random inputs, then interleaved timings.

    python tools/gpu/bench.py --probe                 card, copy bandwidth, PyTorch's 8192^3 bf16 product
    python tools/gpu/bench.py --check [--small]       results against float64, odd shapes, each twice
    python tools/gpu/bench.py [--only TEXT] --csv DIR timings, one dated CSV; ratio = PyTorch's time / ours
    python tools/gpu/bench.py --sweep                 products over a grid of shapes

Inputs are random and rotate through more than 120 MB so that no call finds them in the L2 cache.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch

try:
    import tercel
except ImportError:  # the probe needs PyTorch only
    tercel = None

DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
ROTATE = 120 << 20


class Row:
    """One comparison: `make()` gives PyTorch inputs, `op(module, *inputs)` runs in either library."""

    def __init__(self, name: str, dtype: str, floor_us: float, make: Callable, op: Callable):
        self.name, self.dtype, self.floor_us, self.make, self.op = name, dtype, floor_us, make, op


def normal(*shape: int, dtype: str) -> torch.Tensor:
    return torch.randn(*shape, device="cuda").to(getattr(torch, DTYPES[dtype]))


def product(m: int, n: int, k: int, dtype: str) -> Row:
    rate = {"bf16": 790e12, "f16": 790e12, "f32": 50e12}[dtype]
    bytes_ = (m * k + n * k + m * n) * (4 if dtype == "f32" else 2)
    floor = max(2 * m * n * k / rate, bytes_ / 4.3e12) * 1e6
    return Row(
        f"linear {m}x{n}x{k}",
        dtype,
        floor,
        lambda: (normal(m, k, dtype=dtype), normal(n, k, dtype=dtype)),
        lambda lib, x, w: lib.nn.functional.linear(x, w),
    )


def memory(name: str, dtype: str, shape: tuple[int, ...], passes: int, op: Callable) -> Row:
    numel = 1
    for s in shape:
        numel *= s
    size = numel * (4 if dtype == "f32" else 2)
    return Row(
        name, dtype, passes * size / 4.3e12 * 1e6, lambda: (normal(*shape, dtype=dtype),), op
    )


def rows() -> list[Row]:
    table = [
        product(8192, 8192, 8192, "bf16"),
        product(4096, 4096, 4096, "bf16"),
        product(4096, 4096, 4096, "f16"),
        product(64, 8192, 8192, "bf16"),
        product(4096, 4096, 4096, "f32"),
    ]
    table += [product(m, 28672, 8192, "bf16") for m in (1, 8)]
    table += [
        memory("softmax 16384x32768", "bf16", (16384, 32768), 2, lambda lib, x: lib.softmax(x, -1)),
        memory("gelu 2^29", "bf16", (1 << 29,), 2, lambda lib, x: lib.nn.functional.gelu(x)),
        memory("sum 2^30", "f32", (1 << 30,), 1, lambda lib, x: lib.sum(x)),
        memory(
            "layer_norm 16384x8192",
            "bf16",
            (16384, 8192),
            2,
            lambda lib, x: lib.nn.functional.layer_norm(x, (8192,)),
        ),
    ]
    return table


def ours(x: torch.Tensor):
    return tercel.from_dlpack(x)


def to_torch(x) -> torch.Tensor:
    return torch.from_dlpack(x)


def time_us(f: Callable, inputs: list, reps: int) -> list[float]:
    """Microseconds of single calls, inputs in rotation."""
    times = []
    for i in range(reps):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        f(*inputs[i % len(inputs)])
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1e3)
    return times


def bench(table: list[Row], reps: int = 24) -> list[dict]:
    results = []
    for row in table:
        first = row.make()
        size = sum(x.numel() * x.element_size() for x in first)
        theirs = [first] + [row.make() for _ in range(min(8, ROTATE // max(size, 1)))]
        mine = [tuple(ours(x) for x in t) for t in theirs]
        times: dict[str, list[float]] = {"torch": [], "tercel": []}
        for lib, name, inputs in ((torch, "torch", theirs), (tercel, "tercel", mine)):
            time_us(lambda *x, lib=lib: row.op(lib, *x), inputs, 4)
            times[name].clear()
        for _ in range(4):  # interleaved: clocks and temperature are shared
            times["torch"] += time_us(lambda *x: row.op(torch, *x), theirs, reps // 4)
            times["tercel"] += time_us(lambda *x: row.op(tercel, *x), mine, reps // 4)
        t, m = (statistics.median(times[k]) for k in ("torch", "tercel"))
        results.append(
            {
                "op": row.name,
                "dtype": row.dtype,
                "floor_us": f"{row.floor_us:.1f}",
                "torch_us": f"{t:.1f}",
                "tercel_us": f"{m:.1f}",
                "ratio": f"{t / m:.3f}",
                "of_floor": f"{row.floor_us / m:.3f}",
            }
        )
        print(results[-1], flush=True)
        del theirs, mine
        torch.cuda.empty_cache()
    return results


SHAPES = [(1, 1, 1), (17, 33, 65), (128, 256, 64), (200, 264, 328), (1, 512, 1000), (13, 100, 4097)]
LARGE = [(1000, 1016, 72), (2048, 2048, 2048), (4096, 4097, 511), (64, 8192, 8192)]


def check(small: bool) -> int:
    """Products of every layout on poisoned outputs against float64; the second run must give the same bits."""
    bad = 0
    for dtype in DTYPES:
        eps = torch.finfo(getattr(torch, DTYPES[dtype])).eps
        for m, n, k in SHAPES if small else SHAPES + LARGE:
            for layout in ("nt", "nn", "tn", "tt"):
                a = normal(m, k, dtype=dtype) if layout[0] == "n" else normal(k, m, dtype=dtype).T
                b = normal(n, k, dtype=dtype).T if layout[1] == "t" else normal(k, n, dtype=dtype)
                got = [to_torch(tercel.matmul(ours(a), ours(b))) for _ in range(2)]
                want = a.double() @ b.double()
                scale = a.double().abs() @ b.double().abs()
                error = ((got[0].double() - want).abs() / scale).max().item()
                same = torch.equal(got[0], got[1])
                if not (error < eps + 1e-6) or not same:
                    bad += 1
                    print(
                        f"FAIL {dtype} {m}x{n}x{k} {layout}: error {error:.2e}, repeatable {same}"
                    )
    print("check:", "FAIL" if bad else "ok")
    return bad


def probe() -> None:
    p = torch.cuda.get_device_properties(0)
    print(
        p.name,
        f"{p.multi_processor_count} SMs",
        f"{p.total_memory >> 30} GiB",
        "torch",
        torch.__version__,
    )
    x, y = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    t = statistics.median(time_us(lambda: y.copy_(x), [()], 20))
    print(f"copy: {2 * x.numel() / t / 1e6:.2f} TB/s")
    a, b = (normal(8192, 8192, dtype="bf16") for _ in range(2))
    t = statistics.median(time_us(lambda: a @ b, [()], 20))
    print(f"torch 8192^3 bf16: {2 * 8192**3 / t / 1e6:.0f} TFLOP/s")


def main() -> int:
    parser = argparse.ArgumentParser()
    for flag in ("probe", "check", "small", "sweep"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    if options.probe:
        probe()
        return 0
    if tercel is None or not tercel.cuda.is_available():
        print("bench: tercel has no CUDA device here")
        return 2
    if options.check:
        return bool(check(options.small))
    table = rows()
    if options.sweep:
        sizes = (64, 256, 1024, 4096)
        table = [
            product(m, n, k, "bf16") for m in sizes for n in (1024, 4096) for k in (1024, 8192)
        ]
    results = bench([r for r in table if options.only in r.name])
    if options.csv and results:
        options.csv.mkdir(parents=True, exist_ok=True)
        gpu = torch.cuda.get_device_properties(0).name.replace(" ", "-")
        kind = "sweep" if options.sweep else "ops"
        path = options.csv / f"{datetime.date.today()}-{gpu}-{kind}.csv"
        with path.open("w", newline="") as f:
            writer = csv.DictWriter(f, results[0])
            writer.writeheader()
            writer.writerows(results)
        print("wrote", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
