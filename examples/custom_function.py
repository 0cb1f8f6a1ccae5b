"""A gradient rule of one's own: sign() with a straight-through gradient, to train binary weights."""

import tercel
from tercel.autograd import Function


class Sign(Function):
    """sign(x) forward; backward lets the gradient through where |x| <= 1."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


def main(steps: int = 300) -> float:
    tercel.manual_seed(0)
    target = tercel.randn(32).sign()
    x = tercel.randn(256, 32)
    y = x @ target
    w = (0.1 * tercel.randn(32)).requires_grad_(True)
    optimizer = tercel.optim.Adam([w], lr=0.02)
    for _ in range(steps):
        loss = ((x @ Sign.apply(w) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    agreement = (w.detach().sign() == target).float().mean().item()
    print(f"signs recovered: {100 * agreement:.0f} %")
    return agreement


if __name__ == "__main__":
    main()
