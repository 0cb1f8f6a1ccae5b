"""Peaks of this machine, measured with our own loops: `python bench/roofline.py`.

GFLOP/s of fused multiply-adds, and GB/s of reading, writing and copying at the sizes of the caches and of
memory. Other benches ask `peak(...)`; a figure is measured once per process.
"""

from __future__ import annotations

import functools

import tercel

SIZES = {"L1": 1 << 15, "L2": 1 << 20, "L3": 1 << 24, "DRAM": 1 << 28}


@functools.cache
def peak(kind: str, threads: int, nbytes: int = 1 << 28) -> float:
    """GFLOP/s (fma_f32, fma_f64) or GB/s (read, write, copy) with `threads` threads."""
    before = tercel.get_num_threads()
    tercel.set_num_threads(threads)
    try:
        return tercel._core._roofline(kind, nbytes, 0.15)
    finally:
        tercel.set_num_threads(before)


def level_of(nbytes: float, threads: int) -> int:
    """The smallest measured size that holds `nbytes` (L1 and L2 are per core)."""
    for name, size in SIZES.items():
        share = size * threads if name in ("L1", "L2") else size
        if nbytes <= share:
            return share
    return SIZES["DRAM"]


def floor_seconds(flops: float, nbytes: float, threads: int, dtype: str = "float32") -> float:
    """No kernel that does `flops` and moves `nbytes` can be faster than this on this machine."""
    kind = "fma_f64" if dtype == "float64" else "fma_f32"
    compute = flops / (peak(kind, threads) * 1e9) if flops else 0.0
    size = level_of(nbytes, threads)
    memory = nbytes / (max(peak("read", threads, size), peak("copy", threads, size)) * 1e9)
    return max(compute, memory if nbytes else 0.0)


def main() -> None:
    for threads in (1, tercel.get_num_threads()):
        for kind in ("fma_f32", "fma_f64"):
            print(f"{threads} threads  {kind:8s} {peak(kind, threads):9.1f} GFLOP/s")
        for kind in ("read", "write", "copy"):
            row = "  ".join(f"{n} {peak(kind, threads, s):7.1f}" for n, s in SIZES.items())
            print(f"{threads} threads  {kind:8s} {row}  GB/s")


if __name__ == "__main__":
    main()
