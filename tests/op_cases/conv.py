"""Convolution and its transpose in one to three dimensions."""

import numpy as np

import reference_conv as ref

from . import DOT, Sample, case


def scale_of(oracle):
    """|A||B| of a sum of products."""

    def scale(x, w, *bias, **kwargs):
        return oracle(np.abs(x), np.abs(w), *(np.abs(b) for b in bias), **kwargs)

    return scale


def conv1(s):
    return [
        Sample((s.normal(2, 3, 17), s.normal(4, 3, 3), s.normal(4)), dict(padding=1)),
        Sample((s.normal(1, 4, 9), s.normal(6, 2, 3)), dict(groups=2, padding="same")),
        Sample((s.normal(0, 2, 9), s.normal(3, 2, 3)), dict()),
    ]


def conv2(s):
    return [
        Sample((s.normal(2, 3, 9, 11), s.normal(5, 3, 3, 3), s.normal(5)), dict(padding=1)),
        Sample((s.normal(2, 9, 5, 5), s.normal(17, 9, 1, 1)), dict()),
        Sample((s.normal(1, 2, 12, 7), s.normal(3, 2, 5, 3)), dict(stride=(3, 2), padding=(2, 0))),
        Sample((s.normal(2, 4, 8, 7), s.normal(4, 1, 3, 3)), dict(groups=4, padding=1)),
        Sample((s.normal(1, 4, 9, 9), s.normal(6, 2, 2, 3)), dict(groups=2, dilation=(2, 3))),
        Sample((s.normal(2, 2, 6, 5), s.normal(2, 2, 2, 4)), dict(padding="same")),
        Sample((s.normal(1, 1, 4, 4), s.normal(2, 1, 3, 3)), dict(stride=5, padding=3)),
        Sample((s.normal(2, 20, 7, 7), s.normal(9, 20, 3, 3)), dict(padding="valid")),
        Sample((s.normal(1, 12, 5, 7), s.normal(12, 12, 3, 2), s.normal(12)), dict(padding=1)),
        Sample((s.normal(1, 12, 7, 9), s.normal(12, 12, 2, 3)), dict(stride=2, padding=1)),
        Sample((s.normal(2, 4, 3, 5), s.normal(6, 2, 1, 1), s.normal(6)), dict(groups=2)),
        Sample((s.normal(3, 20, 1, 1), s.normal(9, 20, 1, 1), s.normal(9)), dict()),
        Sample((s.normal(3, 4, 3, 5), s.normal(7, 4, 3, 5), s.normal(7)), dict(stride=2)),
        *small_depthwise(s),
        *wide_depthwise(s),
    ]


def wide_depthwise(s):
    return [
        Sample(
            (s.normal(1, 2, 6, 37), s.normal(2, 1, 3, 3), s.normal(2)), dict(groups=2, padding=1)
        ),
        Sample((s.normal(1, 2, 11, 21), s.normal(2, 1, 5, 5)), dict(groups=2, stride=2, padding=2)),
        Sample((s.normal(1, 3, 9, 18), s.normal(3, 1, 2, 3)), dict(groups=3, stride=(1, 2))),
        Sample(
            (s.normal(1, 2, 5, 20), s.normal(2, 1, 3, 1)),
            dict(groups=2, stride=(3, 2), padding=(3, 2), dilation=(2, 1)),
        ),
        Sample((s.normal(2, 40, 2, 2), s.normal(32, 40, 3, 3)), dict(padding=1)),
    ]


def small_depthwise(s):
    return [
        Sample(
            (s.normal(2, 20, 5, 4), s.normal(20, 1, 3, 3), s.normal(20)), dict(groups=20, padding=1)
        ),
        Sample(
            (s.normal(2, 16, 7, 6), s.normal(16, 1, 3, 3)), dict(groups=16, stride=2, padding=1)
        ),
        Sample(
            (s.normal(1, 13, 6, 3), s.normal(13, 1, 2, 2), s.normal(13)),
            dict(groups=13, dilation=2),
        ),
        Sample((s.normal(70, 12, 4, 4), s.normal(12, 1, 3, 2)), dict(groups=12, padding=(1, 0))),
        Sample(
            (s.normal(1, 12, 3, 5), s.normal(12, 1, 1, 100)),
            dict(groups=12, padding=(0, 100), dilation=(1, 2)),
        ),
    ]


