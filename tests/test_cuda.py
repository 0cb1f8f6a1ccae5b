"""CUDA: the device library and its runtime, on a GPU or (in the emulator) without one; behaviour without a driver.

`pytest tests/test_ops.py --device cuda` checks the kernels with everything the op cases have; here each op runs its small samples.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import op_runner
import tercel
from conftest import ROOT, emulated_library
from op_cases import Sampler, load_all
from op_runner import (
    LAYOUTS,
    Differentiable,
    call,
    contiguous,
    expanded,
    expected,
    make,
    prepare,
    scale_of,
    seed_of,
    tensors,
)
from tercel import nn
from tercel.nn import functional as F
from tercel.testing import GRAD, assert_close, to_float64

cuda_only = pytest.mark.skipif(
    not tercel.cuda.is_available(), reason=f"no CUDA: {tercel.cuda.unavailable_reason()}"
)


def python(code: str, **env: str) -> subprocess.CompletedProcess:
    full = {k: v for k, v in os.environ.items() if k != "TERCEL_CUDA_LIBRARY"}
    paths = [str(ROOT / "tests"), *(p for p in sys.path if p)]
    full.update(env, PYTHONPATH=os.pathsep.join(paths))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=full)


# ---- without a driver ----------------------------------------------------------------------------------


def test_the_extension_needs_no_cuda_library():
    out = subprocess.run(
        ["readelf", "-d", tercel._core.__file__], capture_output=True, text=True, check=True
    ).stdout
    assert "cuda" not in out.lower() and "nvidia" not in out.lower()


def test_import_does_not_load_the_device_library():
    code = (
        "import tercel, tercel.cuda; tercel.device('cuda'); tercel.ones(2);"
        "assert not tercel.cuda.is_initialized();"
        "assert not any('tercel_cuda' in line for line in open('/proc/self/maps'))"
    )
    result = python(code)
    assert result.returncode == 0, result.stderr


def test_clear_errors_without_cuda():
    code = """
import pytest, tercel
assert not tercel.cuda.is_available() and tercel.cuda.device_count() == 0
x = tercel.ones(2)
for f in (lambda: x.to("cuda"), lambda: x.cuda(), lambda: tercel.zeros(2, device="cuda"), tercel.cuda.synchronize,
          tercel.cuda.get_device_properties, tercel.cuda.Stream, lambda: tercel.cuda.set_device(0),
          lambda: tercel.tensor([1.0], device="cuda"), lambda: tercel.nn.Linear(2, 2).cuda()):
    with pytest.raises(RuntimeError, match="no usable CUDA library"):
        f()
assert x.pin_memory() is x
tercel.cuda.empty_cache()
"""
    result = python(code, TERCEL_CUDA_LIBRARY="/nonexistent/libtercel_cuda.so")
    assert result.returncode == 0, result.stderr


def device_library() -> Path | None:
    """The real device library, beside the extension module or in a build folder."""
    folders = (
        Path(tercel._core.__file__).parent,
        Path(os.environ.get("TERCEL_BUILD_DIR", ROOT / "build")),
    )
    return next((f / NAME for f in folders if (f / NAME).exists()), None)


NAME = "libtercel_cuda.so"


@pytest.mark.skipif(device_library() is None, reason="built without CUDA")
def test_the_device_library_needs_no_cuda_library():
    out = subprocess.run(
        ["readelf", "-d", str(device_library())], capture_output=True, text=True, check=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in out.splitlines() if "(NEEDED)" in line]
    assert needed and not [n for n in needed if "cu" in n or "nv" in n], needed


@pytest.mark.skipif(device_library() is None, reason="built without CUDA")
@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is a driver")
def test_the_device_library_loads_without_a_driver():
    code = """
import pytest, tercel
assert not tercel.cuda.is_available() and tercel.cuda.device_count() == 0
assert "driver" in tercel.cuda.unavailable_reason(), tercel.cuda.unavailable_reason()
assert any("libtercel_cuda.so" in line for line in open("/proc/self/maps"))
with pytest.raises(RuntimeError, match="driver"):
    tercel.ones(2, device="cuda")
assert tercel.ones(2).sum().item() == 2
"""
    result = python(code, TERCEL_CUDA_LIBRARY=str(device_library()))
    assert result.returncode == 0, result.stderr


def test_demo_without_cuda_exits_2():
    code = "from tercel.cli import main; raise SystemExit(main(['demo', '--device', 'cuda']))"
    result = python(code, TERCEL_CUDA_LIBRARY="/nonexistent/libtercel_cuda.so")
    assert result.returncode == 2 and "CUDA" in result.stderr


needs_emulation = pytest.mark.skipif(
    emulated_library() is None, reason="the emulated device library is not built"
)


@needs_emulation
def test_a_gpu_that_is_too_old():
    code = """
