"""autocast and GradScaler: which dtype each op runs in, float32 master weights, overflow handling."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tercel
from tercel import nn
from tercel.amp import GradScaler, autocast, custom_bwd, custom_fwd

F = nn.functional
BF16, F32 = tercel.bfloat16, tercel.float32


def tensor(*shape, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return tercel.from_numpy(values)


NARROW = {
    "matmul": lambda x, w: tercel.matmul(x, w),
    "operator": lambda x, w: x @ w,
    "method": lambda x, w: x.mm(w),
    "mv": lambda x, w: tercel.mv(x, w[:, 0]),
    "bmm": lambda x, w: tercel.bmm(x[None], w[None]),
    "addmm": lambda x, w: tercel.addmm(w[0], x, w),
    "einsum": lambda x, w: tercel.einsum("ij,jk->ik", x, w),
    "linear": lambda x, w: F.linear(x, w, w[0]),
    "linear_act": lambda x, w: F.linear_act(x, w, None, "gelu"),
    "gated_linear": lambda x, w: F.gated_linear(x, w),
    "conv1d": lambda x, w: F.conv1d(x[None], w[:, :, None]),
    "conv_transpose1d": lambda x, w: F.conv_transpose1d(x[None], w[:, :, None]),
}
WIDE = {
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, (4,), tercel.ones(4), tercel.zeros(4)),
    "rms_norm": lambda x: F.rms_norm(x, (4,), tercel.ones(4)),
    "batch_norm": lambda x: F.batch_norm(x, None, None, tercel.ones(4), training=True),
    "group_norm": lambda x: F.group_norm(x, 2, tercel.ones(4)),
    "cross_entropy": lambda x: F.cross_entropy(x, tercel.tensor([0, 1, 2, 3])),
    "nll_loss": lambda x: F.nll_loss(x, tercel.tensor([0, 1, 2, 3])),
    "mse_loss": lambda x: F.mse_loss(x, x * 2),
    "l1_loss": lambda x: F.l1_loss(x, x * 2),
    "bce_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, tercel.ones(4, 4)),
    "kl_div": lambda x: F.kl_div(x, F.softmax(x, -1)),
}


@pytest.mark.parametrize("dtype", [tercel.bfloat16, tercel.float16])
@pytest.mark.parametrize("name", list(NARROW))
def test_products_run_narrow(name, dtype):
    x, w = tensor(4, 4), tensor(4, 4, seed=1)
    want = NARROW[name](x.to(dtype), w.to(dtype))
    with autocast("cpu", dtype=dtype):
        y = NARROW[name](x, w)
    assert y.dtype == dtype and y.float().tolist() == want.float().tolist()
    assert NARROW[name](x, w).dtype == F32


@pytest.mark.parametrize("name", list(WIDE))
def test_losses_norms_and_softmax_run_in_float32(name):
    x = tensor(4, 4).to(BF16)
    with autocast():
        y = WIDE[name](x)
    assert y.dtype == F32
    assert np.allclose(y.numpy(), WIDE[name](x.float()).numpy(), rtol=1e-6)


def test_regions_nest_and_belong_to_a_thread():
    x = tensor(3, 3)
    assert not tercel.is_autocast_enabled() and tercel.get_autocast_dtype("cpu") == BF16
    with autocast():
        assert tercel.is_autocast_enabled("cpu") and (x @ x).dtype == BF16
        with autocast(enabled=False):
            assert (x @ x).dtype == F32
        with autocast(dtype=tercel.float16):
            assert (x @ x).dtype == tercel.float16
        assert (x @ x).dtype == BF16
        assert (x.double() @ x.double()).dtype == tercel.float64
        seen = []
        thread = threading.Thread(target=lambda: seen.append((x @ x).dtype))
        thread.start()
        thread.join()
        assert seen == [F32]
    with pytest.raises(KeyError), autocast():
        raise KeyError
    assert not tercel.is_autocast_enabled()
    assert autocast("cpu")(lambda: (x @ x).dtype)() == BF16
    with pytest.raises(ValueError, match="device_type"):
        autocast("tpu")
    with pytest.raises(ValueError, match="dtype"):
        autocast("cpu", dtype=tercel.int8)


def test_master_weights_get_float32_gradients_and_casts_are_shared():
    x, w = tensor(8, 5), tensor(6, 5, seed=1).requires_grad_(True)
    with autocast():
        y = F.linear(x, w) + F.linear(x, w)
        with tercel.no_grad():
            assert not F.linear(x, w).requires_grad
        assert F.linear(x, w).requires_grad
    y.float().sum().backward()
    assert w.grad.dtype == F32
    narrow = w.detach().to(BF16).requires_grad_(True)
    F.linear(x.to(BF16), narrow).float().sum().backward()
    assert np.allclose(w.grad.numpy(), 2 * narrow.grad.float().numpy(), rtol=2e-2, atol=1e-2)
    with autocast():
        before = F.linear(x, w).float()
        with tercel.no_grad():
            w.mul_(2.0)
        assert np.allclose(F.linear(x, w).float().detach().numpy(), 2 * before.detach().numpy())


def loss_curve(dtype, steps=30, half_model=False):
    tercel.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))
    x, target = tensor(64, 12), tercel.from_numpy(np.arange(64) % 4)
    if half_model:
        model.to(BF16)
        x = x.to(BF16)
    optimizer = tercel.optim.AdamW(model.parameters(), lr=1e-2)
    scaler = GradScaler(enabled=dtype == tercel.float16)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        with autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = F.cross_entropy(model(x), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(float(loss))
    return np.array(losses)


def test_training_follows_float32():
    reference = loss_curve(None)
    assert reference[-1] < 0.6 * reference[0]
    for dtype in (BF16, tercel.float16):
        assert np.max(np.abs(loss_curve(dtype) - reference)) < 0.05
    assert np.max(np.abs(loss_curve(None, half_model=True) - reference)) < 0.25


def test_scaler_skips_and_adapts():
    p = tercel.ones(3).requires_grad_(True)
    optimizer = tercel.optim.SGD([p], lr=1.0)
    scaler = GradScaler(init_scale=8.0, growth_interval=2)
    for i in range(4):
        optimizer.zero_grad()
        factor = float("inf") if i == 2 else 0.125
        scaler.scale((p * factor).sum()).backward()
        if i == 1:
            scaler.unscale_(optimizer)
            assert p.grad.tolist() == [0.125] * 3
        scaler.step(optimizer)
        scaler.update()
    # steps 0 and 1 grow the factor, step 2 is skipped and halves it, step 3 counts again
    assert scaler.get_scale() == 8.0 and np.allclose(p.detach().numpy(), 1 - 3 * 0.125)
    state = scaler.state_dict()
    other = GradScaler()
    other.load_state_dict(state)
    assert other.state_dict() == state
    with pytest.raises(RuntimeError, match="no step"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already called"):
        scaler.unscale_(optimizer)
    with pytest.raises(KeyError):
        other.load_state_dict({"scale": 1.0})
    off = GradScaler(enabled=False)
    assert off.scale(p) is p and off.get_scale() == 1.0 and off.state_dict() == {}
    assert [t.tolist() for t in scaler.scale([p.detach(), p.detach()])][0] == (p * 8).tolist()
    with pytest.raises(TypeError):
        scaler.scale(3)
    for bad in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"device": "tpu"}):
        with pytest.raises(ValueError):
            GradScaler(**bad)


def test_custom_functions_keep_the_state_of_forward():
    seen = []

    class Product(tercel.autograd.Function):
        @staticmethod
        @custom_fwd
        def forward(ctx, x):
            seen.append((x @ x).dtype)
            return x * 2

        @staticmethod
        @custom_bwd
        def backward(ctx, g):
            seen.append((g @ g).dtype)
            return g * 2

    x = tensor(2, 2).requires_grad_(True)
    with autocast():
        y = Product.apply(x)
    y.sum().backward()
    assert seen == [BF16, BF16]


def test_float32_matmul_precision_is_remembered():
    assert tercel.get_float32_matmul_precision() == "highest"
    tercel.set_float32_matmul_precision("high")
    try:
        assert tercel.get_float32_matmul_precision() == "high"
        with pytest.raises(ValueError, match="'medium'"):
            tercel.set_float32_matmul_precision("low")
    finally:
        tercel.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_float32_matmul_precision_bounds_the_error(precision):
    # With AMX in bfloat16 parts (tests/cpp/test_gemm_pairs.cpp has them on a model), elsewhere float32; medium
    # is one bfloat16 product wherever that is faster.
    a, b = tensor(40, 200), tensor(200, 70)
    exact, size = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    highest = a @ b
    tercel.set_float32_matmul_precision(precision)
    try:
        got = a @ b
        narrow = a.bfloat16() @ b.bfloat16()
        with autocast():
            assert tercel.equal(a @ b, narrow)
    finally:
        tercel.set_float32_matmul_precision("highest")
    worst = float(((got.double() - exact).abs() / size).max())
    assert worst < {"high": 2.0**-20, "medium": 2.0**-8}[precision]
    if tercel.get_isa() != "amx":
        rounded = a.bfloat16().float() @ b.bfloat16().float()
        assert tercel.equal(got, highest) or (precision == "medium" and tercel.equal(got, rounded))


def test_the_device_of_a_region():
    a = tercel.randn(3, 4)
    with tercel.autocast("cuda"):
        assert (a @ a.t()).dtype == tercel.float16
        with tercel.autocast("cpu", enabled=False):
            assert (a @ a.t()).dtype == tercel.float32
    with tercel.autocast("cuda", dtype=tercel.bfloat16):
        assert (a @ a.t()).dtype == tercel.bfloat16
    tercel.amp.GradScaler("cuda")
    for f in (tercel.autocast, tercel.amp.GradScaler):
        with pytest.raises(ValueError, match="'cpu' or 'cuda', got 'tpu'"):
            f("tpu")
