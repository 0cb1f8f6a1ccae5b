"""A program as people write it for PyTorch; only the import differs. It trains, saves, resumes and evaluates.

python examples/familiar.py [FOLDER]
"""

import os
import sys
import tempfile

import numpy as np

import tercel as torch
import tercel.nn as nn
import tercel.nn.functional as F
import tercel.optim as optim
from tercel.utils.data import DataLoader, Dataset


class Spirals(Dataset):
    """Points on three interleaved spirals; the label is the spiral."""

    def __init__(self, n: int = 300, noise: float = 0.1):
        rng = np.random.default_rng(0)
        t = rng.uniform(0.2, 1, n)
        label = rng.integers(0, 3, n)
        angle = 4 * t + label * (2 * np.pi / 3) + noise * rng.standard_normal(n)
        points = np.stack([t * np.cos(angle), t * np.sin(angle)], axis=1)
        self.x = torch.from_numpy(points.astype(np.float32))
        self.y = torch.tensor(label, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class Net(nn.Module):
    def __init__(self, width: int = 32, depth: int = 2, classes: int = 3):
        super().__init__()
        self.stem = nn.Linear(2, width)
        self.blocks = nn.ModuleList([Block(width) for _ in range(depth)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(0.0), nn.Linear(width, classes))
        self.register_buffer("scale", torch.ones(1))
        self.apply(self._init)

    @staticmethod
    def _init(module):
        # From NumPy, so that every framework starts with the same numbers.
        if isinstance(module, nn.Linear):
            rng = np.random.default_rng(module.in_features * 1000 + module.out_features)
            w = rng.normal(0, module.in_features**-0.5, tuple(module.weight.shape))
            with torch.no_grad():
                module.weight.copy_(torch.as_tensor(w.astype(np.float32)))
            nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.stem(x * self.scale)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def accuracy(model, loader, device) -> float:
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in loader:
            pred = model(x.to(device)).argmax(dim=1, keepdim=True)
            right += pred.eq(y.to(device).view_as(pred)).sum().item()
            total += y.size(0)
    return right / total


def train(model, loader, optimizer, scheduler, device, epochs: int) -> list[float]:
    losses = []
    for _ in range(epochs):
        model.train()
        running = 0.0
        for x, y in loader:
            x, y = x.to(device), y.to(device, non_blocking=True)
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x), y, label_smoothing=0.05)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            running += loss.item() * x.size(0)
        scheduler.step()
        losses.append(running / len(loader.dataset))
    return losses


def main(folder: str | None = None, epochs: int = 12) -> tuple[list[float], float]:
    torch.manual_seed(0)
    torch.backends.cudnn.deterministic = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(Spirals(), batch_size=50, shuffle=False)
    model = Net().to(device)
    decay = [p for n, p in model.named_parameters() if n.endswith("weight") and p.dim() > 1]
    other = [p for n, p in model.named_parameters() if not (n.endswith("weight") and p.dim() > 1)]
    groups = [{"params": decay, "weight_decay": 1e-2}, {"params": other, "weight_decay": 0.0}]
    optimizer = optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    losses = train(model, loader, optimizer, scheduler, device, epochs // 2)

    # A checkpoint, and a second process that resumes from it.
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(folder or temporary, "model.pt")
        torch.save({"model": model.state_dict(), "epoch": epochs // 2}, path)
        checkpoint = torch.load(path, map_location=device, weights_only=True)
        resumed = Net().to(device)
        print(resumed.load_state_dict(checkpoint["model"]))
    state, steps = optimizer.state_dict(), scheduler.state_dict()
    model = resumed
    decay = [p for n, p in model.named_parameters() if n.endswith("weight") and p.dim() > 1]
    other = [p for n, p in model.named_parameters() if not (n.endswith("weight") and p.dim() > 1)]
    optimizer = optim.AdamW([{"params": decay}, {"params": other}], lr=1e-2)
    optimizer.load_state_dict(state)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    scheduler.load_state_dict(steps)
    losses += train(model, loader, optimizer, scheduler, device, epochs - epochs // 2)
    right = accuracy(model, loader, device)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {right:.3f}")
    return losses, right


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
