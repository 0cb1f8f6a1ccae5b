"""Joins and rearrangements."""

from . import case

N = 1 << 24


def square(s):
    return [s.normal(4096, 4096)]


case("cat", "2 x 4096x2048 dim 1", lambda s: [s.normal(4096, 2048), s.normal(4096, 2048)],
     lambda L, a, b: L.cat([a, b], 1), bytes=8 * N, quick=True)  # fmt: skip
case("cat", "2 x 2048x4096 dim 0", lambda s: [s.normal(2048, 4096), s.normal(2048, 4096)],
     lambda L, a, b: L.cat([a, b], 0), bytes=8 * N)  # fmt: skip
case("stack", "8 x 1M dim 0", lambda s: [s.normal(1 << 20) for _ in range(8)],
     lambda L, *t: L.stack(list(t)), bytes=64 << 20)  # fmt: skip
case("cat", "2 x 64 floats", lambda s: [s.normal(64), s.normal(64)], lambda L, a, b: L.cat([a, b]),
     bytes=1024)  # fmt: skip
case("flip", "4096x4096 dim 1", square, lambda L, x: L.flip(x, (1,)), bytes=8 * N)
case("roll", "4096x4096 dim 1", square, lambda L, x: L.roll(x, 7, 1), bytes=8 * N)
case("tril", "4096x4096", square, lambda L, x: L.tril(x), bytes=6 * N)
case("pad", "64x64x56x56 by 1", lambda s: [s.normal(64, 64, 56, 56)],
     lambda L, x: L.pad(x, (1, 1, 1, 1)),
     theirs=lambda L, x: L.nn.functional.pad(x, (1, 1, 1, 1)),
     bytes=4 * 64 * 64 * (56 * 56 + 58 * 58))  # fmt: skip
case("repeat", "1024x1024 by 4x4", lambda s: [s.normal(1024, 1024)], lambda L, x: x.repeat(4, 4),
     bytes=4 * N + (4 << 20))  # fmt: skip
case("diff", "4096x4096 dim 1", square, lambda L, x: L.diff(x), bytes=8 * N)
