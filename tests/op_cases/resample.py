"""Interpolation (the modes against PyTorch are in test_resample.py)."""

import numpy as np

from . import EXACT, NORM, Sample, case


def repeat(x, scale_factor, **_):
    for d in range(2, x.ndim):
        x = np.repeat(x, scale_factor, axis=d)
    return x


def line(x, size, mode, align_corners):
    n = x.shape[2]
    at = np.linspace(0, n - 1, size)
    low = np.minimum(at.astype(int), n - 2)
    return x[..., low] * (1 - (at - low)) + x[..., low + 1] * (at - low)


case(
    "interpolate",
    oracle=repeat,
    samples=lambda s: [
        Sample((s.normal(2, 3, 5),), {"scale_factor": 2}),
        Sample((s.normal(1, 2, 3, 7),), {"scale_factor": 3}),
        Sample((s.normal(1, 2, 2, 3, 5),), {"scale_factor": 2}),
        Sample((s.normal(0, 2, 3, 3),), {"scale_factor": 2}),
    ],
    tol=EXACT,
    batch=(0,),
)
case(
    "interpolate_linear",
    fn="interpolate",
    oracle=line,
    samples=lambda s: [
        Sample((s.normal(2, 3, 9),), {"size": 17, "mode": "linear", "align_corners": True}),
        Sample((s.normal(2, 3, 33),), {"size": 6, "mode": "linear", "align_corners": True}),
    ],
    tol=NORM,
    batch=(0,),
)
