"""Dropout: random bits and scaling in one pass."""

from . import case

for _label, _n in [("256 KB", 1 << 16), ("64 MB", 1 << 24)]:
    case("dropout", _label, inputs=lambda s, n=_n: [s.normal(n)], fn=lambda L, x: L.nn.functional.dropout(x, 0.1),
         check=False, bytes=8 * _n, quick=_n < 1 << 20)  # fmt: skip
case("dropout", "256 KB", inputs=lambda s: [s.normal(1 << 16)], fn=lambda L, x: L.nn.functional.dropout(x, 0.1),
     check=False, bytes=16 << 16, grad=True)  # fmt: skip
