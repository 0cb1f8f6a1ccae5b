"""`tercel demo`: trains a pre-activation residual network on handwritten digits, saves it, loads it again and
checks that the loaded model does as well.

The network follows He et al., "Identity Mappings in Deep Residual Networks" (2016): a block adds
conv(relu(norm(conv(relu(norm(x)))))) to x, and nothing touches x on the way; resolution and width change only in the
convolutions between stages. The same bits come out of every run, with any number of threads.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import tercel
from tercel import nn
from tercel.nn import functional as F

__all__ = ["Block", "ResNet", "Settings", "evaluate", "run", "train"]


class Block(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), same shape out as in."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: tercel.Tensor) -> tercel.Tensor:
        h = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(h)))


class ResNet(nn.Module):
    """Images [N, C, H, W] to logits [N, classes]; one stage of blocks per width, halving H and W between."""

    def __init__(self, channels: int, widths: Iterable[int], blocks: int, classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for stage, width in enumerate(widths):
            stride = 1 if stage == 0 else 2
            layers.append(nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False))
            layers.extend(Block(width) for _ in range(blocks))
            before = width
        self.features = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(before)
        self.head = nn.Linear(before, classes)

    def forward(self, x: tercel.Tensor) -> tercel.Tensor:
        h = F.relu(self.norm(self.features(x)))
        return self.head(h.mean((2, 3)))


@dataclass
class Settings:
    """What to train on and how."""

    data: Path | None = None  # folder of IDX files; None: the digits of the package
    epochs: int = 0  # 0: 20 for the digits, 4 for a folder
    batch: int = 0  # 0: 64 and 128
    lr: float = 0.0  # peak of the one-cycle schedule; 0: 0.1 and 0.1
    shift: int = 1  # largest random shift of a training image, in pixels
    seed: int = 0
    out: Path = Path("tercel-demo")
    progress: bool = True
    device: str = "cpu"


@dataclass
class Data:
    """Images stay bytes (uint8, 0 .. scale) until a batch is made."""

    images: np.ndarray
    labels: np.ndarray
    scale: float
    mean: float = 0.0
    std: float = 1.0

    def batch(
        self, index: np.ndarray, shifts: np.ndarray | None = None
    ) -> tuple[tercel.Tensor, tercel.Tensor]:
        x = self.images[index]
        if shifts is not None:
            x = shifted(x, shifts)
        x = (x.astype(np.float32) / np.float32(self.scale) - np.float32(self.mean)) / np.float32(
            self.std
        )
        return tercel.from_numpy(x), tercel.from_numpy(self.labels[index])


def shifted(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Image i moved by shifts[i] = (rows, columns), zeros coming in."""
    n, _, height, width = images.shape
    pad = int(np.abs(shifts).max(initial=0))
    padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = np.arange(height)[None] + pad + shifts[:, :1]
    columns = np.arange(width)[None] + pad + shifts[:, 1:]
    return padded[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].transpose(
        0, 3, 1, 2
    )


def load(settings: Settings) -> tuple[Data, Data]:
    from tercel import datasets

    def data(train: bool) -> Data:
        if settings.data is None:
            images, labels = datasets.digits(train)
            return Data((images.numpy() * 16).astype(np.uint8), labels.numpy(), 16.0)
        images, labels = datasets.idx_folder(settings.data, train)
        return Data(images.numpy(), labels.numpy(), 255.0)

    train_set, test_set = data(True), data(False)
    mean = float(train_set.images.mean(dtype=np.float64) / train_set.scale)
    std = float(train_set.images.std(dtype=np.float64) / train_set.scale)
    for part in (train_set, test_set):
        part.mean, part.std = mean, std
    return train_set, test_set


def make_model(settings: Settings, data: Data) -> ResNet:
    classes = int(data.labels.max()) + 1
    channels = data.images.shape[1]
    if settings.data is None:
        return ResNet(channels, (32, 64), 1, classes)
    return ResNet(channels, (16, 32, 64), 1, classes)


@dataclass
class History:
    train_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0


def evaluate(
    model: nn.Module, data: Data, batch: int = 500, device: str = "cpu"
) -> tuple[float, float]:
    """(mean loss, part of the images classified correctly)"""
    model.eval()
    loss, correct = 0.0, 0
    with tercel.no_grad():
        for begin in range(0, len(data.labels), batch):
            x, y = data.batch(np.arange(begin, min(begin + batch, len(data.labels))))
            x, y = x.to(device), y.to(device)
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += int((logits.argmax(1) == y).sum().item())
    return loss / len(data.labels), correct / len(data.labels)


