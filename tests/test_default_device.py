"""set_default_device and `with tercel.device(...)`: which functions honour them. Needs a second device: a GPU or the
emulated one."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tercel

CPU = tercel.device("cpu")
needs_cuda = pytest.mark.skipif(
    not tercel.cuda.is_available(), reason="no CUDA device, real or emulated"
)

FACTORIES = {
    "arange": lambda **k: tercel.arange(3, **k),
    "arange end": lambda **k: tercel.arange(end=3, **k),
    "as_tensor": lambda **k: tercel.as_tensor([1.0], **k),
    "asarray": lambda **k: tercel.asarray(np.ones(2), **k),
    "bartlett_window": lambda **k: tercel.bartlett_window(3, **k),
    "empty": lambda **k: tercel.empty(2, **k),
    "empty_strided": lambda **k: tercel.empty_strided((2, 2), (1, 2), **k),
    "eye": lambda **k: tercel.eye(2, **k),
    "full": lambda **k: tercel.full((2,), 1, **k),
    "hamming_window": lambda **k: tercel.hamming_window(3, **k),
    "hann_window": lambda **k: tercel.hann_window(3, **k),
    "linspace": lambda **k: tercel.linspace(0, 1, 3, **k),
    "logspace": lambda **k: tercel.logspace(0, 1, 3, **k),
    "nn.LayerNorm": lambda **k: tercel.nn.LayerNorm(2, **k).weight,
    "normal": lambda **k: tercel.normal(0.0, 1.0, (2,), **k),
    "ones": lambda **k: tercel.ones(2, **k),
    "rand": lambda **k: tercel.rand(2, **k),
    "randint": lambda **k: tercel.randint(3, (2,), **k),
    "randint low": lambda **k: tercel.randint(1, 3, (2,), **k),
    "randn": lambda **k: tercel.randn(2, **k),
    "randperm": lambda **k: tercel.randperm(3, **k),
    "tensor": lambda **k: tercel.tensor([1, 2], **k),
    "tril_indices": lambda **k: tercel.tril_indices(2, 2, **k),
    "zeros": lambda **k: tercel.zeros(2, **k),
}


@pytest.fixture(autouse=True)
def restored():
    yield
    tercel.set_default_device(None)


def test_the_default_is_the_cpu():
    assert tercel.get_default_device() == CPU
    with tercel.device("cpu") as d:
        assert d == CPU
        assert tercel.zeros(1).device == CPU
    with pytest.raises(ValueError, match="device: expected"):
        tercel.set_default_device("tpu")
    with pytest.raises(RuntimeError, match="__exit__ without __enter__"):
        CPU.__exit__(None, None, None)


@needs_cuda
@pytest.mark.parametrize("name", FACTORIES)
def test_factories(name):
    make, cuda = FACTORIES[name], tercel.device("cuda:0")
    tercel.set_default_device("cuda")
    assert tercel.get_default_device() == cuda
    assert make().device == cuda
    assert make(device="cpu").device == CPU
    tercel.set_default_device(None)
    assert make().device == CPU
    assert make(device="cuda").device == cuda
    with cuda:
        assert make().device == cuda
    assert make().device == CPU


@needs_cuda
def test_what_has_a_device_keeps_it():
    x, g = tercel.ones(2), tercel.ones(2, device="cuda")
    with tercel.device("cuda"):
        assert tercel.zeros_like(x).device == tercel.rand_like(x).device == CPU
        assert x.new_zeros(2).device == x.new_tensor([1.0]).device == (x + 1).device == CPU
        assert tercel.from_numpy(np.ones(2)).device == tercel.as_tensor(x).device == CPU
        assert tercel.tensor(x).device == CPU
        out = x.new_empty(0)
        assert tercel.arange(3.0, out=out) is out
        assert tercel.zeros(3, out=out) is out
        assert out.device == CPU
    assert tercel.tensor(g).device == tercel.as_tensor(g).device == g.device
    assert g.new_tensor([1.0]).device == g.device


@needs_cuda
def test_blocks_nest_and_end_with_an_error():
    cuda = tercel.device("cuda")
    with cuda:
        with CPU:
            assert tercel.zeros(1).device == CPU
            with cuda, cuda:
                assert tercel.zeros(1).device == cuda
        with pytest.raises(ZeroDivisionError), CPU:
            1 / 0
        assert tercel.zeros(1).device == cuda
    assert tercel.get_default_device() == CPU


@needs_cuda
def test_other_threads_have_their_own():
    found = []
    with tercel.device("cuda"):
        t = threading.Thread(target=lambda: found.append(tercel.zeros(1).device))
        t.start()
        t.join()
    assert found == [CPU]


@needs_cuda
def test_missing_gradients_of_a_function_are_zeros_on_the_device():
    class Two(tercel.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            return 2 * g + 3 * h

    x = tercel.ones(2, device="cuda", requires_grad=True)
    Two.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    (unused,) = tercel.autograd.grad(
        (x.detach().requires_grad_() * 2).sum(), [x], materialize_grads=True
    )
    assert unused.device == x.device