import pytest, tercel
assert not tercel.cuda.is_available() and tercel.cuda.device_count() == 0
assert "compute capability 7.5, but this build of tercel needs 8.0 or newer" in tercel.cuda.unavailable_reason()
with pytest.raises(RuntimeError, match=r"cuda:0 \\(emulated device\\) has compute capability 7.5"):
    tercel.ones(2, device="cuda")
from tercel.cli import main
raise SystemExit(main(["demo", "--device", "cuda"]))
"""
    result = python(
        code, TERCEL_CUDA_LIBRARY=str(emulated_library()), TERCEL_EMU_CAPABILITIES="75,61"
    )
    assert result.returncode == 2 and "7.5" in result.stderr, result.stderr


@needs_emulation
def test_an_old_gpu_beside_one_that_is_not():
    code = """
import pytest, tercel
x = tercel.ones(3, device="cuda:1")
for f in (lambda: tercel.ones(2, device="cuda:0"), lambda: x.to("cuda:0"), lambda: tercel.cuda.set_device(0),
          lambda: tercel.cuda.synchronize(0)):
    with pytest.raises(RuntimeError, match="cuda:0 .* has compute capability 7.0"):
        f()
tercel.cuda.set_device(1)
assert (x + 1).sum().item() == 6 and tercel.cuda.get_device_capability() == (9, 0)
"""
    result = python(
        code, TERCEL_CUDA_LIBRARY=str(emulated_library()), TERCEL_EMU_CAPABILITIES="70,90"
    )
    assert result.returncode == 0, result.stderr


# ---- runtime ---------------------------------------------------------------------------------------------


@cuda_only
def test_transfers():
    x = tercel.randn(3, 4, 5)
    y = x.to("cuda")
    assert y.is_cuda and y.device == tercel.device("cuda", 0) and not y.cpu().is_cuda
    assert tercel.equal(y.cpu(), x) and y.cuda() is y
    assert y.permute(2, 0, 1).cpu().tolist() == x.permute(2, 0, 1).tolist()
    assert y[1:, ::2].to("cpu", tercel.float64).tolist() == x[1:, ::2].double().tolist()
    assert y.sum().item() == pytest.approx(x.sum().item(), abs=1e-4)
    z = tercel.empty(3, 4, 5)
    z.copy_(y)
    y.copy_(x + 1)
    assert tercel.equal(z, x) and tercel.equal(y.cpu(), x + 1)
    assert (
        tercel.equal(x.pin_memory().cuda(non_blocking=True).cpu(), x) and x.pin_memory().is_pinned()
    )
    assert "device='cuda:0'" in repr(y[0, 0]) and y[0, 0].tolist() == (x + 1)[0, 0].tolist()
    with pytest.raises(TypeError, match="cpu"):
        y.numpy()
    assert tercel.zeros(2, 0, device="cuda").cpu().shape == (2, 0)
    a = tercel.ones(3, requires_grad=True)
    (a.cuda() * 2).sum().backward()
    assert not a.grad.is_cuda and a.grad.tolist() == [2, 2, 2]


@cuda_only
def test_mixed_devices_raise():
    x, y = tercel.ones(2, 2), tercel.ones(2, 2).cuda()
    for f in (
        lambda: x + y,
        lambda: y @ x,
        lambda: F.linear(y, x),
        lambda: tercel.where(y > 0, y, x),
    ):
        with pytest.raises(RuntimeError, match="one device"):
            f()
    assert (y * tercel.tensor(3.0)).cpu().tolist() == [[3, 3], [3, 3]]  # 0-d CPU tensors mix


@cuda_only
def test_memory_statistics_and_out_of_memory():
    gc.collect()
    cuda = tercel.cuda
    cuda.synchronize()
    before = cuda.memory_allocated()
    x = tercel.zeros(1000, device="cuda")
    assert cuda.memory_allocated() == before + 4000
    assert cuda.memory_reserved() >= cuda.memory_allocated()
    place = x.__cuda_array_interface__["data"][0]
    del x
    assert cuda.memory_allocated() == before
    y = tercel.ones(1000, device="cuda")
    assert y.__cuda_array_interface__["data"][0] == place  # the cached block
    with pytest.raises(tercel.OutOfMemoryError, match="requested"):
        tercel.empty(1 << 45, device="cuda")
    assert y.sum().item() == 1000
    cuda.empty_cache()
    free, total = cuda.mem_get_info()
    assert 0 < free <= total and cuda.get_device_properties().total_memory > 0


@cuda_only
def test_streams_and_events():
    cuda = tercel.cuda
    s, start, end = cuda.Stream(), cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    x = tercel.ones(1000, device="cuda")
    s.wait_stream(cuda.current_stream())
    with cuda.stream(s):
        assert cuda.current_stream() == s
        start.record()
        y = x * 2
        end.record()
    assert cuda.current_stream() == cuda.default_stream()
    y.record_stream(cuda.current_stream())
    cuda.current_stream().wait_stream(s)
    end.synchronize()
    assert end.query() and start.elapsed_time(end) >= 0 and y.sum().item() == 2000


@cuda_only
def test_index_error_on_the_device():
    table = tercel.ones(5, 3, device="cuda")
    with pytest.raises(IndexError, match=r"index 7 .* size 5"):
        F.embedding(tercel.tensor([1, 7]).cuda(), table).cpu()
    with pytest.raises(IndexError):
        table[tercel.tensor([0, -6]).cuda()].cpu()
    with pytest.raises(IndexError):
        F.cross_entropy(table, tercel.tensor([0, 1, 2, 3, 0]).cuda()).item()
    with pytest.raises(IndexError, match=r"index -7 .* size 3"):
        F.nll_loss(table, tercel.tensor([0, 1, 2, -7, 0]).cuda()).item()
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], got 1.5"):
        F.binary_cross_entropy(table * 1.5, table).item()
    assert table.sum().item() == 15  # usable after


@cuda_only
def test_dlpack_and_array_interface():
    x = tercel.arange(6, dtype=tercel.float32).reshape(2, 3).cuda()
    assert x.__dlpack_device__() == (2, 0)
    y = tercel.from_dlpack(x)
    y.mul_(2)
    assert x.cpu().tolist() == [[0, 2, 4], [6, 8, 10]]
    interface = x.T.__cuda_array_interface__
    assert interface["shape"] == (3, 2) and interface["strides"] == (4, 12)
    assert interface["typestr"] == "<f4" and interface["version"] == 3
    host = tercel.from_dlpack(x.__dlpack__(dl_device=(1, 0)))
    assert not host.is_cuda and tercel.equal(host, x.cpu())


@cuda_only
def test_streams_of_dlpack():
    """The consumer's stream waits for ours: 1 and None are the default one, -1 asks for no waiting."""
    x, s = tercel.ones(5, device="cuda"), tercel.cuda.Stream()
    with tercel.cuda.stream(s):
        y = x * 2
        for stream in (None, 1, -1, s.cuda_stream):
            assert tercel.from_dlpack(y.__dlpack__(stream=stream)).tolist() == [2] * 5
        assert y.__cuda_array_interface__["stream"] == s.cuda_stream
    assert x.__cuda_array_interface__["stream"] == 1
    with pytest.raises(ValueError, match="stream 0 is ambiguous"):
        x.__dlpack__(stream=0)
    with pytest.raises(BufferError, match="exported there or to the CPU"):
        x.__dlpack__(dl_device=(2, 1))


