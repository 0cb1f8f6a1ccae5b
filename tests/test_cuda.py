"""CUDA: the device library and its runtime, on a GPU or (in the emulator) without one; behaviour without a driver."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tercel
from conftest import ROOT, cuda_only, emulated_library
from tercel.nn import functional as F


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


def test_the_emulated_library_is_used_only_without_a_gpu():
    if tercel.cuda.is_available() and emulated_library() and not os.path.exists("/dev/nvidiactl"):
        assert tercel.cuda.get_device_name() == "emulated device"
