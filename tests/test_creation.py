"""Factory functions against NumPy, and their refusals."""

import numpy as np
import pytest

import tercel


@pytest.mark.parametrize(
    "args",
    [
        (5,),
        (2, 9),
        (0, 10, 3),
        (10, 0, -3),
        (5, 5),
        (0.0, 1.0, 0.1),
        (1, 0, -0.25),
        (0, 2**40, 2**38),
    ],
)
def test_arange(args):
    got = tercel.arange(*args)
    want = np.arange(*args)
    assert got.dtype == (tercel.int64 if want.dtype.kind == "i" else tercel.float32)
    assert np.array_equal(got.numpy(), want.astype(got.numpy().dtype))


def test_arange_limits():
    top = 2**63 - 1
    assert tercel.arange(top - 2, top).tolist() == [top - 2, top - 1]
    assert tercel.arange(-(2**63), top, 2**62).numpy().shape == (4,)
    for call in (
        lambda: tercel.arange(0, 1, 0),
        lambda: tercel.arange(0, -1),
        lambda: tercel.arange(0, float("inf")),
        lambda: tercel.arange(0.5, 3, dtype=tercel.int64),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(OverflowError):
        tercel.arange(300, dtype=tercel.uint8)
    with pytest.raises((MemoryError, OverflowError)):
        tercel.arange(2**62)


@pytest.mark.parametrize("n", [0, 1, 2, 5, 1000])
def test_linspace_is_symmetric_and_ends_exactly(n):
    x = tercel.linspace(-1.7, 1.7, n).numpy()
    assert np.abs(x - np.linspace(-1.7, 1.7, n)).max(initial=0) < 1e-6
    if n > 1:
        assert np.array_equal(x, -x[::-1]) and x[-1] == np.float32(1.7)


def test_full_and_like():
    assert tercel.full((2,), 3).dtype == tercel.int64
    assert tercel.full((2,), True).dtype == tercel.bool
    assert tercel.full((2,), 1.5).dtype == tercel.float32
    x = tercel.zeros(3, 4).t()
    assert tercel.ones_like(x).stride() == x.stride()
    assert tercel.zeros_like(x, dtype=tercel.int8).dtype == tercel.int8
    assert x.new_full((2, 2), 7).tolist() == [[7, 7], [7, 7]]
    assert tercel.zeros((2, 3)).shape == tercel.zeros(2, 3).shape == tercel.zeros(size=[2, 3]).shape
    assert tercel.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert tercel.ones(2, requires_grad=True).requires_grad
    with pytest.raises(OverflowError):
        tercel.full((2,), 300, dtype=tercel.uint8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tercel.zeros(-1),
        lambda: tercel.ones(2, -3),
        lambda: tercel.empty(2**40, 2**40),
        lambda: tercel.zeros(2**50),
        lambda: tercel.eye(-1),
        lambda: tercel.linspace(0, 1, -1),
        lambda: tercel.zeros("3"),
        lambda: tercel.zeros(2.5),
        lambda: tercel.zeros(1, layout="sparse"),
        lambda: tercel.zeros(2, out=tercel.empty(3)),
        lambda: tercel.ones(2, dtype=tercel.int64, requires_grad=True),
    ],
)
def test_refusals(call):
    with pytest.raises(
        (ValueError, TypeError, OverflowError, MemoryError, NotImplementedError, RuntimeError)
    ):
        call()


def test_windows():
    n = np.arange(9)
    assert np.allclose(
        tercel.hann_window(9).numpy(), 0.5 - 0.5 * np.cos(2 * np.pi * n / 9), atol=1e-7
    )
    assert np.allclose(tercel.bartlett_window(9, False).numpy(), np.bartlett(9), atol=1e-7)
    assert np.allclose(tercel.blackman_window(9, False).numpy(), np.blackman(9), atol=1e-7)
    assert np.allclose(tercel.hamming_window(9, False).numpy(), np.hamming(9), atol=1e-7)


def test_arange_over_all_of_int64():
    low, step = -(2**63), 2**62
    assert tercel.arange(low, 2**63 - 1, step).tolist() == [low + k * step for k in range(4)]


def test_vander():
    with pytest.raises(OverflowError):  # at once, not column by column
        tercel.vander(tercel.tensor([1, 2]), 2**62)
    x = tercel.tensor([1.0, 2.0, 3.0])
    assert np.array_equal(tercel.vander(x, 4).numpy(), np.vander([1.0, 2, 3], 4).astype(np.float32))
    assert np.array_equal(
        tercel.vander(x, increasing=True).numpy()[:, 2], np.array([1, 4, 9], np.float32)
    )