def train(model: nn.Module, train_set: Data, test_set: Data, settings: Settings) -> History:
    epochs, history = settings.epochs, History()
    steps = len(train_set.labels) // settings.batch
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = tercel.optim.SGD(
        [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
        lr=settings.lr, momentum=0.9, nesterov=True,
    )  # fmt: skip
    schedule = tercel.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=settings.lr, total_steps=epochs * steps, pct_start=0.25
    )
    rng = np.random.default_rng(settings.seed)
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        model.train()
        order = rng.permutation(len(train_set.labels))
        total = 0.0
        for step in progress(range(steps), f"epoch {epoch}/{epochs}", settings.progress):
            index = order[step * settings.batch : (step + 1) * settings.batch]
            shifts = rng.integers(-settings.shift, settings.shift + 1, (len(index), 2))
            x, y = train_set.batch(index, shifts)
            x, y = x.to(settings.device), y.to(settings.device)
            loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        test_loss, accuracy = evaluate(model, test_set, device=settings.device)
        history.train_loss.append(total / steps)
        history.test_loss.append(test_loss)
        history.accuracy.append(accuracy)
        print(
            f"epoch {epoch:2d}  train loss {total / steps:.4f}  test loss {test_loss:.4f}  "
            f"accuracy {100 * accuracy:.2f} %  {time.perf_counter() - start:.1f} s",
            flush=True,
        )
    history.seconds = time.perf_counter() - start
    return history


def progress(steps: range, label: str, wanted: bool) -> Iterator[int]:
    """tqdm's bar if it is installed and someone is watching; a plain line otherwise."""
    if not wanted or not sys.stderr.isatty():
        yield from steps
        return
    try:
        tqdm: Any = importlib.import_module("tqdm").tqdm
    except ImportError:
        for step in steps:
            if step % 10 == 0:
                print(f"\r{label}: {step}/{len(steps)}", end="", file=sys.stderr, flush=True)
            yield step
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
        return
    yield from tqdm(steps, desc=label, leave=False)


def plot(history: History, path: Path) -> str:
    """Writes the learning curve, or says why not."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        plt: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return "no learning curve: matplotlib is not installed (pip install matplotlib)"
    epochs = range(1, len(history.accuracy) + 1)
    figure, left = plt.subplots(figsize=(7, 4))
    left.plot(epochs, history.train_loss, label="train loss")
    left.plot(epochs, history.test_loss, label="test loss")
    left.set_xlabel("epoch")
    left.set_ylabel("loss")
    right = left.twinx()
    right.plot(epochs, [100 * a for a in history.accuracy], color="tab:green", label="accuracy")
    right.set_ylabel("held-out accuracy, %")
    figure.legend(loc="center")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return f"learning curve: {path}"


def run(settings: Settings) -> float:
    """The whole demo; returns the accuracy of the reloaded model."""
    small = settings.data is None
    settings.epochs = settings.epochs or (20 if small else 4)
    settings.batch = settings.batch or (64 if small else 128)
    settings.lr = settings.lr or 0.1
    train_set, test_set = load(settings)
    tercel.manual_seed(settings.seed)
    model = make_model(settings, train_set).to(settings.device)
    parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{len(train_set.labels)} training and {len(test_set.labels)} held-out images of "
        f"{'x'.join(map(str, train_set.images.shape[2:]))}; {parameters} parameters; "
        f"{tercel.get_num_threads()} threads"
    )
    history = train(model, train_set, test_set, settings)

    settings.out.mkdir(parents=True, exist_ok=True)
    weights = settings.out / "model.safetensors"
    tercel.save({k: v.cpu() for k, v in model.state_dict().items()}, weights)
    print(plot(history, settings.out / "learning-curve.png"))

    fresh = make_model(settings, train_set).to(settings.device)
    fresh.load_state_dict(tercel.load(weights))
    loss, accuracy = evaluate(fresh, test_set, device=settings.device)
    if accuracy != history.accuracy[-1]:
        raise RuntimeError("demo: the reloaded model differs from the trained one")
    print(
        f"weights: {weights}\nreloaded model: held-out loss {loss:.4f}, accuracy {100 * accuracy:.2f} % "
        f"({history.seconds:.1f} s of training)"
    )
    return accuracy
