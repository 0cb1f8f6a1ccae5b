"""Every float format x ISA level x scheme x shape against float64, with the a-priori bound of the numeric contract.

Bound of a product (N6): |y - exact| <= k_eff * eps32 * (|a| |b|) * slack + half an ulp of the result, where block
scales add one float32 rounding per element.
"""

from __future__ import annotations

import numpy as np
import pytest

import tercel
from tercel.testing import to_float64

FORMATS = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
NARROW = FORMATS[2:]
# Relative half ulp and smallest subnormal of a format.
UNIT = {
    "float64": (2.0**-53, 0.0),
    "float32": (2.0**-24, 2.0**-149),
    "float16": (2.0**-11, 2.0**-24),
    "bfloat16": (2.0**-8, 2.0**-133),
    "float8_e4m3fn": (2.0**-4, 2.0**-9),
    "float8_e5m2": (2.0**-3, 2.0**-16),
}
# (M, N, K): ones, zeros, primes, both sides of tiles, of k blocks and of the few-row and small paths.
SHAPES = [
    (1, 1, 1), (0, 5, 3), (5, 0, 3), (3, 4, 0), (7, 13, 17), (17, 33, 31), (15, 31, 127), (1, 67, 513), (2, 259, 520),
    (5, 128, 1031), (6, 301, 512), (131, 3, 600), (29, 37, 1025), (191, 173, 161), (33, 531, 529),
]  # fmt: skip


@pytest.fixture(autouse=True)
def isa_restored():
    before, threads = tercel.get_isa(), tercel.get_num_threads()
    yield
    tercel.set_isa(before)
    tercel.set_num_threads(threads)


def set_level(level):
    try:
        tercel.set_isa(level)
    except RuntimeError:
        pytest.skip(f"no {level} here")


def no_tiles():
    """AMX adds the products of narrow floats in another order than float32 does."""
    if tercel.get_isa() == "amx":
        tercel.set_isa("avx512")


def matrix(rng, rows, cols, dtype, layout=0, scale=1.0):
    """Tensor [rows, cols] in one of four memory layouts, and its exact values."""
    values = rng.standard_normal((rows, cols)) * scale
    t = tercel.from_numpy(values).to(getattr(tercel, dtype))
    if layout == 1:  # columns contiguous
        t = t.t().contiguous().t()
    elif layout == 2 and rows and cols:  # every second element
        wide = tercel.zeros(rows, 2 * cols + 1, dtype=t.dtype)
        wide[:, 1::2] = t
        t = wide[:, 1::2]
    elif layout == 3 and rows and cols:  # not aligned to anything
        flat = tercel.zeros(rows * cols + 1, dtype=t.dtype)
        flat[1:] = t.reshape(-1)
        t = flat[1:].view(rows, cols)
    return t, to_float64(t).reshape(rows, cols)


def assert_within(y, exact, magnitude, k, dtype, extra_roundings=0):
    half_ulp, tiny = UNIT[dtype]
    eps = 2.0**-53 if dtype == "float64" else 2.0**-24
    got = to_float64(y).reshape(exact.shape)
    error = np.abs(got - exact)
    # a chain of min(k, 512) rounded steps in random directions, never more than k of them
    steps = min(k, 8 + 2 * np.sqrt(min(k, 512))) + extra_roundings + 2
    bound = steps * eps * magnitude + half_ulp * np.abs(exact) * 1.01 + tiny
    if dtype.startswith("float8"):  # saturates
        top = 448.0 if "e4m3" in dtype else 57344.0
        error = np.abs(got - np.clip(exact, -top, top))
    assert np.all(error <= bound), (np.max(error / bound), exact.shape)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("level", ["generic", "avx2", "avx512"])
def test_products(level, dtype):
    set_level(level)
    rng = np.random.default_rng(1)
    for i, (m, n, k) in enumerate(SHAPES):
        for la, lb in ((0, 0), (0, 1), (1, 0), (2, 3)) if i % 2 else ((0, 1), (1, 1), (3, 2)):
            a, x = matrix(rng, m, k, dtype, la)
            b, w = matrix(rng, k, n, dtype, lb)
            assert_within(tercel.mm(a, b), x @ w, np.abs(x) @ np.abs(w), k, dtype)


