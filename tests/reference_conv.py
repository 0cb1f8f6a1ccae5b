"""Convolution and pooling in NumPy float64, straight from the formulas: gather the windows, then reduce."""

from __future__ import annotations

import itertools

import numpy as np


def per_dim(value, n):
    return (value,) * n if isinstance(value, int) else tuple(value)


def taps(x, out, kernel, stride, padding, dilation, fill=0.0):
    """Yields (tap, x at that tap for every output pixel [N, C, out...]); outside of x is `fill`."""
    n = len(kernel)
    for tap in itertools.product(*(range(k) for k in kernel)):
        picked = x
        for d in range(n):
            at = np.arange(out[d]) * stride[d] + tap[d] * dilation[d] - padding[d]
            size = picked.shape[2 + d]
            inside = (at >= 0) & (at < size)
            if size == 0:
                shape = list(picked.shape)
                shape[2 + d] = out[d]
                picked = np.full(shape, fill)
                continue
            picked = np.take(picked, np.clip(at, 0, size - 1), axis=2 + d)
            mask = inside.reshape((-1,) + (1,) * (n - 1 - d))
            picked = np.where(mask, picked, fill)
        yield tap, picked


def out_size(size, k, s, p, d):
    return (size + 2 * p - d * (k - 1) - 1) // s + 1


def conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv(x[None], w, b, stride, padding, dilation, groups)[0]
    stride, dilation = per_dim(stride, n), per_dim(dilation, n)
    kernel = w.shape[2:]
    if padding == "same":
        low = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
        out = x.shape[2:]
    else:
        low = per_dim(0 if padding == "valid" else padding, n)
        out = tuple(map(out_size, x.shape[2:], kernel, stride, low, dilation))
    g, o, c = groups, w.shape[0] // groups, w.shape[1]
    y = np.zeros((x.shape[0], g, o, *out))
    wg = w.reshape(g, o, c, *kernel)
    for tap, v in taps(x, out, kernel, stride, low, dilation):
        v = v.reshape(x.shape[0], g, c, *out)
        y += np.einsum("ngc...,goc->ngo...", v, wg[(slice(None),) * 3 + tap])
    y = y.reshape(x.shape[0], g * o, *out)
    return y if b is None else y + b.reshape((-1,) + (1,) * n)


def conv_transpose(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    n = w.ndim - 2
    if x.ndim == n + 1:
        return conv_transpose(x[None], w, b, stride, padding, output_padding, groups, dilation)[0]
    stride, dilation, padding = per_dim(stride, n), per_dim(dilation, n), per_dim(padding, n)
    extra, kernel = per_dim(output_padding, n), w.shape[2:]
    g, c, o = groups, w.shape[0] // groups, w.shape[1]
    full = [
        (x.shape[2 + d] - 1) * stride[d] + dilation[d] * (kernel[d] - 1) + 1 + extra[d]
        for d in range(n)
    ]
    y = np.zeros((x.shape[0], g, o, *full))
    xg = x.reshape(x.shape[0], g, c, *x.shape[2:])
    for tap in itertools.product(*(range(k) for k in kernel)):
        at = tuple(
            slice(t * dil, t * dil + s * (m - 1) + 1, s)
            for t, dil, s, m in zip(tap, dilation, stride, x.shape[2:], strict=True)
        )
        y[(slice(None),) * 3 + at] += np.einsum(
            "ngc...,gco->ngo...", xg, w.reshape(g, c, o, *kernel)[(slice(None),) * 3 + tap]
        )
    y = y.reshape(x.shape[0], g * o, *full)
    y = y[
        (slice(None), slice(None))
        + tuple(slice(p, size - p) for p, size in zip(padding, full, strict=True))
    ]
    return y if b is None else y + b.reshape((-1,) + (1,) * n)


def pool_out(size, k, s, p, d, ceil_mode):
    span = size + 2 * p - d * (k - 1) - 1
    out = (-(-span // s) if ceil_mode else span // s) + 1
    return out - 1 if ceil_mode and (out - 1) * s >= size + p else out


def windows(x, n, kernel, stride, padding, dilation, ceil_mode, fill):
    kernel, padding, dilation = per_dim(kernel, n), per_dim(padding, n), per_dim(dilation, n)
    stride = kernel if stride is None else per_dim(stride, n)
    out = tuple(
        pool_out(size, k, s, p, d, ceil_mode)
        for size, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    return out, np.stack([v for _, v in taps(x, out, kernel, stride, padding, dilation, fill)])


def max_pool(x, n, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    if x.ndim == n + 1:
        return max_pool(x[None], n, kernel_size, stride, padding, dilation, ceil_mode)[0]
    return windows(x, n, kernel_size, stride, padding, dilation, ceil_mode, -np.inf)[1].max(0)


def avg_pool(
    x,
    n,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    if x.ndim == n + 1:
        return avg_pool(
            x[None], n, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )[0]
    _, w = windows(x, n, kernel_size, stride, padding, 1, ceil_mode, 0.0)
    if divisor_override:
        return w.sum(0) / divisor_override
    inside = np.ones(x.shape[2:])
    p = per_dim(padding, n)
    if count_include_pad:
        inside = np.pad(inside, [(q, q) for q in p], constant_values=1.0)
        p = (0,) * n
    k = per_dim(kernel_size, n)
    s = k if stride is None else per_dim(stride, n)
    out = w.shape[3:]
    count = sum(v for _, v in taps(inside[None, None], out, k, s, p, (1,) * n))[0, 0]
    return w.sum(0) / count


def adaptive(x, n, output_size, reduce):
    if x.ndim == n + 1:
        return adaptive(x[None], n, output_size, reduce)[0]
    sizes = x.shape[2:]
    wanted = per_dim(output_size, n) if output_size is not None else (None,) * n
    out = tuple(i if o is None else o for i, o in zip(sizes, wanted, strict=True))
    y = np.zeros((*x.shape[:2], *out))
    for o in np.ndindex(*out):
        cut = tuple(
            slice(a * i // m, -(-((a + 1) * i) // m)) for a, i, m in zip(o, sizes, out, strict=True)
        )
        y[(slice(None), slice(None), *o)] = reduce(
            x[(slice(None), slice(None), *cut)], axis=tuple(range(2, 2 + n))
        )
    return y
