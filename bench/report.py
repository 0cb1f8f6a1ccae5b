"""Bench rows as text, in bench/results/*.json and as the tables of README.md."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEY = ("op", "shape", "dtype", "isa", "threads")
HEADER = (
    f"{'op':22s} {'shape':34s} {'dtype':9s} {'isa':12s} thr | {'median':>10s} | {'rate':>14s} | "
    f"{'peak':>5s} | x torch"
)


def rate(row: dict) -> str:
    if row.get("gflops"):
        return f"{row['gflops']:.1f} GFLOP/s"
    return f"{row['gbs']:.1f} GB/s" if row.get("gbs") else "-"


def duration(us: float) -> str:
    return f"{us / 1000:.2f} ms" if us >= 1000 else f"{us:.2f} us"


def line(row: dict) -> str:
    percent = f"{row['peak_percent']:.0f} %" if "peak_percent" in row else "-"
    ratio = f"{row['ratio']:.2f}" if row.get("ratio") else "-"
    return (
        f"{row['op']:22s} {row['shape']:34s} {row['dtype']:9s} {row['isa']:12s} {row['threads']:3d} | "
        f"{duration(row['us']):>10s} | {rate(row):>14s} | {percent:>5s} | {ratio:>5s}"
    )


def load(name: str) -> list[dict]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def save(name: str, rows: list[dict]) -> None:
    """Merges rows into bench/results/<name>.json; a row replaces the one with the same key."""
    merged = {tuple(r.get(k) for k in KEY): r for r in load(name)}
    merged.update({tuple(r.get(k) for k in KEY): r for r in rows})
    RESULTS.mkdir(exist_ok=True)
    lines = ",\n".join(" " + json.dumps(r) for r in merged.values())
    (RESULTS / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def ops_table(rows: list[dict]) -> str:
    """One line per op and shape; threads side by side."""
    shown: dict[tuple, dict[int, dict]] = {}
    for r in rows:
        if r.get("quick"):
            shown.setdefault((r["op"], r["shape"], r["dtype"]), {})[r["threads"]] = r
    out = [
        "| op | shape | dtype | 1 thread | % of peak | x torch | 2 threads | x torch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (op, shape, dtype), by in shown.items():
        one, two = by.get(1, {}), by.get(2, {})
        cells = [op, shape, dtype, duration(one["us"]) if one else ""]
        cells.append(f"{one['peak_percent']:.0f}" if "peak_percent" in one else "")
        cells.append(f"{one['ratio']:.2f}" if one.get("ratio") else "")
        cells.append(duration(two["us"]) if two else "")
        cells.append(f"{two['ratio']:.2f}" if two.get("ratio") else "")
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def plain_table(rows: list[dict]) -> str:
    """Rows of overhead, models and process: what, threads, ours, PyTorch's, ratio."""
    out = ["| what | threads | tercel | PyTorch | ratio |", "|---|---|---|---|---|"]
    for r in rows:
        ratio = f"{r['ratio']:.2f}" if r.get("ratio") else ""
        out.append(
            f"| {r['op']} {r['shape']} | {r['threads'] or ''} | {r['text']} | {r.get('torch_text') or ''} | {ratio} |"
        )
    return "\n".join(out)


def replace_block(text: str, name: str, body: str) -> str:
    begin, end = f"<!-- bench:{name} -->", f"<!-- end:{name} -->"
    if begin not in text:
        return text
    head, rest = text.split(begin, 1)
    return f"{head}{begin}\n{body}\n{end}{rest.split(end, 1)[1]}"


def write_readme() -> None:
    path = ROOT / "README.md"
    text = path.read_text()
    text = replace_block(text, "ops", ops_table(load("ops")))
    for name in ("overhead", "models", "process"):
        text = replace_block(text, name, plain_table(load(name)))
    path.write_text(text)
