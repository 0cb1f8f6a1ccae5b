"""Normalisation: oracles are the textbook formulas in float64."""

import numpy as np

from . import NORM, Sample, case


def _normalise(x, axes, eps, centre=True):
    mean = x.mean(axis=axes, keepdims=True) if centre else 0.0
    d = x - mean
    with np.errstate(invalid="ignore", divide="ignore"):
        return d / np.sqrt((d * d).mean(axis=axes, keepdims=True) + eps)


def _affine(y, weight, bias, shape):
    if weight is not None:
        y = y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(_normalise(x, axes, eps), weight, bias, shape)


def rms_norm(x, shape, weight=None, eps=1e-5):
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(_normalise(x, axes, eps, centre=False), weight, None, shape)


def add_layer_norm(x, residual, *args, **kwargs):
    return layer_norm(x + residual, *args, **kwargs), x + residual


def add_rms_norm(x, residual, *args, **kwargs):
    return rms_norm(x + residual, *args, **kwargs), x + residual


def _channels(x):
    return (1, -1) + (1,) * (x.ndim - 2)


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        y = _normalise(x, (0, *range(2, x.ndim)), eps)
    else:
        y = (x - mean.reshape(_channels(x))) / np.sqrt(np.abs(var).reshape(_channels(x)) + eps)
    return _affine(y, weight, bias, _channels(x))


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    y = _normalise(x.reshape(x.shape[0], groups, -1), 2, eps).reshape(x.shape)
    return _affine(y, weight, bias, _channels(x))


