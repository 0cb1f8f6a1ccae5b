"""Integer products and quantised linear layers: ISA x scheme x shape against int64 and float64 oracles, equal bits over
threads, batch and ISA, saturation, guard bytes, gradients, state and files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import tercel
from tercel import nn, quantization
from tercel.nn import functional as F
from tercel.testing import bits

F32 = np.float32
ISAS = ("generic", "avx2", "avxvnni", "avx512", "avx512vnni", "amx")
SHAPES = [(1, 1, 1), (1, 17, 64), (2, 16, 3), (7, 31, 65), (13, 33, 127), (15, 64, 128), (33, 5, 257),
          (1, 130, 4099), (29, 97, 61)]  # fmt: skip


@pytest.fixture(params=ISAS)
def cpu(request):
    try:
        tercel.set_isa(request.param)
    except RuntimeError:
        pytest.skip(f"{request.param} is not built or not supported here")
    yield request.param
    tercel.set_isa("auto")


def ints(rng, *shape, low=-128, high=128):
    return rng.integers(low, high, shape).astype(np.uint8 if low == 0 else np.int8)


@pytest.mark.parametrize("signed", [True, False])
def test_int_matmul_is_exact(cpu, signed):
    rng = np.random.default_rng(2)
    for m, n, k in SHAPES:
        a = ints(rng, m, k) if signed else ints(rng, m, k, low=0, high=256)
        b = ints(rng, k, n)
        want = a.astype(np.int64) @ b.astype(np.int64)
        ta, tb = tercel.tensor(a), tercel.tensor(b)
        got = tercel.int_matmul(ta, tb)
        assert got.dtype == tercel.int32
        np.testing.assert_array_equal(got.numpy(), want, err_msg=f"{cpu} {m}x{n}x{k}")
        other = tercel.int_matmul(ta.t().contiguous().t(), tb.t().contiguous().t())
        assert bits(other) == bits(got)
        wide = tercel.zeros(m, 2 * k, dtype=ta.dtype)
        wide[:, ::2] = ta
        assert bits(tercel.int_matmul(wide[:, ::2], tb)) == bits(got)
        zero = rng.integers(-300, 300, m).astype(np.int32)
        got = tercel.int_matmul(ta, tb, zero_point_a=tercel.tensor(zero))
        np.testing.assert_array_equal(
            got.numpy(), (a.astype(np.int64) - zero[:, None]) @ b.astype(np.int64)
        )


def test_int_matmul_of_many_rows(cpu):
    # Rows packed by the tasks, several k blocks.
    rng = np.random.default_rng(3)
    for m, n, k in ((701, 35, 900), (130, 50, 5000)):
        a, b = ints(rng, m, k), ints(rng, k, n)
        want = a.astype(np.float64) @ b.astype(np.float64)  # exact: below 2^53
        zero = rng.integers(-300, 300, m).astype(np.int32)
        for threads in (1, 3):
            before = tercel.get_num_threads()
            tercel.set_num_threads(threads)
            try:
                got = tercel.int_matmul(tercel.tensor(a), tercel.tensor(b))
                scaled = tercel.int_matmul(
                    tercel.tensor(a),
                    tercel.tensor(b),
                    zero_point_a=tercel.tensor(zero),
                    dtype=tercel.float32,
                )
            finally:
                tercel.set_num_threads(before)
            assert (got.numpy() == want).all(), f"{cpu} {m}x{n}x{k}"
            exact = want - zero[:, None].astype(np.float64) * b.sum(0, dtype=np.float64)
            assert (scaled.numpy() == exact.astype(np.float32)).all()


def test_int_matmul_with_a_qtensor():
    rng = np.random.default_rng(4)
    a = tercel.tensor(ints(rng, 2, 5, 70))
    q = tercel.quantization.quantize(
        tercel.from_numpy(rng.standard_normal((33, 70), dtype=np.float32)), "int8"
    )
    codes = q.values.t()
    assert bits(tercel.int_matmul(a, q)) == bits(tercel.int_matmul(a, codes))
    scales = q.scales.reshape(-1)
    want = tercel.int_matmul(a, codes, scale_a=0.5, scale_b=scales, dtype=tercel.float32)
    assert bits(tercel.int_matmul(a, q, scale_a=0.5, dtype=tercel.float32)) == bits(want)
    own = tercel.int_matmul(a, q, scale_b=0.25, dtype=tercel.bfloat16)
    assert bits(own) == bits(tercel.int_matmul(a, codes, scale_b=0.25, dtype=tercel.bfloat16))
    q.values[0, 0] += 1  # packed again
    assert bits(tercel.int_matmul(a, q)) == bits(tercel.int_matmul(a, q.values.t()))
    with pytest.raises(tercel.ShapeError, match="do not fit"):
        tercel.int_matmul(a[..., :69], q)
    for scheme in ("int8-zp", "int8-g32", "fp8"):
        with pytest.raises(ValueError, match="one scale per row"):
            tercel.int_matmul(a, tercel.quantization.quantize(tercel.ones(33, 96), scheme))


def test_int_matmul_never_saturates(cpu):
    """255 * 127 + 255 * 127 does not fit the 16-bit pair sums of vpmaddubsw; nor does -128 * -128 * 2."""
    for k in (2, 64, 515):
        for av, bv, dtype in (
            (255, 127, np.uint8),
            (255, -128, np.uint8),
            (-128, -128, np.int8),
            (127, -128, np.int8),
        ):
            a, b = np.full((9, k), av, dtype), np.full((k, 40), bv, np.int8)
            pair = 2 * av * bv
            saturated = max(-32768, min(32767, pair))
            got = tercel.int_matmul(tercel.tensor(a), tercel.tensor(b)).numpy()
            assert (got == k * av * bv).all(), (cpu, av, bv)
            if dtype == np.uint8:  # what the bare instruction would have given differs
                assert pair != saturated and (got != saturated * k // 2).all()


def test_int_matmul_wraps(cpu):
    k = 140_000  # 140000 * 127 * 127 > 2^31
    a, b = np.full((2, k), 127, np.int8), np.full((k, 3), 127, np.int8)
    want = np.array(k * 127 * 127, np.int64).astype(np.uint32).view(np.int32)
    assert (tercel.int_matmul(tercel.tensor(a), tercel.tensor(b)).numpy() == want).all()


def epilogue_oracle(total, sa, sb, bias):
    v = total.astype(F32) * sa.astype(F32).reshape(-1, 1)
    v = v * sb.astype(F32)
    return v + bias.astype(F32)


def test_fused_requantise(cpu):
    rng = np.random.default_rng(4)
    for m, n, k in ((1, 1, 1), (7, 31, 65), (15, 50, 5000)):
        a, b = ints(rng, m, k), ints(rng, k, n)
        sa, sb, bias = (rng.uniform(0.001, 0.01, s).astype(F32) for s in (m, n, n))
        total = a.astype(np.int64) @ b.astype(np.int64)
        v = epilogue_oracle(total, sa, sb, bias)
        args = dict(scale_a=tercel.tensor(sa), scale_b=tercel.tensor(sb), bias=tercel.tensor(bias))
        ta, tb = tercel.tensor(a), tercel.tensor(b)
        got = tercel.int_matmul(ta, tb, dtype=tercel.float32, **args)
        np.testing.assert_array_equal(got.numpy(), v)
        for name in ("bfloat16", "float16"):
            dtype = getattr(tercel, name)
            assert bits(tercel.int_matmul(ta, tb, dtype=dtype, **args)) == bits(
                tercel.tensor(v).to(dtype)
            )
        for name, low, high in (("int8", -128, 127), ("uint8", 0, 255)):
            out = tercel.int_matmul(
                ta, tb, dtype=getattr(tercel, name), out_scale=0.05, out_zero_point=9, **args
            ).numpy()
            np.testing.assert_array_equal(
                out, np.clip(np.rint(v * (F32(1) / F32(0.05))) + 9, low, high).astype(name)
            )
        one = tercel.int_matmul(ta, tb, dtype=tercel.float32, scale_a=0.5, scale_b=0.25)
        np.testing.assert_array_equal(one.numpy(), total.astype(F32) * F32(0.5) * F32(0.25))


def test_int_matmul_batches_and_empty():
    rng = np.random.default_rng(5)
    a, b = ints(rng, 3, 4, 20), ints(rng, 20, 9)
    got = tercel.int_matmul(tercel.tensor(a), tercel.tensor(b))
    np.testing.assert_array_equal(got.numpy(), a.astype(np.int64) @ b.astype(np.int64))
    b3 = ints(rng, 3, 20, 9)
    got = tercel.int_matmul(tercel.tensor(a), tercel.tensor(b3))
    np.testing.assert_array_equal(got.numpy(), a.astype(np.int64) @ b3.astype(np.int64))
    got = tercel.int_matmul(tercel.tensor(a[0]), tercel.tensor(b3))
    np.testing.assert_array_equal(got.numpy(), a[0].astype(np.int64) @ b3.astype(np.int64))
    z = lambda *s: tercel.zeros(*s, dtype=tercel.int8)
    assert tercel.int_matmul(z(0, 5), z(5, 3)).shape == (0, 3)
    assert tercel.int_matmul(z(2, 5), z(5, 0)).shape == (2, 0)
    assert tercel.int_matmul(z(2, 0), z(0, 3)).tolist() == [[0] * 3] * 2
    got = tercel.int_matmul(
        z(2, 0), z(0, 3), dtype=tercel.float32, bias=tercel.tensor([1.0, 2.0, 3.0])
    )
    assert got.tolist() == [[1.0, 2.0, 3.0]] * 2


def test_int_matmul_errors():
    a, b = tercel.zeros(2, 3, dtype=tercel.int8), tercel.zeros(3, 4, dtype=tercel.int8)
    with pytest.raises(TypeError, match="int8 or uint8"):
        tercel.int_matmul(a.float(), b)
    with pytest.raises(TypeError, match="b must be int8"):
        tercel.int_matmul(a, b.to(tercel.uint8))
    with pytest.raises(ValueError, match="do not fit"):
        tercel.int_matmul(a, b.t())
    with pytest.raises(ValueError, match="scale_b must have one element or 4"):
        tercel.int_matmul(a, b, scale_b=tercel.ones(3), dtype=tercel.float32)
    with pytest.raises(ValueError, match="scales and bias need a dtype"):
        tercel.int_matmul(a, b, scale_a=0.5)
    with pytest.raises(TypeError, match="expected float32"):
        tercel.int_matmul(a, b, dtype=tercel.float64)
    with pytest.raises(ValueError, match="out_zero_point"):
        tercel.int_matmul(a, b, dtype=tercel.int8, out_zero_point=200)
    with pytest.raises(ValueError, match="out_scale"):
        tercel.int_matmul(a, b, dtype=tercel.int8, out_scale=0.0)


WEIGHT_ONLY = ["int8", "int8-zp", "int8-g32", "int4", "int4-g32", "int4-g64-zp", "int4-g32-mse", "nf4", "fp8",
               "fp8_e5m2", "mxfp8", "mxfp4"]  # fmt: skip


@pytest.mark.parametrize("scheme", WEIGHT_ONLY)
def test_weight_only_linear_is_linear_of_the_decoded_weight(scheme, isa, threads):
    """Bit for bit, whatever number of rows (decoded in registers, or into the float product's panels)."""
    rng = np.random.default_rng(6)
    for n, k in ((1, 1), (16, 64), (33, 257), (50, 96), (17, 1030)):
        w = tercel.tensor(rng.standard_normal((n, k)).astype(F32))
        q = quantization.quantize(w, scheme)
        dense = q.dequantize()
        bias = tercel.tensor(rng.standard_normal(n).astype(F32))
        x = tercel.tensor(rng.standard_normal((40, k)).astype(F32))
        whole = F.linear(x, q, bias)
        assert bits(whole) == bits(F.linear(x, dense, bias)), (n, k)
        for m in (1, 2, 3, 5, 8, 13, 24, 25):
            assert bits(F.linear(x[:m], q, bias)) == bits(whole[:m]), (m, n, k)
        assert bits(F.linear(x[0], q)) == bits(F.linear(x[:1], dense)[0])
        threads(1)
        assert bits(F.linear(x[:3], q, bias)) == bits(whole[:3])
        threads(2)
        for dtype in (tercel.bfloat16, tercel.float16):
            xh = x.to(dtype)
            want = F.linear(xh.float(), dense).to(dtype)
            assert bits(F.linear(xh, q)) == bits(want)
            assert bits(F.linear(xh[:2], q)) == bits(want[:2])
        sliced = tercel.zeros(40, 2 * k)
        sliced[:, ::2] = x
        assert bits(F.linear(sliced[:, ::2], q, bias)) == bits(whole)


def dynamic_oracle(x, q, bias):
    top = np.abs(x).max(-1, keepdims=True).astype(F32)
    scale = np.where(top > 0, top / F32(127), F32(1)).astype(F32)
    codes = np.clip(np.rint(x * (F32(1) / scale)), -127, 127).astype(np.int64)
    total = codes @ q.values.numpy().astype(np.int64).T
    return epilogue_oracle(total, scale, q.scales.numpy()[:, 0], bias)


def test_dynamic_linear(cpu, threads):
    rng = np.random.default_rng(7)
    for n, k in ((1, 1), (33, 257), (50, 96), (64, 1030)):
        q = quantization.quantize(
            tercel.tensor(rng.standard_normal((n, k)).astype(F32)), "int8-dynamic"
        )
        bias = rng.standard_normal(n).astype(F32)
        x = rng.standard_normal((40, k)).astype(F32)
        x[3] = 0
        y = F.linear(tercel.tensor(x), q, tercel.tensor(bias))
        np.testing.assert_array_equal(y.numpy(), dynamic_oracle(x, q, bias))
        for m in (1, 2, 15):
            assert bits(F.linear(tercel.tensor(x[:m]), q, tercel.tensor(bias))) == bits(y[:m])
        threads(1)
        assert bits(F.linear(tercel.tensor(x), q, tercel.tensor(bias))) == bits(y)
        threads(2)
    x[1, 2], x[2, 3] = np.nan, np.inf
    bad = F.linear(tercel.tensor(x), q, tercel.tensor(bias)).numpy()
    assert np.isnan(bad[1:3]).all() and np.isfinite(np.delete(bad, (1, 2), 0)).all()


@pytest.mark.parametrize("form", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_weights_of_all_codes(cpu, form):
    """Codes that are no numbers, and scales of any size, cost time but change no other bit."""
    rng = np.random.default_rng(9)
    dtype = getattr(tercel, form)
    codes = rng.integers(0, 256, (40, 272)).astype(np.uint8)
    finite = np.where((codes & 127) >= (127 if form == "float8_e4m3fn" else 124), 1, codes)
    scales = np.float32(2.0) ** rng.integers(-140, 7, (40, 1)).astype(F32)
    for values, scale in (
        (finite, scales),  # the fast path
        (codes, scales),
        (finite, scales * np.float32(2.0**100)),
        (finite, np.where(scales < 2.0**-130, np.float32(np.inf), scales)),
    ):
        w = tercel.from_numpy(values.astype(np.uint8)).view(dtype)
        q = quantization.QTensor(w, tercel.tensor(scale), None, form, (40, 272), (1, 272))
        for rows in (1, 2, 3, 40):
            x = tercel.tensor(rng.standard_normal((rows, 272)).astype(F32))
            assert_same_numbers(F.linear(x, q), F.linear(x, q.dequantize()))
    few = quantization.QTensor(
        tercel.from_numpy(finite.astype(np.uint8)).view(dtype),
        tercel.tensor(scales), None, form, (40, 272), (1, 272),
    )  # fmt: skip
    changed = finite.astype(np.uint8)
    changed[7, 3] = 127
    other = quantization.QTensor(
        tercel.from_numpy(changed).view(dtype),
        tercel.tensor(scales),
        None,
        form,
        (40, 272),
        (1, 272),
    )
    y, z = F.linear(x, few).numpy(), F.linear(x, other).numpy()
    assert np.isnan(z[:, 7]).all()
    np.testing.assert_array_equal(np.delete(y, 7, 1), np.delete(z, 7, 1))


def assert_same_numbers(a, b):
    np.testing.assert_array_equal(a.numpy(), b.numpy())  # NaN equals NaN, whatever its bits


def test_block_scales_and_per_tensor():
    """A weight may have any 2-D blocks: 128x128 fp8 tiles, one scale for all, groups that fit no register."""
    rng = np.random.default_rng(8)
    w = tercel.tensor(rng.standard_normal((40, 100)).astype(F32))
    x = tercel.tensor(rng.standard_normal((5, 100)).astype(F32))
    for form, block in (
        ("float8_e4m3fn", (16, 32)),
        ("int8", (-1, -1)),
        ("int4", (1, 5)),
        ("nf4", (7, 16)),
    ):
        s, _ = tercel.choose_qparams_affine(w, block, form)
        codes = tercel.quantize_affine(w, block, s, None, form)
        q = quantization.QTensor(codes, s, None, form, (40, 100), block)
        assert bits(F.linear(x, q)) == bits(F.linear(x, q.dequantize()))


@pytest.mark.parametrize("scheme", ["int4-g32-zp", "int8-dynamic", "nf4", "mxfp8"])
def test_input_gradient_decodes_in_blocks_of_rows(scheme):
    q = quantization.quantize(tercel.randn(1100, 64), scheme)
    for rows in (1, 3, 40):
        x, g = tercel.randn(2, rows, 64, requires_grad=True), tercel.randn(2, rows, 1100)
        F.linear(x, q).backward(g)
        assert bits(x.grad) == bits(g @ q.dequantize())
    x, g = tercel.randn(3, 64, requires_grad=True), tercel.randn(3, 1100, requires_grad=True)
    (dx,) = tercel.autograd.grad(F.linear(x, q), x, g, create_graph=True)
    dx.sum().backward()
    np.testing.assert_allclose(
        g.grad.numpy()[0], q.dequantize().numpy().sum(1), rtol=1e-4, atol=1e-4
    )


def test_gradients_and_nothing_kept():
    q = quantization.quantize(tercel.randn(7, 12), "int8")
    x, bias = tercel.randn(3, 12, requires_grad=True), tercel.randn(7, requires_grad=True)
    y = F.linear(x, q, bias)
    g = tercel.randn(3, 7)
    y.backward(g)
    np.testing.assert_allclose(
        x.grad.numpy(), g.numpy() @ q.dequantize().numpy(), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(bias.grad.numpy(), g.numpy().sum(0), rtol=1e-6, atol=1e-6)
    before = tercel.memory_stats()["allocated_bytes"]
    big = tercel.randn(512, 12, requires_grad=True)
    held = [F.linear(big * 2.0, q) for _ in range(3)]  # 3 x 24 KB of inputs, freed at once
    grown = tercel.memory_stats()["allocated_bytes"] - before
    assert grown < 512 * 12 * 4 + 3 * 512 * 7 * 4 + 20_000, grown
    assert len(held) == 3
    dyn = quantization.quantize(tercel.randn(7, 12), "int8-dynamic")
    z = tercel.randn(2, 12, requires_grad=True)
    F.linear(z, dyn).sum().backward()
    np.testing.assert_allclose(
        z.grad.numpy()[0], dyn.dequantize().numpy().sum(0), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("scheme", ["int8", "int8-dynamic", "int4-g32"])
def test_autocast_narrows_input_and_bias(scheme):
    """As with a plain weight; layers of both kinds mix in a region."""
    q, bias = (
        quantization.quantize(tercel.randn(7, 64), scheme),
        tercel.randn(7, requires_grad=True),
    )
    x = tercel.randn(3, 64, requires_grad=True)
    with tercel.amp.autocast("cpu", dtype=tercel.bfloat16):
        y = F.linear(x, q, bias)
        assert y.dtype == tercel.bfloat16
    with tercel.no_grad():
        assert bits(y) == bits(F.linear(x.to(tercel.bfloat16), q, bias.to(tercel.bfloat16)))
    y.float().sum().backward()
    assert x.grad.dtype == bias.grad.dtype == tercel.float32 and bias.grad.tolist() == [3.0] * 7
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 5))
    quantization.quantize_(net, scheme, lambda module, name: name != "0")
    with tercel.amp.autocast("cpu", dtype=tercel.bfloat16):
        assert net(x).dtype == tercel.bfloat16


def test_zero_sizes():
    for n, k in ((0, 4), (4, 0)):
        for scheme in ("int8", "int8-dynamic", "int4", "fp8"):
            q = quantization.quantize(tercel.zeros(n, k), scheme)
            assert F.linear(tercel.zeros(3, k), q).tolist() == [[0.0] * n] * 3
    q = quantization.quantize(tercel.randn(5, 8), "int8")
    assert F.linear(tercel.zeros(0, 8), q).shape == (0, 5)


def test_errors():
    w = tercel.randn(4, 8)
    for bad in ("int5", "int4-x", "", "int8-g0x"):
        with pytest.raises(ValueError, match="there are"):
            quantization.quantize(w, bad)
    for bad in ("int4-dynamic", "fp8-zp", "mxfp4-g64"):
        with pytest.raises(ValueError):
            quantization.quantize(w, bad)
    q = quantization.quantize(w, "int8")
    with pytest.raises(ValueError, match="last dim of input must be 8"):
        F.linear(tercel.randn(2, 7), q)
    with pytest.raises(TypeError, match="expected float32"):
        F.linear(tercel.randn(2, 8, dtype=tercel.float64), q)
    with pytest.raises(ValueError, match=r"bias must have shape \[4\]"):
        F.linear(tercel.randn(2, 8), q, tercel.randn(5))
    with pytest.raises(ValueError, match="scales must have shape"):
        quantization.QTensor(q.values, tercel.ones(4), None, "int8", (4, 8), (1, 8))
    with pytest.raises(TypeError, match="values of int4"):
        quantization.QTensor(q.values, q.scales, None, "int4", (4, 8), (1, 8))
    with pytest.raises(NotImplementedError, match="symmetric int8"):
        quantization.QTensor(
            tercel.zeros(4, 4, dtype=tercel.uint8),
            tercel.ones(4, 1),
            None,
            "int4",
            (4, 8),
            (1, 8),
            True,
        )


@pytest.mark.parametrize("scheme", quantization.schemes())
def test_files_and_text(scheme, tmp_path):
    assert str(quantization.parse(scheme)) in (
        scheme,
        scheme.replace("-g128", ""),
        scheme.replace("-g64", ""),
    )
    q = quantization.quantize(tercel.randn(9, 70), scheme)
    quantization.save(q, tmp_path / "w.safetensors")
    r = quantization.load(tmp_path / "w.safetensors")
    assert (r.format, tuple(r.shape), tuple(r.block_size), r.dynamic) == (
        q.format, tuple(q.shape), tuple(q.block_size), q.dynamic,
    )  # fmt: skip
    assert bits(r.dequantize()) == bits(q.dequantize())
    x = tercel.randn(3, 70)
    assert bits(F.linear(x, r)) == bits(F.linear(x, q))
    p = pickle.loads(pickle.dumps(q))
    assert repr(p) == repr(q) and bits(F.linear(x, p)) == bits(F.linear(x, q))
    assert q.format in repr(q) and "[9, 70]" in repr(q)
    state = quantization.to_state(q)
    state["scheme"] = tercel.tensor([1, 2], dtype=tercel.uint8)
    with pytest.raises(ValueError, match="does not describe"):
        quantization.from_state(state)
    del state["scales"]
    with pytest.raises(KeyError, match="scales"):
        quantization.from_state(state)


def model():
    tercel.manual_seed(3)
    return nn.Sequential(
        nn.Linear(24, 40), nn.GELU(), nn.Sequential(nn.Linear(40, 8, bias=False)), nn.LayerNorm(8)
    )


@pytest.mark.parametrize("scheme", ["int8", "int8-dynamic", "int4-g32-zp", "fp8", "mxfp4"])
def test_quantize_model(scheme, tmp_path):
    net, x = model(), tercel.randn(5, 24)
    want = net(x)
    assert quantization.quantize_(net, scheme) is net
    assert isinstance(net[0], quantization.QuantizedLinear) and isinstance(net[0], nn.Linear)
    assert "QTensor" in repr(net) and net[0].bias.requires_grad
    y = net(x)
    error = float((y - want).abs().max() / want.abs().max())
    assert 0 < error < {"int8": 0.03, "int8-dynamic": 0.05, "fp8": 0.12}.get(scheme, 0.5)
    state = net.state_dict()
    assert {"0.weight.values", "0.weight.scales", "0.weight.scheme", "0.bias"} <= set(state)
    tercel.save(state, tmp_path / "model.safetensors")
    other = quantization.quantize_(model(), "int8")
    with tercel.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    other.load_state_dict(tercel.load(tmp_path / "model.safetensors"))
    assert bits(other(x)) == bits(y)
    with pytest.raises(RuntimeError, match=r"0\.weight"):
        model().load_state_dict(state)
    del state["0.weight.scales"]
    with pytest.raises(RuntimeError, match=r"0\.weight\.scales"):
        other.load_state_dict(state)


def test_quantize_model_filter_and_shared_layers():
    net = model()
    quantization.quantize_(net, "int8", lambda module, name: name != "0")
    assert type(net[0]) is nn.Linear and isinstance(net[2][0], quantization.QuantizedLinear)
    shared = nn.Linear(4, 4)
    both = quantization.quantize_(nn.Sequential(shared, shared), "int8")
    assert both[0] is both[1]
    assert isinstance(quantization.quantize_(nn.Linear(3, 3), "int8"), quantization.QuantizedLinear)
    with pytest.raises(ValueError, match="there are"):
        quantization.quantize_(net, "int9")


def test_packed_copy_follows_the_values():
    q = quantization.quantize(tercel.randn(20, 64), "int8")
    x = tercel.randn(2, 64)
    F.linear(x, q)
    q.values.zero_()
    assert F.linear(x, q).abs().max().item() == 0.0
