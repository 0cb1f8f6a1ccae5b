"""CUDA: training, products and quantised weights against the CPU, on a GPU or in the emulator."""

from __future__ import annotations

import numpy as np
import pytest

import tercel
from conftest import cuda_only
from tercel import nn
from tercel.nn import functional as F
from tercel.testing import to_float64

# ---- training --------------------------------------------------------------------------------------------


def train(model: nn.Module, device: str, x, y, optimizer, steps=3) -> list[float]:
    model.to(device)
    step = optimizer(model.parameters())
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(model(x.to(device)), y.to(device))
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    return losses


def both(make, x, y, optimizer) -> None:
    runs = []
    for device in ("cpu", "cuda"):
        tercel.manual_seed(0)
        runs.append(train(make(), device, x, y, optimizer))
    np.testing.assert_allclose(runs[1], runs[0], rtol=2e-4)
    assert runs[0][-1] < runs[0][0]


@cuda_only
def test_a_convolutional_network_trains_as_on_the_cpu():
    def make():
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3),
        )  # fmt: skip

    x, y = tercel.randn(4, 1, 8, 8), tercel.tensor([0, 1, 2, 1])
    both(make, x, y, lambda p: tercel.optim.SGD(p, lr=0.1, momentum=0.9))


class SmallGPT(nn.Module):
    """One causal attention block from public ops."""

    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 16), nn.Embedding(6, 16)
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.head = nn.Linear(16, 11, bias=False)

    def forward(self, tokens):
        B, T = tokens.shape
        x = self.embed(tokens) + self.place(tercel.arange(T, device=tokens.device))
        qkv = self.qkv(self.norm1(x)).view(B, T, 3, 2, 8).permute(2, 0, 3, 1, 4)
        scores = (qkv[0] @ qkv[1].transpose(-1, -2)) * 8**-0.5
        future = tercel.ones(T, T, dtype=tercel.bool).triu(1).to(tokens.device)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        x = x + self.out((weights @ qkv[2]).transpose(1, 2).reshape(B, T, 16))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x).view(B * T, 11)


@cuda_only
def test_a_small_gpt_trains_as_on_the_cpu():
    tokens = tercel.tensor([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 0, 1]])
    targets = tercel.tensor([2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 1, 2])
    both(SmallGPT, tokens, targets, lambda p: tercel.optim.AdamW(p, lr=1e-2))


@cuda_only
def test_generation_in_batches_as_on_the_cpu():
    tercel.manual_seed(1)
    model = SmallGPT().eval()
    prompt = tercel.tensor([[1, 2], [7, 8], [3, 0]])
    runs = []
    for device in ("cpu", "cuda"):
        tokens = prompt.to(device)
        model.to(device)
        with tercel.no_grad():
            while tokens.shape[1] < 6:
                logits = model(tokens).view(3, -1, 11)[:, -1]
                tokens = tercel.cat([tokens, logits.topk(1, -1)[1]], 1)
        assert not logits.requires_grad
        runs.append((tokens.tolist(), to_float64(logits)))
    assert runs[0][0] == runs[1][0]
    np.testing.assert_allclose(runs[1][1], runs[0][1], atol=1e-5)


@cuda_only
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm", "orthogonal"])
def test_parametrised_layers_are_made_on_the_gpu(name):
    layer = nn.Linear(4, 3, device="cuda")
    if name == "orthogonal":
        layer.weight.data = layer.weight.data.clone()
    getattr(nn.utils.parametrizations, name)(layer)
    layer(tercel.randn(2, 4, device="cuda")).sum().backward()
    assert layer.bias.grad.is_cuda and layer.weight.is_cuda


@cuda_only
def test_mixed_precision_and_clipping_on_the_gpu():
    model = nn.Linear(6, 5, device="cuda")
    optimizer = tercel.optim.SGD(model.parameters(), lr=0.1)
    scaler = tercel.amp.GradScaler("cuda", init_scale=64.0)
    x, y = tercel.randn(4, 6).cuda(), tercel.tensor([0, 1, 2, 3]).cuda()
    with tercel.autocast("cuda"):
        logits = model(x)
        loss = F.cross_entropy(logits, y)
    assert logits.dtype == tercel.float16 and loss.dtype == tercel.float32
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    for p in (2.0, 1.0, 3.0, float("inf"), 0.0):
        grads = [q.grad.clone() for q in model.parameters()]
        holders = [nn.Parameter(tercel.zeros_like(g)) for g in grads]
        here = [nn.Parameter(tercel.zeros(*g.shape)) for g in grads]
        for h, c, g in zip(holders, here, grads, strict=True):
            h.grad, c.grad = g.clone(), g.cpu()
        total = nn.utils.clip_grad_norm_(holders, 0.05, norm_type=p)
        wanted = nn.utils.clip_grad_norm_(here, 0.05, norm_type=p)
        assert total.is_cuda and total.item() == pytest.approx(wanted.item(), rel=1e-6)
        for h, c in zip(holders, here, strict=True):
            np.testing.assert_allclose(to_float64(h.grad.cpu()), to_float64(c.grad), rtol=1e-6)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 64.0


# ---- products and quantised weights ------------------------------------------------------------------------


