"""`tercel bench`: peaks of this machine and common operations against them, without PyTorch.

bench/run.py in the repository has every operation, the ratio against PyTorch, and JSON output.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import tercel
from tercel.nn import functional as F

SIZES = {"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 24, "DRAM": 1 << 28}


def peaks(seconds: float) -> dict[str, float]:
    """GFLOP/s and GB/s with the current number of threads, printed as they are measured."""
    found = {}
    for name in ("fma_f32", "fma_f64"):
        found[name] = tercel._core._roofline(name, 1 << 20, seconds)
        print(f"{name:24s} {found[name]:10.1f} GFLOP/s", flush=True)
    for name in ("read", "write", "copy"):
        for level, size in SIZES.items():
            found[f"{name} {level}"] = tercel._core._roofline(name, size, seconds)
            print(f"{name + ' ' + level:24s} {found[f'{name} {level}']:10.1f} GB/s", flush=True)
    return found


def median_seconds(fn: Callable[[], object], seconds: float) -> float:
    fn()
    fn()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < end and len(times) < 1000):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run(seconds: float = 0.3) -> None:
    """Prints the peaks, then one row per operation: median time, rate, part of the peak."""
    print(f"ISA {tercel.get_isa()}, {tercel.get_num_threads()} threads")
    top = peaks(seconds / 2)
    tercel.manual_seed(0)
    n = 1024
    a, b = tercel.randn(n, n), tercel.randn(n, n)
    big, other = tercel.randn(1 << 24), tercel.randn(1 << 24)
    rows = tercel.randn(4096, 4096)
    image, kernel = tercel.randn(8, 64, 56, 56), tercel.randn(64, 64, 3, 3)
    size = big.numel() * 4
    gflop = {
        f"matmul {n}x{n}": (lambda: a @ b, 2 * n**3),
        "conv2d 8x64x56x56, 3x3": (
            lambda: F.conv2d(image, kernel, padding=1),
            2 * 8 * 64 * 64 * 9 * 56 * 56,
        ),
    }
    bandwidth = {
        "add 64 MB": (lambda: big + other, 3 * size),
        "exp 64 MB": (lambda: big.exp(), 2 * size),
        "sum 64 MB": (lambda: big.sum(), size),
        "softmax 4096x4096": (lambda: rows.softmax(-1), 2 * size),
        "layer_norm 4096x4096": (lambda: F.layer_norm(rows, (4096,)), 2 * size),
        "transpose 4096x4096": (lambda: rows.t().contiguous(), 2 * size),
    }
    for name, (fn, work) in gflop.items():
        rate = work / median_seconds(fn, seconds) * 1e-9
        print(
            f"{name:24s} {rate:10.1f} GFLOP/s  {100 * rate / top['fma_f32']:5.0f} % of the peak",
            flush=True,
        )
    roof = max(top["copy DRAM"], top["read DRAM"])
    for name, (fn, work) in bandwidth.items():
        rate = work / median_seconds(fn, seconds) * 1e-9
        print(
            f"{name:24s} {rate:10.1f} GB/s     {100 * rate / roof:5.0f} % of the peak", flush=True
        )
