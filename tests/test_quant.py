"""Quantise, dequantise, scale search, fake quantisation: against formulas in NumPy and against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tercel
from tercel.testing import bits

F32 = np.float32
FORMATS = ["int8", "uint8", "int4", "uint4", "nf4", "float8_e4m3fn", "float8_e5m2", "float4_e2m1"]
RANGE = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}
NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1.0], F32,
)  # fmt: skip
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], F32)


def float8_values(name):
    codes = tercel.arange(256, dtype=tercel.int32).to(tercel.uint8).view(getattr(tercel, name))
    return codes.float().numpy()


def spread(grid, block, shape):
    """Scales of every element."""
    for axis, b in enumerate(block):
        grid = np.repeat(grid, shape[axis] if b == -1 else b, axis=axis)
    return grid[tuple(slice(0, n) for n in shape)]


def nearest(t, values, even):
    """Value of the table that lies nearest to t; a tie goes to the even position, or else to the lower value."""
    d = np.abs(t[..., None].astype(np.float64) - values.astype(np.float64))
    best = d.min(-1, keepdims=True)
    hits = d == best
    first = np.argmax(hits, -1)
    if even:
        second = values.size - 1 - np.argmax(hits[..., ::-1], -1)
        return values[np.where(first % 2 == 0, first, second)]
    return values[first]


def oracle(x, scale, zero, form):
    """Dequantised values of x."""
    t = x.astype(F32) * (F32(1) / scale.astype(F32))
    if form in RANGE:
        low, high = RANGE[form]
        q = np.clip(np.rint(t).astype(F32) + zero, low, high)
        return (q - zero) * scale
    if form == "nf4":
        return nearest(t, NF4, even=False) * scale
    if form == "float4_e2m1":
        return np.copysign(nearest(np.abs(t), E2M1, even=True), t) * scale
    return (
        tercel.tensor(t).to(getattr(tercel, form)).float().numpy() * scale
    )  # cast has its own tests


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape,block", [
    ((5, 64), (1, 32)), ((5, 67), (1, 32)), ((3, 37), (-1, -1)), ((6, 33), (1, -1)), ((6, 33), (-1, 1)),
    ((7, 50), (4, 16)), ((2, 5, 24), (1, 2, 8)), ((19,), (4,)), ((4, 8200), (1, 128)), ((1, 1), (1, 1)),
])  # fmt: skip
def test_round_trip(form, shape, block, isa):
    rng = np.random.default_rng(3)
    x = (rng.standard_normal(shape) * 3).astype(F32)
    zero_wanted = form in ("uint8", "uint4")
    s, z = tercel.choose_qparams_affine(tercel.tensor(x), block, form, symmetric=not zero_wanted)
    q = tercel.quantize_affine(tercel.tensor(x), block, s, z, form)
    back = tercel.dequantize_affine(q, block, s, z, form, last_size=shape[-1])
    scale = spread(s.numpy(), block, shape)
    zero = spread(z.numpy(), block, shape).astype(F32) if z is not None else F32(0)
    np.testing.assert_array_equal(back.numpy(), oracle(x, scale, zero, form).astype(F32))
    assert (s.numpy() > 0).all()
    # half a step, or the coarsest step of the table
    # (one step where the zero point is rounded)
    step = {
        "uint8": 1.0,
        "uint4": 1.0,
        "nf4": 0.16,
        "float4_e2m1": 1.0,
        "float8_e4m3fn": 16.0,
        "float8_e5m2": 4096.0,
    }.get(form, 0.5)
    assert (np.abs(back.numpy() - x) <= scale * (step + 1e-3)).all()


@pytest.mark.parametrize("form", FORMATS)
def test_every_code_decodes_to_its_value(form, isa):
    bytes_ = np.arange(256, dtype=np.uint8)
    if form in ("int4", "uint4", "nf4", "float4_e2m1"):
        tables = {
            "int4": np.r_[0:8, -8:0],
            "uint4": np.arange(16),
            "nf4": NF4,
            "float4_e2m1": np.r_[E2M1, -E2M1],
        }
        wanted = (
            np.stack([tables[form][bytes_ & 15], tables[form][bytes_ >> 4]], -1)
            .reshape(-1)
            .astype(F32)
        )
        codes = tercel.tensor(bytes_)
    elif form.startswith("float8"):
        wanted, codes = float8_values(form), tercel.tensor(bytes_).view(getattr(tercel, form))
    else:
        wanted = bytes_.view(form).astype(F32)
        codes = tercel.tensor(bytes_.view(form))
    one = tercel.ones(1)
    np.testing.assert_array_equal(
        tercel.dequantize_affine(codes, [-1], one, None, form).numpy(), wanted
    )
    finite = np.isfinite(wanted)
    again = tercel.quantize_affine(tercel.tensor(wanted[finite]), [-1], one, None, form)
    back = tercel.dequantize_affine(again, [-1], one, None, form, last_size=int(finite.sum()))
    np.testing.assert_array_equal(back.numpy(), wanted[finite])


def test_against_torch(torch):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((31, 57)) * 5).astype(F32)
    for name, zero in (("int8", 5), ("uint8", 131)):
        ref = torch.quantize_per_tensor(
            torch.tensor(x), 0.043, zero, {"int8": torch.qint8, "uint8": torch.quint8}[name]
        )
        got = tercel.quantize_per_tensor(tercel.tensor(x), 0.043, zero, getattr(tercel, name))
        np.testing.assert_array_equal(got.numpy(), ref.int_repr().numpy())
    scale = rng.uniform(0.01, 0.1, 57).astype(F32)
    zeros = rng.integers(-20, 20, 57)
    ref = torch.fake_quantize_per_channel_affine(
        torch.tensor(x), torch.tensor(scale), torch.tensor(zeros.astype(np.int32)), 1, -128, 127
    )
    got = tercel.fake_quantize_per_channel_affine(
        tercel.tensor(x), tercel.tensor(scale), tercel.tensor(zeros), 1, -128, 127
    )
    np.testing.assert_array_equal(got.numpy(), ref.numpy())


def test_special_values(isa):
    x = tercel.tensor([float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1e30, -1e30, 0.5, 1.5])
    q = tercel.quantize_per_tensor(x, 1.0, 7, tercel.int8).tolist()
    assert q == [7, 127, -128, 7, 7, 127, -128, 7, 9]  # ties to even
    assert tercel.quantize_affine(x, [-1], tercel.tensor([0.0]), None, "int8").tolist() == [
        0, 127, -128, 0, 0, 127, -128, 127, 127,
    ]  # fmt: skip
    assert (
        tercel.quantize_affine(x, [-1], tercel.tensor([float("nan")]), None, "int8").tolist()
        == [0] * 9
    )
    f8 = tercel.quantize_affine(x, [-1], tercel.ones(1), None, "float8_e4m3fn").float().tolist()
    assert np.isnan(f8[0]) and f8[1:3] == [448.0, -448.0]
    for form in ("nf4", "float4_e2m1"):
        back = tercel.dequantize_affine(
            tercel.quantize_affine(x, [-1], tercel.ones(1), None, form),
            [-1],
            tercel.ones(1),
            None,
            form,
            last_size=9,
        ).tolist()
        top = 1.0 if form == "nf4" else 6.0
        assert back[:4] == [0.0, top, -top, 0.0], form
    assert tercel.choose_qparams_affine(x[:5], [-1], "int8")[0].tolist() == [
        1.0
    ]  # nothing finite but 0
    s, _ = tercel.choose_qparams_affine(tercel.full((4,), 1e-44), [-1], "int8")
    assert s.tolist() == [2.0**-126]  # its reciprocal is finite
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="scale must be positive"):
            tercel.quantize_per_tensor(x, bad, 0, tercel.int8)


def test_mx_scales_follow_the_standard():
    x = tercel.tensor([[3.9, 0.1], [4.0, 1.0], [0.0, 0.0], [1e-40, 0.0], [3e38, 1.0]])
    codes, zero = tercel.choose_qparams_affine(x, (1, 2), "float4_e2m1", power_of_two=True)
    assert zero is None and codes.dtype == tercel.uint8
    assert codes.flatten().tolist() == [127 + 1 - 2, 127 + 2 - 2, 127, 0, 127 + 127 - 2]
    q = tercel.quantize_affine(x, (1, 2), codes, None, "float4_e2m1")
    back = tercel.dequantize_affine(q, (1, 2), codes, None, "float4_e2m1")
    np.testing.assert_array_equal(back.numpy()[:3], np.array([[3, 0], [4, 1], [0, 0]], F32))
    nan = tercel.dequantize_affine(
        q[:1], (1, 2), tercel.tensor([[255]], dtype=tercel.uint8), None, "float4_e2m1"
    )
    assert np.isnan(nan.numpy()).all()


def test_scale_search():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 2000)).astype(F32)
    x[:, 0] = 40  # an outlier
    t = tercel.tensor(x)

    def error(method):
        s, _ = tercel.choose_qparams_affine(t, (1, -1), "int4", method=method, percentile=99.0)
        y = tercel.dequantize_affine(
            tercel.quantize_affine(t, (1, -1), s, None, "int4"), (1, -1), s, None, "int4"
        )
        return s.numpy()[:, 0], ((y.numpy() - x) ** 2).mean(-1)

    scale, absmax = error("absmax")
    np.testing.assert_array_equal(scale, np.full(4, F32(40) / F32(7)))
    p, _ = error("percentile")
    np.testing.assert_allclose(p, np.percentile(np.abs(x), 99.0, axis=-1) / 7, rtol=1e-6)
    _, mse = error("mse")
    assert (mse <= absmax).all() and (mse < 0.9 * absmax).all()
    s, z = tercel.choose_qparams_affine(t[:, 1:], (1, -1), "uint8", symmetric=False)
    low, high = x[:, 1:].min(-1), x[:, 1:].max(-1)
    np.testing.assert_allclose(s.numpy()[:, 0], (high - low) / 255, rtol=1e-6)
    np.testing.assert_array_equal(z.numpy()[:, 0], np.rint(-low / s.numpy()[:, 0]))


def test_stochastic_rounding(threads, isa):
    x = tercel.full((200_000,), 2.3)
    one = tercel.ones(1)
    outs = []
    for n in (1, 2):
        threads(n)
        tercel.manual_seed(5)
        outs.append(tercel.quantize_affine(x, [-1], one, None, "int8", rounding="stochastic"))
    assert bits(outs[0]) == bits(outs[1])
    q = outs[0].numpy()
    assert set(np.unique(q)) == {2, 3}
    assert abs((q == 3).mean() - 0.3) < 5 * np.sqrt(0.21 / q.size)
    whole = tercel.arange(-100, 100, dtype=tercel.float32)
    assert tercel.quantize_affine(
        whole, [-1], one, None, "int8", rounding="stochastic"
    ).tolist() == list(range(-100, 100))
    other = tercel.quantize_affine(x, [-1], one, None, "int8", rounding="stochastic")
    assert bits(other) != bits(outs[0])


@pytest.mark.parametrize("form", ["float8_e4m3fn", "float8_e5m2", "float4_e2m1", "nf4"])
def test_stochastic_rounding_of_float_formats(form, isa):
    tercel.manual_seed(1)
    one, n = tercel.ones(1), 20_000
    grid = tercel.dequantize_affine(
        tercel.arange(256).to(tercel.uint8).view(getattr(tercel, form)) if "float8" in form
        else (tercel.arange(16) * 17).to(tercel.uint8), [-1], one, None, form,
    ).double().numpy()  # fmt: skip
    grid = np.unique(grid[np.isfinite(grid)])
    largest = grid[-1]

    def rounded(value):
        q = tercel.quantize_affine(
            tercel.full((n,), value), [-1], one, None, form, rounding="stochastic"
        )
        return tercel.dequantize_affine(q, [-1], one, None, form, last_size=n).double().numpy()

    for share in (0.017, 0.3, 0.77, -0.11, -0.6):
        x = float(F32(share * largest))
        low, high = grid[grid <= x][-1], grid[grid >= x][0]
        got = rounded(x)
        assert set(np.unique(got)) == {low, high}, x
        p = (x - low) / (high - low)
        assert abs((got == high).mean() - p) < 5 * np.sqrt(p * (1 - p) / n), x
    for x in (*grid[:: max(1, len(grid) // 9)], 0.0):  # values of the format stay
        assert (rounded(float(x)) == x).all()
    assert (rounded(1e9) == largest).all() and (rounded(-1e9) == grid[0]).all()
    infinity = float("inf") if form == "float8_e5m2" else largest  # as to nearest
    assert (rounded(float("inf")) == infinity).all()
    nan = rounded(float("nan"))
    assert np.isnan(nan).all() if "float8" in form else (nan == 0).all()


def test_fake_quantize_gradient():
    x = tercel.tensor([-3.0, -1.04, 0.26, 0.9, 2.0, float("nan")], requires_grad=True)
    y = tercel.fake_quantize_per_tensor_affine(x, 0.1, 0, -10, 10)
    y.backward(tercel.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0, 0.0]


def test_views_and_layouts(isa):
    x = tercel.randn(6, 40)
    s, _ = tercel.choose_qparams_affine(x, (1, 8), "int4")
    want = tercel.quantize_affine(x, (1, 8), s, None, "int4")
    wide = tercel.zeros(6, 80)
    wide[:, ::2] = x
    assert bits(tercel.quantize_affine(wide[:, ::2], (1, 8), s, None, "int4")) == bits(want)
    assert bits(tercel.quantize_affine(x.t().contiguous().t(), (1, 8), s, None, "int4")) == bits(
        want
    )


def test_errors_list_what_exists():
    x, one = tercel.randn(4, 8), tercel.ones(1, 1)
    with pytest.raises(ValueError, match="int8, uint8, int4, uint4, nf4, float8_e4m3fn"):
        tercel.quantize_affine(x, (-1, -1), one, None, "int3")
    with pytest.raises(ValueError, match=r"shape \[4, 2\]"):
        tercel.quantize_affine(x, (1, 4), one, None, "int8")
    with pytest.raises(ValueError, match="zero_point needs an integer format"):
        tercel.quantize_affine(x, (-1, -1), one, tercel.zeros(1, 1, dtype=tercel.int32), "nf4")
    with pytest.raises(ValueError, match="block_size"):
        tercel.quantize_affine(x, (0, 4), one, None, "int8")
    with pytest.raises(TypeError, match="supported"):
        tercel.quantize_affine(x.to(tercel.int32), (-1, -1), one, None, "int8")
    with pytest.raises(ValueError, match="absmax, percentile, mse"):
        tercel.choose_qparams_affine(x, (-1, -1), "int8", method="kl")
    with pytest.raises(ValueError, match="hold"):
        tercel.dequantize_affine(
            tercel.zeros(4, 4, dtype=tercel.uint8), (-1, -1), one, None, "int4", last_size=9
        )
