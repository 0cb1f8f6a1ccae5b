"""Table lookups."""

from . import case


def table(L, idx, weight):
    return L.nn.functional.embedding(idx, weight)


for _label, _v, _d, _n, _quick in [
    ("50k x 768, 4096 ids", 50000, 768, 4096, False),
    ("1k x 64, 512 ids", 1000, 64, 512, True),
]:
    _inputs = lambda s, v=_v, d=_d, n=_n: [s.ints(n, low=0, high=v), s.normal(v, d)]
    case("embedding", _label, inputs=_inputs, fn=table, bytes=8 * _n * _d, quick=_quick)
    case(
        "embedding", _label, inputs=_inputs, fn=table, bytes=4 * (3 * _n * _d + _v * _d), grad=True
    )
case(
    "embedding_bag", "10k x 64, 512 bags of 20", bytes=4 * 512 * 21 * 64,
    inputs=lambda s: [s.ints(512, 20, low=0, high=10000), s.normal(10000, 64)],
    fn=lambda L, idx, w: L.nn.functional.embedding_bag(idx, w, mode="sum"),
)  # fmt: skip