@cuda_only
def test_tf32_only_when_it_is_allowed():
    x, w = tercel.randn(20, 64), tercel.randn(24, 64)
    exact = to_float64(x) @ to_float64(w).T
    errors = {}
    try:
        for precision in ("highest", "high"):
            tercel.set_float32_matmul_precision(precision)
            errors[precision] = np.abs(to_float64(F.linear(x.cuda(), w.cuda())) - exact).max()
    finally:
        tercel.set_float32_matmul_precision("highest")
    assert errors["highest"] < 1e-5 < errors["high"] < 2e-2


@cuda_only
@pytest.mark.parametrize(
    "activation", ["none", "relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"]
)
def test_fused_epilogue(activation):
    x, w, b, r = (
        tercel.randn(3, 5, 32),
        tercel.randn(24, 32),
        tercel.randn(24),
        tercel.randn(3, 5, 24),
    )
    for dtype, tolerance in ((tercel.float32, 1e-5), (tercel.bfloat16, 2e-2)):
        args = [t.to(dtype) for t in (x, w, b)]
        y = tercel.linear_act(*(t.cuda() for t in args), activation, r.to(dtype).cuda())
        wanted = tercel.linear_act(*args, activation, r.to(dtype))
        np.testing.assert_allclose(
            to_float64(y), to_float64(wanted), rtol=tolerance, atol=tolerance
        )


@cuda_only
def test_integer_products_have_the_bits_of_the_cpu():
    rng = np.random.default_rng(0)
    a8, b = (rng.integers(-128, 128, s).astype(np.int8) for s in ((2, 7, 100), (100, 9)))
    options = {"scale_a": tercel.rand(14), "scale_b": tercel.rand(9), "bias": tercel.randn(9)}
    for a in (a8, a8.view(np.uint8)):
        x, w = tercel.from_numpy(a), tercel.from_numpy(b)
        for out in (
            {},
            {"zero_point_a": tercel.tensor(3)},
            {**options, "dtype": tercel.int8, "out_scale": 40.0, "out_zero_point": 5},
            {**options, "dtype": tercel.float32},
        ):
            there = {k: v.cuda() if isinstance(v, tercel.Tensor) else v for k, v in out.items()}
            y = tercel.int_matmul(x.cuda(), w.cuda(), **there)
            assert y.is_cuda and tercel.equal(y.cpu(), tercel.int_matmul(x, w, **out))


@cuda_only
@pytest.mark.parametrize(
    "scheme", ["int8", "int4", "int4-zp", "nf4", "fp8", "int8-dynamic", "mxfp8"]
)
def test_quantised_linear(scheme):
    layer = nn.Linear(256, 20)
    here = tercel.quantization.QuantizedLinear.from_float(layer, scheme)
    codes = tercel.quantization.quantize(layer.weight.cuda(), scheme)
    assert codes.device.type == "cuda"
    assert tercel.equal(
        codes.values.cpu().view(tercel.uint8), here.weight.values.view(tercel.uint8)
    )
    for rows in (1, 3, 20):
        for dtype, tolerance in ((tercel.float32, 1e-5), (tercel.bfloat16, 2e-2)):
            x, b = tercel.randn(rows, 256).to(dtype), layer.bias.detach().to(dtype)
            y = F.linear(x.cuda(), here.weight.to("cuda"), b.cuda())
            wanted = F.linear(x, here.weight, b)
            if scheme == "int8-dynamic":
                assert tercel.equal(y.cpu(), wanted)
            else:
                np.testing.assert_allclose(
                    to_float64(y), to_float64(wanted), rtol=tolerance, atol=tolerance
                )
    here.cuda()
    assert here.weight.device.type == "cuda" and here(tercel.randn(2, 256).cuda()).shape == (2, 20)


@cuda_only
@pytest.mark.parametrize(
    "name", ["int8", "uint4", "nf4", "float8_e4m3fn", "float8_e5m2", "float4_e2m1"]
)
def test_stochastic_rounding_has_the_bits_of_the_cpu(name):
    x, scale = tercel.randn(5, 33), tercel.full((5, 1), 0.11)
    codes = []
    for device in ("cpu", "cuda"):
        tercel.manual_seed(5)
        q = tercel.quantize_affine(
            x.to(device), [1, 33], scale.to(device), None, name, rounding="stochastic"
        )
        codes.append(q.cpu().view(tercel.uint8))
    assert tercel.equal(codes[0], codes[1])


@cuda_only
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "bfloat16", "float8_e4m3fn", "int8", "int64", "bool"]
)
def test_long_rows_are_sorted_as_on_the_cpu(dtype):
    x = (tercel.randn(2, 2500) * 3).to(getattr(tercel, dtype))
    for descending in (False, True):
        value, index = tercel.sort(x.cuda(), descending=descending)
        wanted, where = tercel.sort(x, descending=descending)
        assert tercel.equal(index.cpu(), where) and tercel.equal(value.cpu(), wanted)
    value, index = tercel.topk(x.cuda(), 70)
    wanted, where = tercel.topk(x, 70)
    assert tercel.equal(index.cpu(), where) and tercel.equal(value.cpu(), wanted)
