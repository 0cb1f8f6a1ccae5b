"""Training steps against the same steps in PyTorch: `python bench/models.py [--save]`, the demo's network;
`python bench/models.py gpt`, a GPT in float32 and under bfloat16 autocast.

Same weights, same batch, same optimizer; the losses of the first steps are compared before timing.
"""

from __future__ import annotations

import argparse
import contextlib
import math
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


GPT = dict(layers=6, width=384, heads=6, length=256, batch=4, vocabulary=256)


def gpt(lib, layers, width, heads, length, vocabulary, **_):
    """A decoder of pre-norm blocks (GPT-2's shape), weights not tied."""
    nn, F = lib.nn, lib.nn.functional
    mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.register_buffer("mask", lib.from_numpy(mask), persistent=False)

        def attention(self, x):
            b, t, _ = x.shape
            q, k, v = self.qkv(x).reshape(b, t, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            if hasattr(F, "scaled_dot_product_attention"):
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(width // heads))
                y = F.softmax(scores + self.mask, -1).to(v.dtype) @ v
            return self.project(y.transpose(1, 2).reshape(b, t, width))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, tokens):
            x = self.tokens(tokens) + self.places(lib.arange(tokens.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    return Model()


def gpt_step(lib, start: dict[str, np.ndarray], narrow: bool):
    rng = np.random.default_rng(0)
    text = lib.from_numpy(rng.integers(0, GPT["vocabulary"], (GPT["batch"], GPT["length"] + 1)))
    model = gpt(lib, **GPT)
    model.load_state_dict({k: lib.from_numpy(np.array(v)) for k, v in start.items()})
    optimizer = lib.optim.AdamW(model.parameters(), lr=3e-4)

    def step():
        optimizer.zero_grad()
        region = lib.amp.autocast("cpu", dtype=lib.bfloat16) if narrow else contextlib.nullcontext()
        with region:
            logits = model(text[:, :-1])
        loss = lib.nn.functional.cross_entropy(
            logits.float().reshape(-1, GPT["vocabulary"]), text[:, 1:].reshape(-1)
        )
        loss.backward()
        optimizer.step()
        return loss

    return step


def gpt_rows(threads: int, seconds: float) -> list[dict]:
    tercel.manual_seed(0)
    start = {k: v.numpy() for k, v in gpt(tercel, **GPT).state_dict().items()}
    rows = []
    for narrow in (False, True):
        ours = gpt_step(tercel, start, narrow)
        theirs = gpt_step(torch, start, narrow) if torch is not None else None
        if theirs:
            check(ours, theirs, 1, 1e-2)
        rows.append(
            row(
                "GPT 6 layers, width 384, 4 x 256 tokens: training step",
                "bfloat16 autocast" if narrow else "float32",
                threads,
                compare(ours, theirs, seconds),
            )
        )
    return rows


def check(ours, theirs, steps: int = 3, bound: float = 1e-3) -> None:
    for i in range(steps):
        a, b = float(ours().item()), float(theirs().item())
        if abs(a - b) > bound * max(1.0, abs(b)):
            raise AssertionError(f"step {i}: loss {a}, PyTorch {b}")


def row(op: str, shape: str, threads: int, t) -> dict:
    made = {
        "op": op,
        "shape": shape,
        "dtype": "float32",
        "isa": tercel.get_isa(),
        "threads": threads,
        "text": report.duration(t.seconds * 1e6),
        "torch_text": report.duration(t.other * 1e6) if t.other else None,
        "ratio": round(t.ratio, 3) if t.ratio else None,
    }
    print(
        f"{op:26s} {shape:18s} {threads} threads  {made['text']:>10s}  {made['torch_text'] or '-':>10s}  "
        f"{made['ratio'] or ''}",
        flush=True,
    )
    return made


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="demo", choices=("demo", "gpt"))
    parser.add_argument("--save", action="store_true", help="keep the rows in bench/results")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args(argv)
    kept = []
    for threads in map(int, args.threads.split(",")):
        tercel.set_num_threads(threads)
        if torch is not None:
            torch.set_num_threads(threads)
        if args.model == "gpt":
            kept += gpt_rows(threads, args.seconds)
            continue
        for name, shape in SHAPES.items():
            start = weights(shape)
            ours, ours_infer = train_step(tercel, shape, start)
            theirs = theirs_infer = None
            if torch is not None:
                # PyTorch's faster optimizer; its default is slower
                theirs, theirs_infer = train_step(torch, shape, start, fused=True)
                check(ours, theirs)
            for what, a, b in [("train step", ours, theirs), ("forward", ours_infer, theirs_infer)]:
                timing = compare(a, b, args.seconds)
                kept.append(row(f"demo network {what}", name, threads, timing))
    if args.save:
        report.save("models", kept)


if __name__ == "__main__":
    main()
