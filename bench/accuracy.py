"""Error of matrix products and of quantised linear layers in every format: `python bench/accuracy.py [--json]`.

Inputs are normal, x [64, 1024], w [256, 1024] with unit gain. Two columns: the largest error and the root mean square, of
y = x w^T against float64 of the float32 inputs, in units of the root mean square of y. The formats' own rounding of the
inputs is part of it; that is what a model sees.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

import tercel
from tercel import quantization
from tercel.amp import CurrentScaling, fp8_autocast
from tercel.nn.functional import linear


def products(x, w):
    """(name, result) of every way to compute x w^T."""
    yield "float64", x.double() @ w.double().t()
    for precision in ("highest", "high", "medium"):
        tercel.set_float32_matmul_precision(precision)
        try:
            yield f"float32 {precision}", linear(x, w)
        finally:
            tercel.set_float32_matmul_precision("highest")
    for dtype in ("bfloat16", "float16"):
        to = getattr(tercel, dtype)
        yield dtype, linear(x.to(to), w.to(to))
    for dtype, largest in (("float8_e4m3fn", 448.0), ("float8_e5m2", 57344.0)):
        to = getattr(tercel, dtype)
        sx, sw = x.abs().max() / largest, w.abs().max() / largest
        yield (
            f"{dtype} scaled",
            tercel.scaled_matmul(
                (x / sx).to(to), (w / sw).to(to).t(), sx, sw, out_dtype=tercel.float32
            ),
        )
    layer = quantization.convert_to_fp8_training(
        tercel.nn.Linear(w.shape[1], w.shape[0], bias=False)
    )
    layer.weight.data.copy_(w)
    with fp8_autocast(recipe=CurrentScaling()), tercel.no_grad():
        yield "fp8_autocast", layer(x)
    for scheme in quantization.schemes():
        yield f"weights {scheme}", linear(x, quantization.quantize(w, scheme))


def report() -> list[dict]:
    """Rows with name, largest and rms error, both relative to the rms of the result."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1024), dtype=np.float32)
    w = rng.standard_normal((256, 1024), dtype=np.float32) / np.float32(32)
    exact = x.astype(np.float64) @ w.T.astype(np.float64)
    size = np.sqrt((exact**2).mean())
    rows = []
    for name, y in products(tercel.from_numpy(x), tercel.from_numpy(w)):
        error = (y.double().numpy() - exact) / size
        rows.append(
            {
                "format": name,
                "largest": float(np.abs(error).max()),
                "rms": float(np.sqrt((error**2).mean())),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    args = parser.parse_args()
    if not args.json:
        print(f"{'format':28s} {'largest':>10s} {'rms':>10s}   ({tercel.get_isa()})")
    for row in report():
        print(
            json.dumps(row)
            if args.json
            else f"{row['format']:28s} {row['largest']:10.2e} {row['rms']:10.2e}"
        )


if __name__ == "__main__":
    main()
