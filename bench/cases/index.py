"""Indexing: shapes of the published comparison (random positions, values as float32)."""

from . import case

N = 1 << 24


def rows(s):
    return [s.normal(100_000, 256), s.ints(50_000, low=0, high=100_000)]


case("index_select", "100000x256, 50000 rows", rows, lambda L, x, i: L.index_select(x, 0, i),
     bytes=2 * 4 * 50_000 * 256, quick=True)  # fmt: skip
case("getitem", "100000x256, 50000 rows", rows, lambda L, x, i: x[i], bytes=2 * 4 * 50_000 * 256)
case("gather", "4096x4096 dim 1", lambda s: [s.normal(4096, 4096), s.ints(4096, 4096, low=0, high=4096)],
     lambda L, x, i: L.gather(x, 1, i), bytes=16 * N)  # fmt: skip
case("index_add", "10000x256, 20000 rows",
     lambda s: [s.normal(10_000, 256), s.ints(20_000, low=0, high=10_000), s.normal(20_000, 256)],
     lambda L, x, i, v: x.index_add_(0, i, v), bytes=3 * 4 * 20_000 * 256, check=False)  # fmt: skip
case("scatter_add", "1M into 10000",
     lambda s: [s.normal(10_000), s.ints(1 << 20, low=0, high=10_000), s.normal(1 << 20)],
     lambda L, x, i, v: x.scatter_add_(0, i, v), bytes=12 * (1 << 20), check=False)  # fmt: skip
case("masked_select", "16M, 16 %", lambda s: [s.normal(N)],
     lambda L, x, m: L.masked_select(x, m), prepare=lambda L, x: (x, x > 1.0),
     bytes=5 * N + 4 * 0.16 * N)  # fmt: skip
case("masked_fill", "4096x4096", lambda s: [s.normal(4096, 4096)],
     lambda L, x, m: L.masked_fill(x, m, 0.0), prepare=lambda L, x: (x, x > 1.0),
     bytes=9 * N)  # fmt: skip
case("nonzero", "16M, 16 %", lambda s: [s.normal(N)], lambda L, m: L.nonzero(m),
     prepare=lambda L, x: (x > 1.0,), bytes=N + 8 * 0.16 * N)  # fmt: skip
case("searchsorted", "1M in 10000", lambda s: [s.normal(10_000), s.normal(1 << 20)],
     lambda L, a, v: L.searchsorted(a, v), prepare=lambda L, a, v: (L.sort(a)[0], v),
     bytes=12 * (1 << 20))  # fmt: skip
