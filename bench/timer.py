"""Timing two functions against each other in one process.

Machines are noisy and change speed, so a ratio is only taken between samples that lie next to each
other: blocks of A and B alternate, each block starts with one untimed call, and the medians are
compared. A block is long enough for the clock, and short enough for many of them.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

# PyTorch's worker threads (libgomp) spin for 300,000 pauses after an op, 8 to 15 ms on the processors tried, and
# would take a processor from the blocks of the other library that follow. 20,000 (0.5 to 1 ms) still bridge the gaps
# inside PyTorch's own ops: its times alone do not change. Read when torch is imported, which is after this module.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

BLOCK_SECONDS = 0.004
PAUSE_SECONDS = 0.002  # lets the other library's worker threads go to sleep


@dataclass
class Timing:
    seconds: float  # median per call
    other: float | None = None
    ratio: float | None = None  # median over neighbouring blocks of ours / theirs
    blocks: int = 0


def calls_per_block(fn: Callable[[], object]) -> int:
    fn()
    start = time.perf_counter()
    fn()
    once = max(time.perf_counter() - start, 1e-8)
    return max(1, int(BLOCK_SECONDS / once))


def block(fn: Callable[[], object], calls: int) -> float:
    fn()
    start = time.perf_counter()
    for _ in range(calls):
        fn()
    return (time.perf_counter() - start) / calls


def compare(
    ours: Callable[[], object], theirs: Callable[[], object] | None = None, seconds: float = 0.5
) -> Timing:
    """Median seconds per call of `ours` and, when given, of `theirs`, and their ratio."""
    n = calls_per_block(ours)
    m = calls_per_block(theirs) if theirs else 0
    a, b, ratios = [], [], []
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while len(a) < 5 or (time.perf_counter() < end and len(a) < 400):
            a.append(block(ours, n))
            if theirs:
                time.sleep(PAUSE_SECONDS)
                b.append(block(theirs, m))
                time.sleep(PAUSE_SECONDS)
                ratios.append(a[-1] / b[-1])
    finally:
        if collecting:
            gc.enable()
    timing = Timing(statistics.median(a), blocks=len(a))
    if theirs:
        timing.other = statistics.median(b)
        timing.ratio = statistics.median(ratios)
    return timing
