"""A program as users write it, for mypy (the list of files is in pyproject.toml): it is not run."""

from __future__ import annotations

import numpy as np

import tercel
import tercel.nn.functional as F
from tercel import Tensor, nn
from tercel.optim.lr_scheduler import OneCycleLR
from tercel.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(4, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = F.relu(self.norm(self.inner(x)))
        logits: Tensor = self.head(F.dropout(h, 0.1, self.training)) * 2 + 1
        return logits


def train() -> float:
    device = "cpu"
    net = Net(8).to(device)
    optimizer = tercel.optim.AdamW(net.parameters(), lr=1e-3)
    scheduler = OneCycleLR(optimizer, 1e-2, total_steps=10)
    data = TensorDataset(tercel.randn(8, 4, device=device), tercel.randint(0, 2, (8,)))
    for x, y in DataLoader(data, batch_size=4, shuffle=True):
        loss = F.cross_entropy(net(x.to(device)), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    with tercel.no_grad():
        z: Tensor = tercel.zeros(2, 3, dtype=tercel.float32, device=device)
        z += 1
        z[0] = z[1, :2].sum() * 2 ** z.dim()
        values, indices = z.max(1)
        array: np.ndarray = (z @ z.T).numpy()
    tercel.save(net.state_dict(), "weights")
    net.load_state_dict(tercel.load("weights"))
    parts = z.split([1, 2], dim=1)
    rows = z.shape[1:].numel() + len(parts) + array.shape[0] + int(indices[0])
    return float(values.mean().item()) + rows
