"""Cost of an eager op on tiny tensors, in nanoseconds, against PyTorch: `python bench/overhead.py [--save]`.

The kernels do nothing worth measuring here: what is left is argument handling, the tensor header, the
allocator and the graph node.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import report
import tercel
from timer import compare

try:
    import torch
except ImportError:
    torch = None


def mlp(lib, optimizer: str):
    """A training step of a small multi-layer perceptron: batch 32, three hidden layers of 64."""
    lib.manual_seed(0)
    sizes = [64, 64, 64, 64, 10]
    layers = []
    for i, o in itertools.pairwise(sizes):
        layers += [lib.nn.Linear(i, o), lib.nn.ReLU()]
    model = lib.nn.Sequential(*layers[:-1])
    x, y = lib.randn(32, 64), lib.randint(0, 10, (32,))
    opt = getattr(lib.optim, optimizer)(model.parameters(), lr=1e-3)
    loss_fn = lib.nn.CrossEntropyLoss()

    def step():
        opt.zero_grad()
        loss_fn(model(x), y).backward()
        opt.step()

    return step


def infer(lib):
    lib.manual_seed(0)
    model = lib.nn.Sequential(lib.nn.Linear(64, 64), lib.nn.ReLU(), lib.nn.Linear(64, 10))
    x = lib.randn(32, 64)

    def step():
        with lib.no_grad():
            return model(x)

    return step


def rows(lib) -> dict:
    a, b = lib.randn(4), lib.randn(4)
    g, h = lib.randn(4), lib.randn(4).requires_grad_(True)
    m, n = lib.randn(8, 8), lib.randn(8, 8)
    w, v = lib.randn(64), lib.randn(1, 64)
    layer = lib.nn.Linear(64, 64)
    big = lib.randn(16, 16)

    def backward():
        h.grad = None
        (g * h).sum().backward()

    return {
        "a + b": lambda: a + b,
        "a += b": lambda: a.add_(b),
        "a + 1": lambda: a + 1.0,
        "a + b with grad": lambda: h + b,
        "(a * b).sum().backward()": backward,
        "matmul 8x8": lambda: m @ n,
        "slice x[1:3]": lambda: big[1:3],
        "x[0, 1]": lambda: big[0, 1],
        "reshape + transpose": lambda: big.reshape(4, 64).t(),
        "softmax(64)": lambda: lib.softmax(w, -1),
        "layer_norm 1x64": lambda: lib.nn.functional.layer_norm(v, (64,), w, w),
        "zeros(4)": lambda: lib.zeros(4),
        "tensor([1, 2, 3, 4])": lambda: lib.tensor([1.0, 2.0, 3.0, 4.0]),
        "item()": lambda: a[0].item(),
        "nn.Linear 1x64": lambda: layer(v),
        "MLP 3x64 batch 32 forward": infer(lib),
        "MLP 3x64 batch 32 SGD step": mlp(lib, "SGD"),
        "MLP 3x64 batch 32 AdamW step": mlp(lib, "AdamW"),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep the rows in bench/results")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.4)
    args = parser.parse_args(argv)
    tercel.set_num_threads(args.threads)
    if torch is not None:
        torch.set_num_threads(args.threads)
    ours, theirs = rows(tercel), rows(torch) if torch is not None else {}
    kept = []
    for name, fn in ours.items():
        t = compare(fn, theirs.get(name), args.seconds)
        other = f"{t.other * 1e9:.0f} ns" if t.other else None
        kept.append(
            {
                "op": "overhead",
                "shape": name,
                "dtype": "float32",
                "isa": tercel.get_isa(),
                "threads": args.threads,
                "text": f"{t.seconds * 1e9:.0f} ns",
                "torch_text": other,
                "ratio": round(t.ratio, 3) if t.ratio else None,
            }
        )
        ratio = f"{t.ratio:.2f}" if t.ratio else ""
        print(f"{name:32s} {t.seconds * 1e9:10.0f} ns   {other or '-':>12s}   {ratio}", flush=True)
    if args.save:
        report.save("overhead", kept)


if __name__ == "__main__":
    main()
