"""Random fills: the numbers differ between libraries, so only the time is compared."""

from . import case

N = 1 << 24


def row(op, shape, fn, nbytes, **extra):
    case(op, shape, lambda s: [s.normal(1)], fn, bytes=nbytes, check=False, **extra)


row("randn", "16M", lambda L, x: L.randn(N), 4 * N, quick=True)
row("rand", "16M", lambda L, x: L.rand(N), 4 * N)
row("randn", "1000", lambda L, x: L.randn(1000), 4000)
row("randint", "4M int64", lambda L, x: L.randint(0, 1000, (1 << 22,)), 8 << 22)
row("randperm", "1M", lambda L, x: L.randperm(1 << 20), 8 << 20)
case("bernoulli_", "16M", lambda s: [s.normal(N)], lambda L, x: x.bernoulli_(0.5), bytes=4 * N,
     check=False)  # fmt: skip
