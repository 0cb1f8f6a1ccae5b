"""Fixtures and options shared by all tests."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
ROOT = Path(__file__).resolve().parent.parent


def emulated_library() -> Path | None:
    """The emulated CUDA device library, where the build has made it."""
    build = Path(os.environ.get("TERCEL_BUILD_DIR", ROOT / "build"))
    path = build / "tests" / "cuda" / "libtercel_cuda_emu.so"
    return path if path.exists() else None


# Without a GPU device="cuda" is the emulator, if it is built. Decided before anything can load the library.
if not Path("/dev/nvidiactl").exists() and emulated_library():
    os.environ.setdefault("TERCEL_CUDA_LIBRARY", str(emulated_library()))

import tercel

cuda_only = pytest.mark.skipif(
    not tercel.cuda.is_available(), reason=f"no CUDA: {tercel.cuda.unavailable_reason()}"
)
LEVELS = ("generic", "avx2", "avx512")


def available_levels() -> list[str]:
    """ISA levels that this build has and this processor runs, lowest first."""
    found = []
    for level in LEVELS:
        try:
            tercel.set_isa(level)
        except RuntimeError:
            continue
        found.append(level)
    tercel.set_isa("auto")
    return found


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the large grids")
    parser.addoption(
        "--device",
        default="cpu",
        help="where tests/test_ops.py runs: cpu, or cuda (the emulator where there is no GPU)",
    )


def pytest_configure(config):
    import op_runner

    device = config.getoption("--device")
    if device != "cpu" and not tercel.cuda.is_available():
        raise pytest.UsageError(f"--device {device}: {tercel.cuda.unavailable_reason()}")
    op_runner.DEVICE = device


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """On a CUDA device an op without a kernel there is skipped, not failed."""
    outcome = yield
    if pyfuncitem.config.getoption("--device") != "cpu" and outcome.excinfo:
        error = outcome.excinfo[1]
        if isinstance(error, NotImplementedError) and "CUDA kernel" in str(error):
            outcome.force_exception(pytest.skip.Exception(f"no CUDA kernel: {error}"))


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="large grid: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def isa_levels(pytestconfig) -> list[str]:
    """On a CUDA device the levels of the CPU make no difference: one of them."""
    found = available_levels()
    return found if pytestconfig.getoption("--device") == "cpu" else found[-1:]


@pytest.fixture(params=LEVELS)
def isa(request, isa_levels):
    """Runs the test once per ISA level."""
    if request.param not in isa_levels:
        pytest.skip(f"{request.param} is not built or not supported here")
    tercel.set_isa(request.param)
    yield request.param
    tercel.set_isa("auto")


@pytest.fixture
def threads():
    """`threads(n)` sets the number of threads until the test ends."""
    before = tercel.get_num_threads()
    yield tercel.set_num_threads
    tercel.set_num_threads(before)


@pytest.fixture
def no_leak():
    """Fails when the live tensor bytes differ between start and end of the test."""
    gc.collect()
    before = tercel.memory_stats()["allocated_bytes"]
    yield
    gc.collect()
    after = tercel.memory_stats()["allocated_bytes"]
    assert after == before, f"{after - before} bytes of tensors are still alive"


@pytest.fixture(autouse=True)
def fixed_state():
    """Every test starts from the same seed and leaves the global settings as it found them."""
    tercel.manual_seed(0)
    yield
    tercel.set_isa("auto")
    tercel.set_grad_enabled(True)


@pytest.fixture(scope="session")
def torch():
    """PyTorch as a second oracle; the test is skipped where it is not installed."""
    return pytest.importorskip("torch")