@pytest.mark.parametrize("dtype", NARROW)
def test_same_bits_as_float32_of_the_same_values(dtype):
    """Conversion is exact and the sum is the float32 one: one rounding is all that differs."""
    no_tiles()
    rng = np.random.default_rng(2)
    for m, n, k in SHAPES:
        for lb in (0, 1):
            a, _ = matrix(rng, m, k, dtype)
            b, _ = matrix(rng, k, n, dtype, lb)
            wide = tercel.mm(a.float(), b.float()).to(a.dtype)
            assert tercel.mm(a, b).float().tolist() == wide.float().tolist()


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16"])
@pytest.mark.parametrize("level", ["generic", "avx2", "avx512"])
def test_every_code_is_loaded_exactly(level, dtype):
    """All codes, also subnormal, infinite and NaN ones, through each loader: product with the identity."""
    set_level(level)
    bits = 8 if dtype.startswith("float8") else 16
    codes = np.arange(1 << bits).astype(np.uint8 if bits == 8 else np.uint16).reshape(-1, 16)

    def tensor(c):
        raw = tercel.from_numpy(c.view(np.uint8 if bits == 8 else np.int16).copy())
        return raw.view(getattr(tercel, dtype))

    values = tensor(codes)
    want = to_float64(values)
    finite = np.isfinite(want)
    clean = tensor(np.where(finite, codes, 0).astype(codes.dtype))
    eye = tercel.eye(16).to(values.dtype)
    one = tercel.ones(16, 16).to(values.dtype)
    for x, y in ((clean, eye), (clean.t().contiguous().t(), eye), (clean, eye.t())):
        got = to_float64(tercel.scaled_matmul(x, y, out_dtype=tercel.float32)).reshape(want.shape)
        assert np.array_equal(got, np.where(finite, want, 0.0))
        got = to_float64(tercel.scaled_matmul(y, x.t(), out_dtype=tercel.float32)).T
        assert np.array_equal(got, np.where(finite, want, 0.0))
    # a NaN or infinite element reaches its whole row (rows whose sum overflows by itself aside)
    sums = to_float64(tercel.scaled_matmul(values, one, out_dtype=tercel.float32))
    usual = np.abs(np.where(finite, want, 0.0)).max(1) < 1e37
    assert np.array_equal(np.isfinite(sums).all(1)[usual], finite.all(1)[usual])


def test_bits_do_not_depend_on_threads_batch_or_level():
    rng = np.random.default_rng(3)
    for dtype in NARROW:
        a, _ = matrix(rng, 70, 700, dtype)
        w, _ = matrix(rng, 333, 700, dtype)
        first = None
        for level in ("avx2", "avx512"):
            try:
                tercel.set_isa(level)
            except RuntimeError:
                continue
            for threads in (1, 2, 3):
                tercel.set_num_threads(threads)
                for rows in (slice(0, 70), slice(5, 6), slice(7, 10), slice(64, 70), slice(0, 17)):
                    y = tercel.linear(a[rows], w).float().numpy()
                    first = y if first is None else first
                    assert np.array_equal(y, first[rows]), (dtype, level, threads, rows)
        tercel.set_isa("auto")


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "float8_e4m3fn"])
def test_few_rows_have_the_bits_of_many(dtype):
    """1 to 17 rows take different paths (streamed, one or several passes, packed); the weight in both layouts."""
    rng = np.random.default_rng(4)
    for columns, k in ((203, 1100), (96, 1024)):
        x, _ = matrix(rng, 40, k, dtype)
        w, _ = matrix(rng, columns, k, dtype)
        for weight in (w, w.t().contiguous().t()):
            many = tercel.linear(x, weight).double().numpy()
            for rows in range(1, 18):
                few = tercel.linear(x[3 : 3 + rows], weight).double().numpy()
                assert np.array_equal(few, many[3 : 3 + rows]), (columns, rows)


# ---- scaled_matmul ---------------------------------------------------------------------------------


