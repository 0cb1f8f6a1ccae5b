"""embedding and embedding_bag."""

import numpy as np

from . import EXACT, FLOATS, SUM, Sample, case


def embedding(idx, weight, padding_idx=None, scale_grad_by_freq=False):
    return weight[idx]


def _table(s):
    return [
        Sample((s.ints(*shape, low=0, high=rows), s.normal(rows, dim)))
        for shape, rows, dim in [
            ((7,), 5, 16),
            ((), 3, 4),
            ((2, 3), 9, 33),
            ((0,), 4, 5),
            ((40,), 3, 65),
            ((6,), 1, 1),
        ]
    ]


case(
    "embedding", embedding, _table, tol=EXACT, dtypes=FLOATS,
    large=lambda s: Sample((s.ints(3000, low=0, high=50), s.normal(50, 64))),
)  # fmt: skip


def bag(
    idx,
    weight,
    offsets=None,
    mode="mean",
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    if idx.ndim == 2:
        starts = np.arange(len(idx) + 1) * idx.shape[1]
        idx = idx.reshape(-1)
    else:
        starts = offsets if include_last_offset else np.append(offsets, len(idx))
    scale = np.ones(len(idx)) if per_sample_weights is None else per_sample_weights.reshape(-1)
    out = np.zeros((len(starts) - 1, weight.shape[1]))
    for b in range(len(out)):
        ks = [k for k in range(starts[b], starts[b + 1]) if idx[k] != padding_idx]
        if ks:
            rows = weight[idx[ks]] * scale[ks, None]
            out[b] = {"sum": rows.sum, "mean": rows.mean, "max": rows.max}[mode](axis=0)
    return out


def bag_scale(idx, weight, offsets=None, mode="mean", **kw):
    return np.maximum(1.0, np.abs(weight).max()) * max(
        1, idx.shape[-1] if idx.ndim == 2 else idx.size
    )


def _bags(mode):
    def samples(s):
        out = [
            Sample((s.ints(4, 3, low=0, high=6), s.distinct(6, 17)), {"mode": mode}),
            Sample(
                (s.ints(9, low=0, high=6), s.distinct(6, 5), np.array([0, 2, 2, 7])), {"mode": mode}
            ),
            Sample(
                (s.ints(9, low=0, high=6), s.distinct(6, 5), np.array([0, 2, 5, 9])),
                {"mode": mode, "include_last_offset": True},
            ),
            Sample(
                (s.ints(5, 4, low=0, high=3), s.distinct(3, 20)), {"mode": mode, "padding_idx": 1}
            ),
        ]
        if mode == "sum":
            out.append(
                Sample((s.ints(3, 4, low=0, high=6), s.normal(6, 8)),
                       {"mode": mode, "per_sample_weights": s.normal(3, 4)})
            )  # fmt: skip
        return out

    return samples


for _mode in ("sum", "mean", "max"):
    case(f"embedding_bag {_mode}", bag, _bags(_mode), fn="embedding_bag", tol=SUM, scale=bag_scale)