def conv3(s):
    return [
        Sample((s.normal(1, 2, 4, 5, 6), s.normal(3, 2, 3, 3, 3), s.normal(3)), dict(padding=1)),
        Sample(
            (s.normal(1, 2, 3, 3, 4), s.normal(2, 1, 2, 1, 3)), dict(groups=2, stride=(2, 1, 1))
        ),
        Sample(
            (s.normal(2, 15, 3, 4, 2), s.normal(15, 1, 3, 2, 1)), dict(groups=15, padding=(1, 1, 0))
        ),
    ]


def unbatched(s):
    return [
        Sample((s.normal(3, 11), s.normal(4, 3, 4)), {"stride": 2, "dilation": 2}),
        Sample((s.normal(4, 9), s.normal(4, 1, 3), s.normal(4)), {"groups": 4, "padding": 1}),
    ]


def conv_large(s):
    return Sample((s.normal(4, 16, 24, 40), s.normal(24, 16, 3, 3)), dict(padding=1))


case("conv1d", oracle=ref.conv, scale=scale_of(ref.conv), samples=conv1, tol=DOT, batch=(0,))
case(
    "conv2d",
    oracle=ref.conv,
    scale=scale_of(ref.conv),
    samples=conv2,
    tol=DOT,
    batch=(0,),
    large=conv_large,
)
case(
    "conv1d_unbatched",
    fn="conv1d",
    oracle=ref.conv,
    scale=scale_of(ref.conv),
    samples=unbatched,
    tol=DOT,
)
case("conv3d", oracle=ref.conv, scale=scale_of(ref.conv), samples=conv3, tol=DOT, batch=(0,))


def transpose1(s):
    return [
        Sample((s.normal(2, 3, 7), s.normal(3, 4, 3), s.normal(4)), dict(stride=2, padding=1)),
        Sample((s.normal(4, 5), s.normal(4, 2, 3)), dict(groups=2, dilation=2)),
    ]


def transpose2(s):
    return [
        Sample((s.normal(2, 3, 4, 5), s.normal(3, 5, 3, 3), s.normal(5)), dict(padding=1)),
        Sample((s.normal(1, 2, 3, 4), s.normal(2, 3, 4, 4)), dict(stride=2, padding=1)),
        Sample(
            (s.normal(1, 4, 3, 3), s.normal(4, 2, 2, 3)),
            dict(stride=3, output_padding=(1, 2), groups=2),
        ),
        Sample((s.normal(1, 2, 3, 3), s.normal(2, 2, 1, 1)), dict(stride=2, output_padding=1)),
        Sample((s.normal(3, 4, 4), s.normal(3, 1, 3, 3)), dict(groups=3, stride=2)),
        Sample((s.normal(3, 7, 1, 1), s.normal(7, 5, 3, 2), s.normal(5)), dict()),
        Sample(
            (s.normal(2, 18, 3, 4), s.normal(18, 1, 2, 2), s.normal(18)), dict(groups=18, stride=3)
        ),
    ]


def transpose3(s):
    return [
        Sample((s.normal(1, 2, 3, 3, 2), s.normal(2, 3, 2, 3, 2)), dict(stride=2)),
        Sample(
            (s.normal(2, 2, 3, 2), s.normal(2, 2, 3, 1, 2), s.normal(2)), dict(padding=(1, 0, 0))
        ),
    ]


case(
    "conv_transpose1d",
    oracle=ref.conv_transpose,
    scale=scale_of(ref.conv_transpose),
    samples=transpose1,
    tol=DOT,
)
case(
    "conv_transpose2d",
    oracle=ref.conv_transpose,
    scale=scale_of(ref.conv_transpose),
    samples=transpose2,
    tol=DOT,
)
case(
    "conv_transpose3d",
    oracle=ref.conv_transpose,
    scale=scale_of(ref.conv_transpose),
    samples=transpose3,
    tol=DOT,
)
