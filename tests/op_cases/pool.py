"""Pooling in one to three dimensions."""

import functools

import numpy as np

import reference_conv as ref

from . import EXACT, NORM, Sample, case

SHAPES = {1: (2, 3, 19), 2: (2, 2, 5, 6), 3: (2, 1, 3, 4, 3)}


def max_samples(n, s):
    shape = SHAPES[n]
    return [
        Sample((s.distinct(*shape),), dict(kernel_size=2)),
        Sample((s.distinct(*shape[1:]),), dict(kernel_size=3, stride=2, padding=1)),
        Sample((s.distinct(*shape),), dict(kernel_size=2, stride=1, dilation=2)),
        Sample((s.distinct(*shape),), dict(kernel_size=3, stride=3, padding=1, ceil_mode=True)),
        Sample((s.distinct(0, *shape[1:]),), dict(kernel_size=2)),
    ]


def avg_samples(n, s):
    shape = SHAPES[n]
    return [
        Sample((s.normal(*shape),), dict(kernel_size=2)),
        Sample((s.normal(*shape[1:]),), dict(kernel_size=3, stride=2, padding=1)),
        Sample((s.normal(*shape),), dict(kernel_size=3, stride=1)),
        Sample(
            (s.normal(*shape),),
            dict(kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        ),
        Sample((s.normal(*shape),), dict(kernel_size=2, stride=3, padding=1, ceil_mode=True)),
    ]


def adaptive_samples(n, s):
    shape = SHAPES[n]
    return [
        Sample((s.distinct(*shape),), dict(output_size=1)),
        Sample((s.distinct(*shape[1:]),), dict(output_size=4)),
        Sample((s.distinct(*shape),), dict(output_size=(None,) + (3,) * (n - 1))),
        Sample((s.distinct(*shape),), dict(output_size=13)),
    ]


def big(s):
    return Sample((s.normal(4, 8, 56, 60),), dict(kernel_size=3, stride=2, padding=1))


for n in (1, 2, 3):
    large = {"large": big} if n == 2 else {}
    case(
        f"max_pool{n}d",
        oracle=functools.partial(ref.max_pool, n=n),
        samples=functools.partial(max_samples, n),
        tol=EXACT,
        batch=(0,),
        **large,
    )
    case(
        f"avg_pool{n}d",
        oracle=functools.partial(ref.avg_pool, n=n),
        samples=functools.partial(avg_samples, n),
        tol=NORM,
        batch=(0,),
        **large,
    )
    case(
        f"adaptive_avg_pool{n}d",
        oracle=functools.partial(ref.adaptive, n=n, reduce=np.mean),
        samples=functools.partial(adaptive_samples, n),
        tol=NORM,
        batch=(0,),
    )
    case(
        f"adaptive_max_pool{n}d",
        oracle=functools.partial(ref.adaptive, n=n, reduce=np.max),
        samples=functools.partial(adaptive_samples, n),
        tol=EXACT,
        batch=(0,),
    )


def _starts(u, size, kernel, out):
    if out == 1:
        return [size - kernel]
    alpha = (size - kernel) / (out - 1)
    first = [int((i + u) * alpha) - int(u * alpha) for i in range(out - 1)]
    return [*first, size - kernel]


def fractional_max_pool(
    x, kernel, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
):
    """Windows written out; in two dimensions sample 0 is that of the columns."""
    dims = len(kernel)
    lead, spatial = x.shape[:-dims], x.shape[-dims:]
    if output_size is None:
        output_size = tuple(int(n * r) for n, r in zip(spatial, output_ratio, strict=True))
    planes = x.reshape(-1, *spatial)
    samples = _random_samples.reshape(-1, dims)
    if dims == 2:
        samples = samples[:, ::-1]
    out = np.zeros((len(planes), *output_size))
    for p, plane in enumerate(planes):
        starts = [_starts(*a) for a in zip(samples[p], spatial, kernel, output_size, strict=True)]
        for at in np.ndindex(*output_size):
            window = tuple(slice(starts[d][i], starts[d][i] + kernel[d]) for d, i in enumerate(at))
            out[(p, *at)] = plane[window].max()
    return out.reshape(*lead, *output_size)


def _fractional(dims, *shapes):
    def samples(s):
        out = []
        for shape, size in shapes:
            u = (s.ints(*shape[:-dims], dims, low=0, high=64) / 64).astype(np.float64)
            kernel = (2, 3, 2)[:dims]
            settings = {"output_size": size} if isinstance(size[0], int) else {"output_ratio": size}
            out.append(Sample((s.distinct(*shape), kernel), settings | {"_random_samples": u}))
        return out

    return samples


case("fractional_max_pool2d", fractional_max_pool,
     _fractional(2, ((2, 3, 7, 9), (4, 5)), ((1, 6, 8), (0.5, 0.7)), ((2, 1, 5, 5), (1, 1))),
     tol=EXACT, grad=(0,))  # fmt: skip
case("fractional_max_pool3d", fractional_max_pool,
     _fractional(3, ((1, 2, 4, 5, 6), (2, 3, 4)), ((2, 3, 4, 3), (0.7, 0.5, 0.9))),
     tol=EXACT, grad=(0,))  # fmt: skip
