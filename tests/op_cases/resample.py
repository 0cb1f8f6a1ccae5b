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


def antialiased(x, size, mode, **_):
    """Every output pixel averages the source with the filter centred on it and stretched by the scale."""

    def bell(t):
        t = np.abs(t)
        if mode == "bilinear":
            return np.maximum(1 - t, 0)
        return np.where(t < 1, 1.5 * t**3 - 2.5 * t**2 + 1,
                        np.where(t < 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0))  # fmt: skip

    for d in (2, 3):
        n, m = x.shape[d], size[d - 2]
        stretch = max(n / m, 1)
        w = bell((np.arange(n)[None] + 0.5 - (np.arange(m)[:, None] + 0.5) * n / m) / stretch)
        x = np.moveaxis(np.tensordot(x, w / w.sum(1, keepdims=True), (d, 1)), -1, d)
    return x


case(
    "interpolate_antialias",
    fn="interpolate",
    oracle=antialiased,
    samples=lambda s: [
        Sample((s.normal(*shape),), {"size": size, "mode": mode, "antialias": True})
        for mode in ("bilinear", "bicubic")
        for shape, size in [
            ((1, 2, 4, 5), (2, 3)),
            ((2, 2, 11, 13), (4, 5)),
            ((2, 2, 11, 13), (20, 3)),
        ]
    ],
    tol=NORM,
    scale=lambda x, **_: 4.0,
    batch=(0,),
)
