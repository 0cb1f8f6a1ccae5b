"""Convolution: what the generic op tests cannot say (bits, error bounds, single gradients, errors)."""

from __future__ import annotations

import numpy as np
import pytest

import reference_conv as ref
import tercel
from conftest import available_levels

F32_EPS = 2.0**-24


def tensor(a, dtype=np.float32, **kwargs):
    return tercel.tensor(np.ascontiguousarray(a, dtype=dtype), **kwargs)


def grid():
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(1, 4))
        g, c, o = (int(v) for v in rng.integers(1, 4, 3))
        k = tuple(int(v) for v in rng.integers(1, 4, n))
        d = tuple(int(v) for v in rng.integers(1, 3, n))
        s = tuple(int(v) for v in rng.integers(1, 4, n))
        p = tuple(int(v) for v in rng.integers(0, 4, n))
        size = tuple(int(v) for v in rng.integers(5, 12 if n < 3 else 8, n))
        yield n, g, c * g, o * g, k, d, s, p, size


@pytest.mark.parametrize("level", available_levels())
def test_against_formula_and_adjoints(level):
    """y, and both gradients by <dy, conv(x, w)> = <dx, x> = <dw, w> with random operands, in float64."""
    tercel.set_isa(level)
    rng = np.random.default_rng(1)
    try:
        for n, g, cin, cout, k, d, s, p, size in grid():
            x = rng.standard_normal((2, cin, *size))
            w = rng.standard_normal((cout, cin // g, *k))
            if any(z + 2 * q < e * (m - 1) + 1 for z, q, e, m in zip(size, p, d, k, strict=True)):
                continue
            want = ref.conv(x, w, None, s, p, d, g)
            conv = getattr(tercel, f"conv{n}d")
            got = conv(tensor(x, np.float64), tensor(w, np.float64), None, s, p, d, g).numpy()
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
            dy = rng.standard_normal(want.shape)
            x2, w2 = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
            dx = tercel.conv_input_grad(
                x.shape, tensor(w, np.float64), tensor(dy, np.float64), s, p, d, g
            ).numpy()
            dw = tercel.conv_weight_grad(
                tensor(x, np.float64), w.shape, tensor(dy, np.float64), s, p, d, g
            ).numpy()
            assert np.isclose((dx * x2).sum(), (dy * ref.conv(x2, w, None, s, p, d, g)).sum())
            assert np.isclose((dw * w2).sum(), (dy * ref.conv(x, w2, None, s, p, d, g)).sum())
    finally:
        tercel.set_isa("auto")


SHAPES = [  # N, groups, C, O, H, W, k, stride, padding
    (5, 1, 64, 64, 14, 14, 3, 1, 1),
    (3, 1, 32, 64, 28, 28, 3, 1, 1),
    (2, 1, 32, 40, 41, 45, 3, 1, 1),
    (9, 1, 16, 16, 8, 8, 3, 1, 1),
    (4, 1, 70, 20, 7, 7, 3, 2, 1),
    (3, 8, 1, 1, 20, 21, 3, 1, 1),
    (2, 1, 3, 24, 50, 50, 7, 2, 3),
    (3, 1, 40, 33, 9, 9, 1, 1, 0),
    (4, 1, 40, 48, 7, 7, 3, 1, 1),
    (2, 2, 18, 24, 5, 30, 3, 1, 1),
    (3, 2, 24, 16, 11, 19, 3, 2, 1),
    (3, 5, 1, 1, 40, 41, 5, 2, 2),  # depthwise: phases of the input gradient
    (2, 3, 1, 1, 30, 150, 3, 2, 1),
    (2, 3, 1, 1, 21, 70, 7, 1, 3),  # rows in parts
    (2, 4, 1, 1, 6, 9, 3, 1, 0),  # in place
    (2, 4, 1, 1, 6, 40, 3, 1, 0),
    (3, 2, 1, 1, 3, 33, 3, 1, 1),  # fewer rows than are computed together
    (2, 16, 1, 1, 14, 14, 7, 1, 3),
    (9, 1, 40, 16, 2, 2, 3, 1, 1),
    (2, 3, 8, 8, 11, 12, 3, 2, 1),
    (4, 1, 1, 16, 28, 28, 3, 1, 1),
]


def operands(shape, seed=0):
    n, g, c, o, h, w, k, s, p = shape
    rng = np.random.default_rng(seed)
    x = tensor(rng.standard_normal((n, g * c, h, w)))
    weight = tensor(rng.standard_normal((g * o, c, k, k)))
    return x, weight, (s, p, 1, g)


def all_three(x, w, args):
    y = tercel.conv2d(x, w, None, *args)
    dy = y.detach()
    return (
        y,
        tercel.conv_input_grad(x.shape, w, dy, *args),
        tercel.conv_weight_grad(x, w.shape, dy, *args),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_same_bits_for_any_threads_level_and_batch(shape):
    x, w, args = operands(shape)
    want = [t.numpy().tobytes() for t in all_three(x, w, args)]
    threads = tercel.get_num_threads()
    try:
        for level in [v for v in available_levels() if v != "generic"]:
            for count in (1, 2, 3, 8):
                tercel.set_isa(level)
                tercel.set_num_threads(count)
                got = [t.numpy().tobytes() for t in all_three(x, w, args)]
                assert got == want, (level, count)
    finally:
        tercel.set_isa("auto")
        tercel.set_num_threads(threads)
    y = tercel.conv2d(x, w, None, *args).numpy()
    for i in range(x.shape[0]):
        one = tercel.conv2d(x[i : i + 1], w, None, *args).numpy()
        assert one.tobytes() == y[i : i + 1].tobytes()


@pytest.mark.parametrize("shape", SHAPES)
def test_error_bound(shape):
    x, w, args = operands(shape, 3)
    s, p, d, g = args
    x64, w64 = x.numpy().astype(np.float64), w.numpy().astype(np.float64)
    want = ref.conv(x64, w64, None, s, p, d, g)
    scale = ref.conv(abs(x64), abs(w64), None, s, p, d, g)
    direct = tercel.conv2d(x, w, None, *args, "direct").numpy()
    bound = np.abs(direct - want).max()
    assert (np.abs(direct - want) <= 8 * F32_EPS * scale).all()
    fast = tercel.conv2d(x, w, None, *args).numpy()
    assert np.abs(fast - want).max() <= 3 * bound


def test_strided_input_and_accumulation():
    x, w, args = operands(SHAPES[0])
    y = tercel.conv2d(x, w, None, *args).numpy()
    xt = tensor(np.ascontiguousarray(x.numpy().transpose(2, 3, 1, 0))).permute(3, 2, 0, 1)
    assert tercel.conv2d(xt, w, None, *args).numpy().tobytes() == y.tobytes()


def test_nan_reaches_only_its_window():
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 4] = np.nan
    w = np.ones((1, 1, 3, 3), np.float32)
    for algorithm in ("auto", "direct"):
        y = tercel.conv2d(tensor(x), tensor(w), None, 1, 1, 1, 1, algorithm).numpy()
        want = np.zeros((9, 9), bool)
        want[3:6, 3:6] = True
        assert (np.isnan(y[0, 0]) == want).all()


def test_gradients_saved_only_where_needed():
    x, w, args = operands(SHAPES[2])
    w.requires_grad_(True)
    y = tercel.conv2d(x, w, None, *args)
    y.backward(y.detach())
    assert w.grad.shape == w.shape and x.grad is None
    x.requires_grad_(True)
    y = tercel.conv2d(x, w.detach(), None, *args)
    y.backward(y.detach())
    assert x.grad.shape == x.shape


def test_matches_torch():
    torch = pytest.importorskip("torch")
    for shape in SHAPES:
        x, w, args = operands(shape)
        tx, tw = (torch.tensor(t.numpy(), requires_grad=True) for t in (x, w))
        x.requires_grad_(True)
        w.requires_grad_(True)
        y, ty = tercel.conv2d(x, w, None, *args), torch.conv2d(tx, tw, None, *args)
        y.backward(y.detach())
        ty.backward(ty.detach())
        for a, b in ((y.detach(), ty.detach()), (x.grad, tx.grad), (w.grad, tw.grad)):
            b = b.numpy()
            assert np.abs(a.numpy() - b).max() <= 1e-5 * np.abs(b).max()


def ones(*shape, dtype=tercel.float32):
    return tercel.ones(shape, dtype=dtype)


X, W = (1, 4, 8, 8), (6, 4, 3, 3)
BAD = {
    "rank": lambda: tercel.conv2d(ones(8, 8), ones(*W)),
    "weight rank": lambda: tercel.conv2d(ones(*X), ones(6, 4, 3)),
    "channels": lambda: tercel.conv2d(ones(*X), ones(6, 3, 3, 3)),
    "groups": lambda: tercel.conv2d(ones(*X), ones(6, 1, 3, 3), groups=4),
    "groups 0": lambda: tercel.conv2d(ones(*X), ones(*W), groups=0),
    "groups huge": lambda: tercel.conv2d(ones(*X), ones(*W), groups=2**62),
    "bias": lambda: tercel.conv2d(ones(*X), ones(*W), ones(5)),
    "bias rank": lambda: tercel.conv2d(ones(*X), ones(*W), ones(6, 1)),
    "stride 0": lambda: tercel.conv2d(ones(*X), ones(*W), stride=0),
    "stride -1": lambda: tercel.conv2d(ones(*X), ones(*W), stride=(1, -1)),
    "stride count": lambda: tercel.conv2d(ones(*X), ones(*W), stride=(1, 1, 1)),
    "padding": lambda: tercel.conv2d(ones(*X), ones(*W), padding=-1),
    "padding huge": lambda: tercel.conv2d(ones(*X), ones(*W), padding=2**62),
    "padding large": lambda: tercel.conv2d(ones(*X), ones(*W), padding=2**40),
    "dilation 0": lambda: tercel.conv2d(ones(*X), ones(*W), dilation=0),
    "dilation huge": lambda: tercel.conv2d(ones(*X), ones(*W), dilation=2**62),
    "dilation large": lambda: tercel.conv2d(ones(*X), ones(*W), dilation=2**30),
    "kernel": lambda: tercel.conv2d(ones(*X), ones(6, 4, 9, 3)),
    "kernel 0": lambda: tercel.conv2d(ones(*X), ones(6, 4, 0, 3)),
    "same": lambda: tercel.conv2d(ones(*X), ones(*W), stride=2, padding="same"),
    "name": lambda: tercel.conv2d(ones(*X), ones(*W), padding="full"),
    "algorithm": lambda: tercel.conv2d(ones(*X), ones(*W), algorithm="fft"),
    "dtype": lambda: tercel.conv2d(ones(*X), ones(*W, dtype=tercel.float64)),
    "int": lambda: tercel.conv2d(ones(*X, dtype=tercel.int64), ones(*W, dtype=tercel.int64)),
    "transpose channels": lambda: tercel.conv_transpose2d(ones(*X), ones(*W)),
    "output_padding": lambda: tercel.conv_transpose2d(
        ones(1, 6, 8, 8), ones(*W), stride=2, output_padding=2
    ),
    "transpose padding": lambda: tercel.conv_transpose2d(ones(1, 6, 8, 8), ones(*W), padding=9),
    "transpose huge": lambda: tercel.conv_transpose2d(ones(1, 6, 8, 8), ones(*W), stride=2**61),
    "input_grad": lambda: tercel.conv_input_grad(X, ones(*W), ones(1, 6, 8, 8)),
    "input_grad huge": lambda: tercel.conv_input_grad(
        (2**40, 4, 2**20, 2**20), ones(*W), ones(1, 6, 8, 8)
    ),
    "weight_grad": lambda: tercel.conv_weight_grad(ones(*X), (6, 3, 3, 3), ones(1, 6, 6, 6)),
    "weight_grad rank": lambda: tercel.conv_weight_grad(ones(*X), (6, 4), ones(1, 6, 6, 6)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name):
    with pytest.raises(
        (ValueError, TypeError, RuntimeError, OverflowError, MemoryError), match="conv"
    ):
        BAD[name]()


def test_large_padding_far_from_the_data():
    """Taps that never meet the input cost nothing, wherever they lie."""
    x, w = tensor(np.ones((1, 1, 1, 1))), tensor(np.ones((1, 1, 3, 3)))
    y = tercel.conv2d(x, w, None, 1, 2000, 2000).numpy()
    assert y.shape == (1, 1, 1, 1) and y[0, 0, 0, 0] == 1
    y = tercel.conv2d(x, w, None, 10**6, 10**6, 10**6).numpy()
    assert y.shape == (1, 1, 1, 1) and y[0, 0, 0, 0] == 1


def test_strides_near_the_largest_integer():
    """One output, at the first window (an overflow in the rounding of sizes put it anywhere)."""
    x, w = tensor(np.arange(36.0).reshape(1, 1, 6, 6)), tensor(np.ones((1, 1, 3, 3)))
    first = tercel.conv2d(x, w)[..., :1, :1]
    for stride in (2**62, 2**63 - 1):
        for padding in (0, 1):
            got = tercel.conv2d(x, w, None, stride, padding)
            wanted = first if padding == 0 else tercel.conv2d(x, w, None, 1, 1)[..., :1, :1]
            assert got.tolist() == wanted.tolist()
