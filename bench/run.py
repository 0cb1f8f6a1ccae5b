"""Benchmark of the ops against their floor on this machine and against PyTorch, if installed.

    python bench/run.py                         the quick rows of every family
    python bench/run.py norm softmax            rows whose family, op or shape contains one of the words
    python bench/run.py norm --isa avx512 --threads 1,2 --json
    python bench/run.py --all --save            every row, kept in bench/results/ops.json
    python bench/run.py --readme                rewrites the tables of README.md from bench/results

A row: op, shape, dtype, ISA, threads | median time | GFLOP/s or GB/s | part of the measured peak (floor / time) |
our time / PyTorch's time, from interleaved runs in this process (below 1 is faster). The result is checked
against PyTorch before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np

import report
import tercel
from cases import BenchCase, Inputs, load_all
from roofline import floor_seconds
from timer import compare

try:
    import torch
except ImportError:
    torch = None

UNSUPPORTED = (AttributeError, TypeError, ValueError, RuntimeError)  # what a library raises


def tensors(library, case: BenchCase) -> list:
    """The case's inputs as tensors of `library`: floats in the case's dtype."""
    made = []
    for value in case.inputs(Inputs()):
        if isinstance(value, np.ndarray):
            t = library.from_numpy(value.copy())
            if value.dtype.kind == "f":
                t = t.to(getattr(library, case.dtype))
                if case.grad:
                    t.requires_grad_(True)
            value = t
        made.append(value)
    return made


def bound(library, case: BenchCase, fn):
    """A function without arguments that does one step of the case."""
    values = tensors(library, case)
    operands = case.prepare(library, *values) if case.prepare else values
    if not case.grad:

        def forward():
            with library.no_grad():
                return fn(library, *operands)

        # entering no_grad costs more than a small op: once outside is enough
        def plain():
            return fn(library, *operands)

        return plain if not any(getattr(v, "requires_grad", False) for v in values) else forward
    leaves = [v for v in values if getattr(v, "requires_grad", False)]
    result = fn(library, *operands)
    gradient = Inputs(seed=1).normal(
        *result.shape
    )  # of ones, the gradient of a softmax is rounding errors
    cotangent = library.from_numpy(gradient).to(result.dtype)

    def both():
        y = fn(library, *operands)
        return library.autograd.grad(y, leaves, cotangent, allow_unused=True)

    return both


def first_array(value) -> np.ndarray:
    while isinstance(value, (tuple, list)):
        value = value[0]
    if value is None or isinstance(value, (int, float, bool)):
        return np.asarray(0.0 if value is None else value)
    value = value.detach()
    return value.double().numpy() if value.dtype.is_floating_point else value.numpy()


def check(ours, theirs, case: BenchCase) -> None:
    a, b = first_array(ours()), first_array(theirs())
    if a.shape != b.shape:
        raise AssertionError(f"{case.name}: shape {a.shape}, torch has {b.shape}")
    if a.dtype.kind == "f":
        step = {"bfloat16": 2e-2, "float16": 2e-3, "float64": 1e-10}.get(case.dtype, 2e-4)
        size = float(np.max(np.abs(b), initial=1e-30, where=np.isfinite(b)))
        with np.errstate(invalid="ignore"):
            error = float(np.max(np.abs(a - b), initial=0.0, where=np.isfinite(b)))
        if error > step * size:
            raise AssertionError(f"{case.name}: differs from torch by {error:.3g} of {size:.3g}")
    elif not np.array_equal(a, b):
        raise AssertionError(f"{case.name}: differs from torch")


def runs(call) -> bool:
    try:
        call()
    except UNSUPPORTED:
        return False
    return True


def measure(case: BenchCase, threads: int, seconds: float) -> dict:
    tercel.set_num_threads(threads)
    ours, theirs = bound(tercel, case, case.fn), None
    if torch is not None and case.peer is not False:
        torch.set_num_threads(threads)
        theirs = bound(torch, case, case.theirs or case.fn)
        if case.peer is None and not runs(theirs):
            theirs = None
        elif case.check:
            check(ours, theirs, case)
    t = compare(ours, theirs, seconds)
    row = {
        "family": case.family,
        "op": case.op,
        "shape": case.shape + (" fwdbwd" if case.grad else ""),
        "dtype": case.dtype,
        "isa": tercel.get_isa(),
        "threads": threads,
        "us": round(t.seconds * 1e6, 3),
        "torch_us": round(t.other * 1e6, 3) if t.other else None,
        "ratio": round(t.ratio, 3) if t.ratio else None,
        "quick": case.quick,
    }
    if case.flops or case.bytes:
        floor = floor_seconds(case.flops, case.bytes, threads, case.dtype)
        row["peak_percent"] = round(100 * floor / t.seconds, 1)
    if case.flops:
        row["gflops"] = round(case.flops / t.seconds * 1e-9, 1)
    if case.bytes:
        row["gbs"] = round(case.bytes / t.seconds * 1e-9, 1)
    return row


def selected(words: list[str], everything: bool) -> list[BenchCase]:
    cases = load_all()
    if words:
        return [
            c
            for c in cases
            if any(w in text for w in words for text in (c.family, c.name, c.shape))
        ]
    return cases if everything else [c for c in cases if c.quick]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], prog="bench/run.py")
    parser.add_argument(
        "words", nargs="*", help="rows whose family, op or shape contains one of these"
    )
    parser.add_argument("--all", action="store_true", help="every row, not only the quick ones")
    parser.add_argument("--isa", default="auto", help="ISA level to force (default: the best)")
    parser.add_argument("--threads", default="1,2", help="comma-separated numbers of threads")
    parser.add_argument("--seconds", type=float, default=0.4, help="time per row")
    parser.add_argument("--json", action="store_true", help="print one JSON object per row")
    parser.add_argument("--save", action="store_true", help="merge the rows into bench/results")
    parser.add_argument("--readme", action="store_true", help="rewrite README.md's tables and stop")
    args = parser.parse_args(argv)
    if args.readme:
        report.write_readme()
        return 0
    tercel.set_isa(args.isa)
    available = tercel.get_num_threads()
    counts = [n for n in map(int, args.threads.split(",")) if n <= available] or [1]
    rows, failed = [], 0
    if not args.json:
        print(report.HEADER)
    for case in selected(args.words, args.all):
        for threads in counts:
            try:
                row = measure(case, threads, args.seconds)
            except (AssertionError, *UNSUPPORTED) as error:
                failed += 1
                print(f"FAILED {case.name}: {type(error).__name__}: {error}", file=sys.stderr)
                break
            rows.append(row)
            print(json.dumps(row) if args.json else report.line(row), flush=True)
    tercel.set_num_threads(available)
    ratios = [r["ratio"] for r in rows if r["ratio"]]
    if ratios and not args.json:
        print(
            f"{len(ratios)} ratios, median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}"
        )
    if args.save:
        report.save("ops", rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
