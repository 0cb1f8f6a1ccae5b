"""A multi-layer perceptron that learns to tell two spirals apart."""

import math

import tercel
from tercel import nn


def spirals(n: int) -> tuple[tercel.Tensor, tercel.Tensor]:
    """n points on each of two spirals: (points [2n, 2], labels [2n])."""
    t = tercel.sqrt(tercel.rand(n)) * 3 * math.pi
    arm = tercel.stack([t.cos() * t, t.sin() * t], dim=1) / 10
    points = tercel.cat([arm, -arm]) + 0.02 * tercel.randn(2 * n, 2)
    labels = tercel.cat([tercel.zeros(n), tercel.ones(n)]).long()
    return points, labels


def main(steps: int = 400) -> float:
    tercel.manual_seed(0)
    x, y = spirals(500)
    model = nn.Sequential(
        nn.Linear(2, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 2)
    )
    optimizer = tercel.optim.AdamW(model.parameters(), lr=1e-2)
    loss_fn = nn.CrossEntropyLoss()
    for step in range(steps):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:4d}  loss {loss.item():.4f}")
    x, y = spirals(500)
    with tercel.no_grad():
        accuracy = (model(x).argmax(1) == y).float().mean().item()
    print(f"accuracy on new points: {100 * accuracy:.1f} %")
    return accuracy


if __name__ == "__main__":
    main()
