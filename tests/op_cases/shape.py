"""Ops that rearrange elements: results are moves, so they are exact in every dtype."""

import numpy as np

from . import ALL, EXACT, SUM, Sample, case

MOVE = dict(dtypes=ALL, tol=EXACT)
NP_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def several(*options, shape=(3, 4, 5), shapes=None):
    """One sample per dict of keyword arguments."""
    return lambda s: [Sample((s.distinct(*sh),), o) for sh in (shapes or [shape]) for o in options]


def lists(s):
    return [
        Sample(([s.distinct(2, 3), s.distinct(4, 3)],), dict(dim=0)),
        Sample(([s.distinct(2, 3), s.distinct(2, 1), s.distinct(2, 0)],), dict(dim=-1)),
        Sample(([s.distinct(2, 3, 5)] * 2,), dict(dim=1)),
        Sample(([s.distinct(17)],), dict(dim=0)),
    ]


def np_pad(x, pad, mode="constant", value=0):
    for i in range(len(pad) // 2):
        axis = x.ndim - 1 - i
        before, after = pad[2 * i], pad[2 * i + 1]
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(max(0, -before), x.shape[axis] - max(0, -after))
        x = x[tuple(cut)]
        amounts = [(0, 0)] * x.ndim
        amounts[axis] = (max(0, before), max(0, after))
        if any(amounts[axis]):
            extra = {"constant_values": value} if mode == "constant" else {}
            x = np.pad(x, amounts, mode=NP_MODES[mode], **extra)
    return x


def np_repeat_interleave(x, repeats, dim=None):
    return np.repeat(x, np.asarray(repeats), axis=dim)


def np_diag_embed(x, offset=0):
    n = x.shape[-1] + abs(offset)
    out = np.zeros(x.shape[:-1] + (n, n), x.dtype)
    rows = np.arange(x.shape[-1])
    out[..., rows + max(0, -offset), rows + max(0, offset)] = x
    return out


case(
    "cat",
    oracle=lambda tensors, dim: np.concatenate(tensors, dim),
    samples=lists,
    grad=False,
    **MOVE,
)
case(
    "cat_pair",
    fn=lambda a, b: __import__("tercel").cat([a, b], 1),
    oracle=lambda a, b: np.concatenate([a, b], 1),
    samples=lambda s: [Sample((s.distinct(3, 2, 4), s.distinct(3, 5, 4)))],
    large=lambda s: Sample((s.normal(300, 200), s.normal(300, 300))),
    **MOVE,
)
case(
    "stack_pair",
    fn=lambda a, b, dim: __import__("tercel").stack([a, b], dim),
    oracle=lambda a, b, dim: np.stack([a, b], dim),
    samples=lambda s: [
        Sample((s.distinct(3, 4), s.distinct(3, 4)), dict(dim=d)) for d in (0, 1, -1)
    ],
    **MOVE,
)
case(
    "pad",
    oracle=np_pad,
    samples=several(
        dict(pad=(1, 2)),
        dict(pad=(0, 1, 2, 0), value=1),
        dict(pad=(-1, 2, 1, -2)),
        dict(pad=(2, 1), mode="reflect"),
        dict(pad=(1, 1, 3, 2), mode="reflect"),
        dict(pad=(4, 0, 0, 3), mode="replicate"),
        dict(pad=(2, 5, 1, 1), mode="circular"),
    ),
    **MOVE,
)
case(
    "roll",
    oracle=lambda x, shifts, dims=None: np.roll(x, shifts, dims),
    samples=several(
        dict(shifts=3),
        dict(shifts=(1, -7), dims=(0, 2)),
        dict(shifts=-1, dims=1),
        shapes=[(3, 4, 5), (2, 0, 3)],
    ),
    **MOVE,
)
case(
    "flip",
    oracle=lambda x, dims: np.flip(x, dims),
    samples=several(dict(dims=(0,)), dict(dims=(0, -1)), dict(dims=(1, 2, 0))),
    large=lambda s: Sample((s.normal(300, 500),), dict(dims=(0, 1))),
    **MOVE,
)
case(
    "rot90",
    oracle=lambda x, k, dims: np.rot90(x, k, dims),
    samples=several(*(dict(k=k, dims=(0, 2)) for k in (-1, 0, 1, 2, 7))),
    **MOVE,
)
case(
    "tile",
    oracle=lambda x, dims: np.tile(x, dims),
    samples=several(dict(dims=(2,)), dict(dims=(2, 1, 3)), dict(dims=(2, 1, 1, 1, 2))),
    **MOVE,
)
case(
    "repeat",
    fn=lambda x, sizes: x.repeat(sizes),
    oracle=lambda x, sizes: np.tile(x, sizes),
    samples=several(dict(sizes=(1, 2, 3)), dict(sizes=(3, 1, 1, 2)), dict(sizes=(1, 1, 1))),
    **MOVE,
)
case(
    "repeat_interleave",
    oracle=np_repeat_interleave,
    samples=several(dict(repeats=2), dict(repeats=3, dim=1), dict(repeats=1, dim=-1)),
    **MOVE,
)
case(
    "repeat_interleave_counts",
    fn="repeat_interleave",
    oracle=np_repeat_interleave,
    samples=lambda s: [Sample((s.distinct(3, 4, 5), s.ints(4, low=0, high=4)), dict(dim=1))],
    **MOVE,
)
case(
    "tril",
    oracle=lambda x, diagonal=0: np.tril(x, diagonal),
    samples=several(dict(), dict(diagonal=-2), dict(diagonal=3), shapes=[(4, 6), (2, 5, 3)]),
    inplace="tril_",
    **MOVE,
)
case(
    "triu",
    oracle=lambda x, diagonal=0: np.triu(x, diagonal),
    samples=several(dict(), dict(diagonal=-2), dict(diagonal=3), shapes=[(4, 6), (2, 5, 3)]),
    inplace="triu_",
    large=lambda s: Sample((s.normal(400, 300),)),
    **MOVE,
)
case(
    "diag",
    oracle=lambda x, diagonal=0: np.diag(x, diagonal),
    samples=several(dict(), dict(diagonal=-1), dict(diagonal=2), shapes=[(4, 6), (5,)]),
    **MOVE,
)
case(
    "diag_embed",
    oracle=np_diag_embed,
    samples=several(dict(), dict(offset=-1), dict(offset=2), shapes=[(3, 4), (5,)]),
    **MOVE,
)
case(
    "trace",
    oracle=lambda x: np.trace(x),
    samples=several(dict(), shapes=[(4, 6), (5, 5), (3, 1)]),
    scale=lambda x: np.trace(np.abs(x)),
    tol=SUM,
)
