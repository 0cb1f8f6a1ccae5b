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