class Foreign:
    """An array of another library, by its __cuda_array_interface__."""

    def __init__(self, tensor, **changes):
        self.tensor = tensor  # the memory
        self.__cuda_array_interface__ = {**tensor.__cuda_array_interface__, **changes}


@cuda_only
def test_arrays_of_other_libraries_are_shared():
    x = tercel.arange(24, dtype=tercel.float32).reshape(4, 6).cuda()
    for view in (x, x.t(), x[1:, ::2], x[:0]):
        y = tercel.as_tensor(Foreign(view))
        assert y.is_cuda and y.tolist() == view.tolist() and y.dtype == view.dtype
    shared = tercel.as_tensor(Foreign(x, strides=None, stream=None))
    shared.add_(1)
    assert x[0, :3].tolist() == [1, 2, 3]
    copied = tercel.tensor(Foreign(x))
    copied.zero_()
    assert x.sum().item() == 24 * 25 / 2
    s = tercel.cuda.Stream()
    assert tercel.as_tensor(Foreign(x, stream=s.cuda_stream)).tolist() == x.tolist()
    assert tercel.as_tensor(Foreign(tercel.ones(3, device="cuda:1"))).device.index == 1
    host = tercel.ones(6)
    for change, error in (
        ({"stream": 0}, "ambiguous"),
        ({"typestr": ">f4"}, "element type '>f4'"),
        ({"strides": (3, 4)}, "multiples of the 4 bytes"),
        ({"strides": (4,)}, "expected 2 strides"),
        ({"mask": x}, "masked"),
        ({"data": (host.data_ptr(), False)}, "not memory of a GPU"),
        ({"data": (x.data_ptr() + 1, False)}, "not aligned"),
    ):
        with pytest.raises((ValueError, TypeError, NotImplementedError, RuntimeError), match=error):
            tercel.as_tensor(Foreign(x, **change))


