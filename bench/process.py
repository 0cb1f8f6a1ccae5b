"""Process-level figures: import time, memory after import, sizes on disk. `python bench/process.py [--save]`.

Import times are medians of fresh interpreters with warm file caches, less the interpreter's own start.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import report

# getrusage would tell the peak of the parent too, from before exec.
RSS = "print(next(line for line in open('/proc/self/status') if 'VmRSS' in line).split()[1])"


# As an installed package is used: with compiled bytecode on disk.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def run(code: str) -> tuple[float, str]:
    start = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT
    ).stdout
    return time.perf_counter() - start, out.strip()


def import_ms(module: str, repeats: int) -> float:
    """Milliseconds that `import module` adds to an interpreter, interleaved with empty ones."""
    run(f"import {module}")
    pairs = [(run(f"import {module}")[0], run("pass")[0]) for _ in range(repeats)]
    return 1000 * statistics.median(a - b for a, b in pairs)


def rss_mb(module: str) -> float:
    """Megabytes of resident memory that the import adds."""
    return (int(run(f"import {module}; {RSS}")[1]) - int(run(RSS)[1])) / 1024


def installed_mb(module: str) -> float:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    files = [
        p
        for p in Path(spec.origin).parent.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    ]
    return sum(p.stat().st_size for p in files) / 2**20


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep the rows in bench/results")
    parser.add_argument("--wheel", type=Path, help="a built wheel, to tell its size")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args(argv)
    has_torch = importlib.util.find_spec("torch") is not None
    figures = {
        "import": (import_ms, "ms"),
        "memory after import": (rss_mb, "MB"),
        "installed": (installed_mb, "MB"),
    }
    kept = []
    for name, (measure, unit) in figures.items():
        extra = (args.repeats,) if measure is import_ms else ()
        ours = measure("tercel", *extra)
        theirs = measure("torch", *extra) if has_torch else None
        kept.append(
            {
                "op": "process", "shape": name, "dtype": "", "isa": "", "threads": 0,
                "text": f"{ours:.1f} {unit}",
                "torch_text": f"{theirs:.0f} {unit}" if theirs else None,
                "ratio": round(ours / theirs, 3) if theirs else None,
            }
        )  # fmt: skip
    if args.wheel:
        size = args.wheel.stat().st_size / 2**20
        kept.append({"op": "process", "shape": "wheel", "dtype": "", "isa": "", "threads": 0,
                     "text": f"{size:.1f} MB", "torch_text": None, "ratio": None})  # fmt: skip
    for row in kept:
        print(f"{row['shape']:22s} {row['text']:>12s}   {row['torch_text'] or '-':>12s}")
    if args.save:
        report.save("process", kept)


if __name__ == "__main__":
    main()