def instance_norm(x, eps=1e-5):
    return _normalise(x, tuple(range(2, x.ndim)), eps)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    squares, total = x * x, np.zeros_like(x)
    channels = x.shape[1]
    for c in range(channels):
        low, high = max(0, c - size // 2), min(channels, c + (size - 1) // 2 + 1)
        total[:, c] = squares[:, low:high].sum(axis=1)
    return x / (k + alpha / size * total) ** beta


def normalize(x, p=2.0, dim=1, eps=1e-12):
    if p == float("inf"):
        length = np.abs(x).max(axis=dim, keepdims=True)
    else:
        length = (np.abs(x) ** p).sum(axis=dim, keepdims=True) ** (1 / p)
    return x / np.maximum(length, eps)


def _conditioned(name, normalise):
    """|x| / sqrt(var + eps) |w|: what the rounding of x or of the mean is multiplied by."""

    def scale(x, *args, **kw):
        if x.size == 0:
            return np.ones(())
        d = normalise(x, *args, **kw)
        weight = args[WEIGHT[name]] if len(args) > WEIGHT[name] else None
        gain = 1.0 if weight is None or np.size(weight) == 0 else np.abs(weight).max()
        return (1.0 + np.abs(x).max() * d) * max(1.0, gain)

    return scale


WEIGHT = {"layer_norm": 1, "rms_norm": 1, "batch_norm": 2, "group_norm": 1, "instance_norm": 9}


def _rows_rstd(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return (1 / np.sqrt(x.var(axis=axes) + eps)).max()


def _batch_rstd(
    x, mean=None, var=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    if not training:
        return (1 / np.sqrt(np.abs(var) + eps)).max()
    return (1 / np.sqrt(x.var(axis=(0, *range(2, x.ndim))) + eps)).max()


def _group_rstd(x, groups, weight=None, bias=None, eps=1e-5):
    return (1 / np.sqrt(x.reshape(x.shape[0], groups, -1).var(axis=2) + eps)).max()


def _instance_rstd(x, eps=1e-5):
    return _group_rstd(x, x.shape[1], eps=eps)


def _row_samples(with_bias):
    def samples(s):
        out = []
        for n in (7, 16, 17, 33, 64, 127, 257, 1100):
            args = (s.normal(3, n), (n,), s.normal(n)) + ((s.normal(n),) if with_bias else ())
            out.append(Sample(args))
        out += [
            Sample((s.normal(2, 3, 4), (3, 4))),
            Sample((s.normal(2, 3, 4), (4,), s.normal(4))),
            Sample((s.normal(2, 5), (5,)), {"eps": 1e-3}),
            Sample((s.normal(0, 6), (6,), s.normal(6))),
            Sample((s.normal(6, 3, 40), (40,), s.normal(40))),
        ]
        return out

    return samples


case(
    "layer_norm", layer_norm, _row_samples(True), tol=NORM, scale=_conditioned("layer_norm", _rows_rstd), batch=(0,),
    large=lambda s: Sample((s.normal(260, 500), (500,), s.normal(500), s.normal(500))),
)  # fmt: skip
case(
    "rms_norm", rms_norm,
    lambda s: [Sample(x.args, {"eps": 1e-5}) for x in _row_samples(False)(s)],
    tol=NORM, batch=(0,),
    large=lambda s: Sample((s.normal(260, 500), (500,), s.normal(500)), {"eps": 1e-5}),
)  # fmt: skip


def _with_residual(samples):
    """The samples with a second array beside the first."""
    return lambda s: [
        Sample((x.args[0], s.normal(*x.args[0].shape), *x.args[1:]), x.kwargs) for x in samples(s)
    ]


def _of_sum(scale):
    return lambda x, residual, *args, **kw: scale(x + residual, *args, **kw)


# 16-bit sums are rounded before they are normalised: tests/test_norm.py compares with the two calls.
WIDE = ("float32", "float64")
case(
    "add_layer_norm", add_layer_norm, _with_residual(_row_samples(True)), tol=NORM,
    scale=_of_sum(_conditioned("layer_norm", _rows_rstd)), batch=(0, 1), dtypes=WIDE,
    large=lambda s: Sample((s.normal(260, 500), s.normal(260, 500), (500,), s.normal(500), s.normal(500))),
)  # fmt: skip
case(
    "add_rms_norm", add_rms_norm,
    _with_residual(lambda s: [Sample(x.args, {"eps": 1e-5}) for x in _row_samples(False)(s)]),
    tol=NORM, batch=(0, 1), dtypes=WIDE,
    large=lambda s: Sample((s.normal(260, 500), s.normal(260, 500), (500,), s.normal(500)), {"eps": 1e-5}),
)  # fmt: skip

_MAPS = [(4, 3), (33, 5), (4, 3, 6), (5, 2, 3, 3), (3, 4, 4, 4), (2, 3, 7, 7), (70, 2, 3, 3),
         (2, 3, 17, 17), (17, 2, 4, 5), (2, 2, 2, 3, 2)]  # fmt: skip


def _batch_samples(training):
    def samples(s):
        out = []
        for shape in _MAPS:
            c = shape[1]
            stats = (None, None) if training else (s.normal(c), s.positive(c))
            out.append(
                Sample((s.normal(*shape), *stats, s.normal(c), s.normal(c)), {"training": training})
            )
            out.append(Sample((s.normal(*shape), *stats), {"training": training, "eps": 1e-2}))
        return out

    return samples


case(
    "batch_norm train", batch_norm, _batch_samples(True), fn="batch_norm", tol=NORM, scale=_conditioned("batch_norm", _batch_rstd),
    large=lambda s: Sample((s.normal(40, 8, 20, 20), None, None, s.normal(8), s.normal(8)), {"training": True}),
)  # fmt: skip
case(
    "batch_norm eval", batch_norm, _batch_samples(False), fn="batch_norm", tol=NORM, scale=_conditioned("batch_norm", _batch_rstd), batch=(0,),
    grad=(0, 3, 4),
    large=lambda s: Sample((s.normal(40, 8, 20, 20), s.normal(8), s.positive(8), s.normal(8), s.normal(8))),
)  # fmt: skip


def _group_samples(s):
    out = []
    for shape in _MAPS:
        c = shape[1]
        for groups in {1, c}:
            if groups == c and len(shape) == 2:
                continue
            out.append(Sample((s.normal(*shape), groups, s.normal(c), s.normal(c))))
    out.append(Sample((s.normal(3, 6, 5), 3)))
    out.append(Sample((s.normal(3, 6, 5), 2, s.normal(6)), {"eps": 1e-3}))
    return out


case(
    "group_norm", group_norm, _group_samples, tol=NORM, scale=_conditioned("group_norm", _group_rstd), batch=(0,),
    large=lambda s: Sample((s.normal(20, 8, 30, 30), 4, s.normal(8), s.normal(8))),
)  # fmt: skip
case(
    "instance_norm", instance_norm,
    lambda s: [Sample((s.normal(*shape),)) for shape in _MAPS if len(shape) > 2], tol=NORM,
    scale=_conditioned("instance_norm", _instance_rstd), batch=(0,),
)  # fmt: skip
case(
    "local_response_norm", local_response_norm,
    lambda s: [Sample((s.normal(2, 7, 3), size), {"alpha": 0.5, "k": 1.5}) for size in (1, 2, 3, 5, 9)]
    + [Sample((s.normal(2, 3, 4, 2), 3))],
    tol=NORM, batch=(0,),
)  # fmt: skip
case(
    "normalize",
    lambda x, p=2.0, dim=1: (
        x / np.maximum((np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p), 1e-12)
    ),
    lambda s: [Sample((s.normal(3, 5),)), Sample((s.distinct(2, 4, 3),), {"p": 3.0, "dim": -1})],
    tol=NORM,
)
