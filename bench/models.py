"""A training step of the demo's network against the same step in PyTorch: `python bench/models.py [--save]`.

Same weights, same batch, same optimizer; the losses of the first steps are compared before timing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np

import report
import tercel
from timer import compare

try:
    import torch
except ImportError:
    torch = None

SHAPES = {
    "MNIST, batch 128": dict(size=28, widths=(16, 32, 64), batch=128),
    "digits, batch 64": dict(size=8, widths=(32, 64), batch=64),
}


def resnet(lib, widths, blocks=1, classes=10):
    """The network of tercel.demo written for `lib`."""
    nn, F = lib.nn, lib.nn.functional

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm1 = nn.BatchNorm2d(width)
            self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

        def forward(self, x):
            return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            layers, before = [], 1
            for stage, width in enumerate(widths):
                stride = 1 if stage == 0 else 2
                layers.append(nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False))
                layers.extend(Block(width) for _ in range(blocks))
                before = width
            self.features = nn.Sequential(*layers)
            self.norm = nn.BatchNorm2d(before)
            self.head = nn.Linear(before, classes)

        def forward(self, x):
            return self.head(F.relu(self.norm(self.features(x))).mean((2, 3)))

    return ResNet()


def weights(shape: dict) -> dict[str, np.ndarray]:
    """Initial weights for both libraries."""
    tercel.manual_seed(0)
    return {k: v.numpy() for k, v in resnet(tercel, shape["widths"]).state_dict().items()}


def train_step(lib, shape: dict, start: dict[str, np.ndarray], **options):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((shape["batch"], 1, shape["size"], shape["size"]), dtype=np.float32)
    y = rng.integers(0, 10, shape["batch"])
    x, y = lib.from_numpy(x), lib.from_numpy(y)
    model = resnet(lib, shape["widths"])
    model.load_state_dict({k: lib.from_numpy(np.array(v)) for k, v in start.items()})
    optimizer = lib.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, **options
    )
    loss_fn = lib.nn.functional.cross_entropy

    def step():
        optimizer.zero_grad()
        loss = loss_fn(model(x), y, label_smoothing=0.05)
        loss.backward()
        optimizer.step()
        return loss

    def infer():
        with lib.no_grad():
            return model(x)

    return step, infer


def check(ours, theirs) -> None:
    for i in range(3):
        a, b = float(ours().item()), float(theirs().item())
        if abs(a - b) > 1e-3 * max(1.0, abs(b)):
            raise AssertionError(f"step {i}: loss {a}, PyTorch {b}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--save", action="store_true", help="keep the rows in bench/results")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args(argv)
    kept = []
    for threads in map(int, args.threads.split(",")):
        tercel.set_num_threads(threads)
        if torch is not None:
            torch.set_num_threads(threads)
        for name, shape in SHAPES.items():
            start = weights(shape)
            ours, ours_infer = train_step(tercel, shape, start)
            theirs = theirs_infer = None
            if torch is not None:
                # PyTorch's faster optimizer; its default is slower
                theirs, theirs_infer = train_step(torch, shape, start, fused=True)
                check(ours, theirs)
            for what, a, b in [("train step", ours, theirs), ("forward", ours_infer, theirs_infer)]:
                t = compare(a, b, args.seconds)
                row = {
                    "op": f"demo network {what}",
                    "shape": name,
                    "dtype": "float32",
                    "isa": tercel.get_isa(),
                    "threads": threads,
                    "text": report.duration(t.seconds * 1e6),
                    "torch_text": report.duration(t.other * 1e6) if t.other else None,
                    "ratio": round(t.ratio, 3) if t.ratio else None,
                }
                kept.append(row)
                print(
                    f"{row['op']:26s} {name:18s} {threads} threads  {row['text']:>10s}  "
                    f"{row['torch_text'] or '-':>10s}  {row['ratio'] or ''}",
                    flush=True,
                )
    if args.save:
        report.save("models", kept)


if __name__ == "__main__":
    main()