@cuda_only
def test_random_numbers_are_those_of_the_cpu():
    x = tercel.ones(1000)
    tercel.manual_seed(3)
    a = F.dropout(x, 0.3)
    tercel.manual_seed(3)
    b = F.dropout(x.cuda(), 0.3)
    assert tercel.equal(a, b.cpu())
    tercel.manual_seed(4)
    a = tercel.randn(7)
    tercel.manual_seed(4)
    assert tercel.equal(tercel.randn(7, device="cuda").cpu(), a)


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


# ---- the op cases, small ------------------------------------------------------------------------------

SAMPLE = [
    "add",
    "exp",
    "sum",
    "softmax",
    "layer_norm",
    "matmul",
    "where",
    "cumsum",
    "argmax",
    "gelu_none",
    "cat",
    "tril",
    "sort",
    "topk",
    "masked_select",
    "searchsorted",
    "scatter_add",
    "embedding_bag sum",
    "interpolate",
    "batch_norm train",
    "cross_entropy",
    "conv2d",
    "max_pool2d",
]
CASES = load_all()


def chosen_samples(name: str) -> list:
    """Of the ops in SAMPLE the last six; of the others up to eight small ones, the highest ranks first."""
    samples = list(CASES[name].samples(Sampler(seed_of(name))))
    if name in SAMPLE:
        return samples[-6:]

    def arrays(sample):
        return [a for a in sample.args if isinstance(a, np.ndarray)]

    small = [s for s in samples if sum(a.size for a in arrays(s)) <= 400] or samples[:1]
    small.sort(key=lambda s: -max((a.ndim for a in arrays(s)), default=0))
    return [small[i] for i in sorted({i * len(small) // 8 for i in range(8)})]


def check_values(case, sample, dtype, layout):
    """The outputs on the GPU against the oracle."""
    values, was_float = prepare(sample, dtype, constant=layout is expanded)
    wanted, scales = expected(case, values), scale_of(case, values)
    actual = call(case, tensors(values, was_float, dtype, layout))
    for i, (a, w) in enumerate(zip(actual, wanted, strict=True)):
        assert a.is_cuda
        if w is not None:
            scale = scales[min(i, len(scales) - 1)] if scales else None
            assert_close(a, w, case.tol, scale=scale, what=f"{case.name} {dtype}")


def check_gradients(case, sample, monkeypatch):
    """Gradients on the GPU in float32 against those of the CPU in float64."""
    f = Differentiable(case, sample, "float32")
    if not f.indices:
        return
    _, outputs = f.run()
    rng = np.random.default_rng(1)
    cotangents = [to_float64(make(rng.standard_normal(o.shape), "float32")) for o in outputs]
    if not outputs:
        return
    found = f.gradients(None, cotangents)
    assert all(g.is_cuda for g in found)
    with monkeypatch.context() as m:
        m.setattr(op_runner, "DEVICE", "cpu")
        exact = Differentiable(case, f.sample, "float64").gradients(None, cotangents)
    for g, w in zip(found, exact, strict=True):
        assert_close(g, to_float64(w), GRAD, what=f"{case.name} gradient")


def check_op(name, monkeypatch):
    case = CASES[name]
    monkeypatch.setattr(op_runner, "DEVICE", "cuda")
    main = "float32" if "float32" in case.dtypes else case.dtypes[0]
    for i, sample in enumerate(chosen_samples(name)):
        check_values(case, sample, main, contiguous)
        if i == 0:
            for dtype in set(case.dtypes) - {main}:
                check_values(case, sample, dtype, contiguous)
            for layout in (*LAYOUTS.values(), expanded) if case.layouts else ():
                check_values(case, sample, main, layout)
        if case.grad is not False and main == "float32":
            check_gradients(case, sample, monkeypatch)


@cuda_only
@pytest.mark.parametrize("name", SAMPLE)
def test_op_case(name, monkeypatch):
    """One op of each kind of kernel; tools/gpu/check.sh runs these under compute-sanitizer, too."""
    check_op(name, monkeypatch)


@cuda_only
@pytest.mark.parametrize("name", sorted(set(CASES) - set(SAMPLE)))
def test_every_op(name, monkeypatch):
    """No op lacks a kernel: values in each dtype and layout, gradients. The whole is test_ops.py --device cuda."""
    check_op(name, monkeypatch)


def test_the_emulated_library_is_used_only_without_a_gpu():
    if tercel.cuda.is_available() and emulated_library() and not os.path.exists("/dev/nvidiactl"):
        assert tercel.cuda.get_device_name() == "emulated device"
