"""Sorting and selection."""

from . import case


def add(op, shape, inputs, fn, nbytes, **extra):
    case(op, shape, inputs, fn, bytes=nbytes, **extra)


M = 1 << 20
add("sort", "1M", lambda s: [s.normal(M)], lambda L, x: L.sort(x)[0], 16 * M, quick=True)
add("sort", "1024x1024", lambda s: [s.normal(1024, 1024)], lambda L, x: L.sort(x)[0], 16 * M)
add("sort", "1M int64", lambda s: [s.ints(M, low=-(1 << 40), high=1 << 40)],
    lambda L, x: L.sort(x)[0], 24 * M)  # fmt: skip
add("topk", "50 of 64x50304", lambda s: [s.normal(64, 50304)], lambda L, x: L.topk(x, 50)[0],
    4 * 64 * 50304)  # fmt: skip
add("topk", "50 of 1x50304", lambda s: [s.normal(1, 50304)], lambda L, x: L.topk(x, 50)[0],
    4 * 50304)  # fmt: skip
add("topk", "8 of 8192x128", lambda s: [s.normal(8192, 128)], lambda L, x: L.topk(x, 8)[0],
    4 * 8192 * 128)  # fmt: skip
add("unique", "1M of 1000", lambda s: [s.ints(M, low=0, high=1000)], lambda L, x: L.unique(x),
    8 * M)  # fmt: skip