def blocks(n):
    return -(-n // 128)


def scale_values(rng, *shape):
    return np.exp2(rng.uniform(-3, 3, shape)).astype(np.float32)


def spread(scale, rows, cols, row_block, col_block):
    full = np.repeat(np.repeat(scale.astype(np.float64), row_block, 0), col_block, 1)
    return full[:rows, :cols]


SCHEMES_A = {
    "none": lambda rng, m, k: (None, np.ones((m, k))),
    "tensor": lambda rng, m, k: ((s := scale_values(rng)), np.full((m, k), float(s))),
    "row": lambda rng, m, k: ((s := scale_values(rng, m, 1)), np.repeat(s, k, 1)),
    "row1d": lambda rng, m, k: ((s := scale_values(rng, m)), np.repeat(s[:, None], k, 1)),
    "1x128": lambda rng, m, k: ((s := scale_values(rng, m, blocks(k))), spread(s, m, k, 1, 128)),
    "128x128": lambda rng, m, k: (
        (s := scale_values(rng, blocks(m), blocks(k))),
        spread(s, m, k, 128, 128),
    ),
}


@pytest.mark.parametrize("scheme_b", list(SCHEMES_A))
@pytest.mark.parametrize("scheme_a", list(SCHEMES_A))
def test_scaled_matmul_schemes(scheme_a, scheme_b):
    rng = np.random.default_rng(4)
    pairs = [("float8_e4m3fn", "float8_e4m3fn"), ("float8_e5m2", "float8_e4m3fn"), ("bfloat16", "float8_e4m3fn"),
             ("float32", "float8_e5m2"), ("float16", "float16")]  # fmt: skip
    for i, (m, n, k) in enumerate(
        [(1, 260, 520), (3, 257, 1100), (19, 130, 129), (150, 140, 300), (130, 600, 257), (4, 5, 6)]
    ):
        da, db = pairs[i % len(pairs)]
        a, x = matrix(rng, m, k, da)
        b, w = matrix(rng, k, n, db, layout=(i + 1) % 2)
        sa, fa = SCHEMES_A[scheme_a](rng, m, k)
        sb, fb = SCHEMES_A[scheme_b](rng, n, k)
        if sb is not None and sb.ndim == 2:
            sb = np.ascontiguousarray(sb.T)
        bias = rng.standard_normal(n).astype(np.float32) if i % 2 else None
        as_tensor = lambda v: None if v is None else tercel.from_numpy(np.array(v))
        out = ["float32", "bfloat16", "float16"][i % 3]
        y = tercel.scaled_matmul(
            a, b, as_tensor(sa), as_tensor(sb), as_tensor(bias), out_dtype=getattr(tercel, out)
        )
        assert y.dtype == getattr(tercel, out)
        xs, ws = x * fa, w * fb.T
        added = 0.0
        if bias is not None:
            added = to_float64(tercel.from_numpy(bias).to(getattr(tercel, out)))
        exact = xs @ ws + added
        magnitude = np.abs(xs) @ np.abs(ws) + np.abs(added)
        assert_within(y, exact, magnitude, k, out, extra_roundings=6)
        row = tercel.scaled_matmul(
            a[:1], b, as_tensor(sa if sa is None or sa.ndim == 0 else sa[:1]), as_tensor(sb), as_tensor(bias),
            out_dtype=getattr(tercel, out),
        )  # fmt: skip
        assert row[0].float().tolist() == y[0].float().tolist()  # the batch does not matter


def test_scaled_matmul_gradients():
    """Weights only: gradients of input and bias against float64, every scale scheme."""
    rng = np.random.default_rng(5)
    m, n, k = 33, 150, 260
    for scheme_a in SCHEMES_A:
        for scheme_b in SCHEMES_A:
            b, w = matrix(rng, k, n, "float8_e4m3fn", layout=1)
            x = rng.standard_normal((m, k)).astype(np.float32)
            sa, fa = SCHEMES_A[scheme_a](rng, m, k)
            sb, fb = SCHEMES_A[scheme_b](rng, n, k)
            if sb is not None and sb.ndim == 2:
                sb = np.ascontiguousarray(sb.T)
            as_tensor = lambda v: None if v is None else tercel.from_numpy(np.array(v))
            a = tercel.from_numpy(x).requires_grad_(True)
            bias = tercel.zeros(n).requires_grad_(True)
            y = tercel.scaled_matmul(a, b, as_tensor(sa), as_tensor(sb), bias)
            g = rng.standard_normal((m, n)).astype(np.float32)
            y.backward(tercel.from_numpy(g))
            ws = w * fb.T
            exact = (g.astype(np.float64) @ ws.T) * fa
            magnitude = (np.abs(g) @ np.abs(ws.T)) * fa
            assert_within(a.grad, exact, magnitude, n, "float32", extra_roundings=6)
            assert np.allclose(bias.grad.numpy(), g.sum(0), rtol=1e-5, atol=1e-5)


def test_scaled_matmul_special_values():
    a = tercel.ones(2, 3).to(tercel.float8_e4m3fn)
    b = tercel.ones(3, 2).to(tercel.float8_e4m3fn)
    nan, inf = float("nan"), float("inf")
    y = tercel.scaled_matmul(a, b, tercel.tensor([[nan], [inf]]))
    assert np.isnan(y.float().numpy()[0]).all() and np.isinf(y.float().numpy()[1]).all()
    big = tercel.scaled_matmul(a, b, tercel.tensor(1e6), out_dtype=tercel.float8_e4m3fn)
    assert big.float().tolist() == [[448.0, 448.0], [448.0, 448.0]]
    numbers = tercel.scaled_matmul(a, b, 0.5, scale_b=4)
    assert numbers.tolist() == [[6.0, 6.0], [6.0, 6.0]] and numbers.dtype == tercel.bfloat16
    assert tercel.scaled_matmul(a, b).dtype == tercel.bfloat16
    assert tercel.scaled_matmul(a.float(), b).dtype == tercel.float32
    empty = tercel.scaled_matmul(a[:, :0], b[:0], None, None, tercel.ones(2))
    assert empty.float().tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert tercel.scaled_matmul(a[:0], b).shape == (0, 2)
    batched = tercel.scaled_matmul(a.unsqueeze(0), b, tercel.ones(1, 2, 1))
    assert batched.shape == (1, 2, 2)


def test_scaled_matmul_errors():
    a = tercel.ones(4, 300).to(tercel.float8_e4m3fn)
    b = tercel.ones(300, 6).to(tercel.float8_e4m3fn)
    with pytest.raises(ValueError, match=r"scale_a.*\[4, 1\].*1x128.*128x128"):
        tercel.scaled_matmul(a, b, tercel.ones(3, 1))
    with pytest.raises(ValueError, match=r"scale_b.*\[1, 6\].*128x1.*128x128"):
        tercel.scaled_matmul(a, b, None, tercel.ones(5))
    with pytest.raises(TypeError, match=r"scale_a.*float32"):
        tercel.scaled_matmul(a, b, tercel.ones(4, 1, dtype=tercel.float64))
    with pytest.raises(TypeError, match="other"):
        tercel.scaled_matmul(a, tercel.ones(300, 6, dtype=tercel.int8))
    with pytest.raises(ValueError, match="inner sizes"):
        tercel.scaled_matmul(a, b[:299])
    with pytest.raises(ValueError, match="bias"):
        tercel.scaled_matmul(a, b, bias=tercel.ones(5))
    with pytest.raises(TypeError, match="out_dtype"):
        tercel.scaled_matmul(a, b, out_dtype=tercel.int32)


# ---- fused epilogues -------------------------------------------------------------------------------

ACTIVATIONS = {
    "none": lambda v: v,
    "relu": tercel.relu,
    "gelu": tercel.nn.functional.gelu,
    "gelu_tanh": lambda v: tercel.nn.functional.gelu(v, approximate="tanh"),
    "silu": tercel.nn.functional.silu,
    "tanh": tercel.tanh,
    "sigmoid": tercel.sigmoid,
}


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_linear_act_is_the_composite(name):
    """float32: the bits of linear, activation, addition one by one; bfloat16: those of the float32 composite rounded
    once. Rows alone give the same bits. Gradients of both orders in float64."""
    no_tiles()
    rng = np.random.default_rng(6)
    for m, n, k in [(1, 130, 300), (5, 70, 64), (200, 130, 170), (0, 3, 4)]:
        x, _ = matrix(rng, m, k, "float32")
        w, _ = matrix(rng, n, k, "float32", scale=k**-0.5)
        b, r = (
            tercel.from_numpy(rng.standard_normal(n).astype(np.float32)),
            matrix(rng, m, n, "float32")[0],
        )
        want = ACTIVATIONS[name](tercel.linear(x, w, b)) + r
        assert tercel.linear_act(x, w, b, name, r).tolist() == want.tolist()
        h = [t.to(tercel.bfloat16) for t in (x, w, b, r)]
        wide = [t.float() for t in h]
        want = ACTIVATIONS[name](tercel.linear(*wide[:3])) + wide[3]
        got = tercel.linear_act(*h[:3], name, h[3])
        assert got.float().tolist() == want.to(tercel.bfloat16).float().tolist()
        h[1].requires_grad_(True)  # recording does not change the bits
        assert tercel.linear_act(*h[:3], name, h[3]).float().tolist() == got.float().tolist()
    ds = [
        tercel.from_numpy(rng.standard_normal(s)).requires_grad_(True)
        for s in ((3, 4), (5, 4), (5,), (3, 5))
    ]
    ref = ACTIVATIONS[name](tercel.linear(*ds[:3])) + ds[3]
    got = tercel.linear_act(*ds[:3], name, ds[3])
    c = tercel.from_numpy(rng.standard_normal((3, 5)))
    for first, second in zip(derivatives(got, ds, c), derivatives(ref, ds, c), strict=True):
        assert np.allclose(first, second, rtol=1e-10, atol=1e-12)


def derivatives(y, inputs, cotangent):
    grads = tercel.autograd.grad(y, inputs, cotangent, create_graph=True)
    total = sum((g * g).sum() for g in grads)
    second = tercel.autograd.grad(total, inputs, allow_unused=True) if total.requires_grad else []
    return [g.detach().numpy() for g in grads] + [
        np.zeros(1) if g is None else g.numpy() for g in second
    ]


@pytest.mark.parametrize("name", ["silu", "gelu", "sigmoid"])
def test_gated_linear(name):
    no_tiles()
    rng = np.random.default_rng(7)
    for dtype in ("float32", "bfloat16", "float16"):
        for m, n, k in [(1, 67, 300), (3, 64, 600), (150, 66, 170), (0, 3, 4), (2, 0, 3)]:
            x, _ = matrix(rng, m, k, dtype)
            w, _ = matrix(rng, 2 * n, k, dtype, scale=k**-0.5)
            b = tercel.from_numpy(rng.standard_normal(2 * n)).to(x.dtype)
            h = tercel.linear(x.float(), w.float(), b.float())
            want = (ACTIVATIONS[name](h[:, :n]) * h[:, n:]).to(x.dtype)
            got = tercel.gated_linear(x, w, b, name)
            assert got.float().tolist() == want.float().tolist()
            if m > 1:
                row = tercel.gated_linear(x[1], w, b, name)
                assert row.float().tolist() == got[1].float().tolist()
    x, w, b = (
        tercel.from_numpy(rng.standard_normal(s).astype(np.float32)).requires_grad_(True)
        for s in ((3, 4), (10, 4), (10,))
    )
    h = tercel.linear(x, w, b)
    c = tercel.from_numpy(rng.standard_normal((3, 5)).astype(np.float32))
    ref = derivatives(ACTIVATIONS[name](h[:, :5]) * h[:, 5:], (x, w, b), c)
    for first, second in zip(
        derivatives(tercel.gated_linear(x, w, b, name), (x, w, b), c), ref, strict=True
    ):
        assert np.allclose(first, second, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="'silu'"):
        tercel.gated_linear(x, w, b, "swish")
    with pytest.raises(ValueError, match="even"):
        tercel.gated_linear(x, w[:9], b[:9])


def test_trace_names_kernel_and_refusals():
    import os
    import subprocess
    import sys

    code = (
        "import tercel; tercel.ones(9, 700).mm(tercel.ones(700, 400));"
        "a = tercel.ones(9, 70, dtype=tercel.int8); tercel.int_matmul(a, a.t());"
        "q = tercel.quantization.quantize(tercel.ones(33, 64), 'int4');"
        "[tercel.linear(tercel.ones(n, 64), q) for n in (1, 40)]"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TERCEL_TRACE": "1", "TERCEL_ISA": tercel.get_isa()},
        capture_output=True,
        text=True,
    )
    lines = [line for line in run.stderr.splitlines() if "gemm 9x400x700 float32 x float32" in line]
    assert len(lines) == 1 and "micro-kernel f32_" in lines[0] and "refused:" in lines[0], (
        run.stderr
    )
    assert "bf16_32x32_amx:" in lines[0] or "avx512" not in tercel.get_isa()
    (line,) = [
        line for line in run.stderr.splitlines() if "int8_gemm 9x9x70 int8 x int8 -> int32" in line
    ]
    assert f"micro-kernel {tercel._core._int8_kernel()} (refused:" in line
    assert "int8_4x16_generic: slower than" in line or tercel.get_isa() == "generic"
    assert "linear 1x33x64 float32 x int4: codes are decoded in registers" in run.stderr
    assert "linear 40x33x64 float32 x int4: codes are decoded into the panels" in run.stderr
