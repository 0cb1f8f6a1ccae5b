"""Tensor.resize_, resize_as_, fill_diagonal_, apply_, map_, get_device; broadcast_shapes."""

from __future__ import annotations

import numpy as np
import pytest

import tercel


def test_resize_keeps_memory_where_it_suffices():
    x = tercel.arange(6)
    at = x.data_ptr()
    assert x.resize_(2, 2) is x
    assert x.tolist() == [[0, 1], [2, 3]]
    assert x.resize_((6,)).tolist() == [0, 1, 2, 3, 4, 5]
    assert x.resize_([0, 3]).shape == (0, 3)
    assert x.resize_as_(tercel.zeros(3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.data_ptr() == at
    assert x.resize_().item() == 0


@pytest.mark.parametrize("dtype", [tercel.float32, tercel.bool, tercel.float64, tercel.bfloat16])
def test_resize_moves_the_elements_when_it_grows(dtype):
    x = tercel.tensor([1, 0, 1], dtype=dtype)
    alias = x.numpy() if dtype != tercel.bfloat16 else None
    x.resize_(100, 100)
    assert x.shape == (100, 100)
    assert x.is_contiguous()
    assert x.flatten()[:3].tolist() == [1, 0, 1]
    x.fill_(0)
    assert alias is None or alias.tolist() == [1, 0, 1]  # the old memory stays with its other owner
    assert tercel.empty(0).resize_(3).fill_(2).tolist() == [2, 2, 2]


def test_resize_errors():
    x = tercel.arange(6.0)
    view = x[2:]
    assert view.resize_(2, 2).tolist() == [[2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(RuntimeError, match="a view cannot grow"):
        view.resize_(5)
    with pytest.raises(RuntimeError, match="require grad"):
        tercel.ones(2, requires_grad=True).resize_(3)
    with pytest.raises(ValueError, match="resize_"):
        x.resize_(-1)
    with pytest.raises(OverflowError):
        x.resize_(2**62, 2**62)
    with pytest.raises(MemoryError):
        x.resize_(2**50)
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("n", [2, 1 << 20])
def test_a_graph_keeps_what_it_saved(n):
    x, w = tercel.tensor([1.0, 2.0, 3.0]), tercel.ones(3, requires_grad=True)
    y = (x * w).sum()
    x.resize_(n)
    y.backward()
    assert w.grad.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("shape, wrap", [
    ((3, 3), False), ((2, 4), False), ((7, 3), False), ((7, 3), True), ((8, 3), True), ((4, 3), True), ((9, 2), True),
    ((3, 3, 3), False), ((0, 3), True), ((1, 1), True), ((2, 5), True),
])  # fmt: skip
def test_fill_diagonal(shape, wrap):
    wanted = np.zeros(shape, dtype=np.float32)
    if min(shape):
        np.fill_diagonal(wanted, 5, wrap=wrap)
    x = tercel.zeros(shape)
    assert x.fill_diagonal_(5, wrap) is x
    assert x.tolist() == wanted.tolist()
    y = tercel.zeros(tuple(reversed(shape))).permute(*reversed(range(len(shape))))
    assert y.fill_diagonal_(5, wrap=wrap).tolist() == wanted.tolist()


def test_fill_diagonal_gradient_and_errors():
    x = tercel.ones(2, 2, requires_grad=True)
    y = x * 3
    y.fill_diagonal_(0)
    y.sum().backward()
    assert x.grad.tolist() == [[0.0, 3.0], [3.0, 0.0]]
    with pytest.raises(ValueError, match="at least 2"):
        tercel.zeros(3).fill_diagonal_(1)
    with pytest.raises(ValueError, match="one size"):
        tercel.zeros(2, 3, 2).fill_diagonal_(1)
    with pytest.raises(RuntimeError, match="fill_"):
        tercel.ones(2, 2, requires_grad=True).fill_diagonal_(1)


def test_apply_and_map():
    x = tercel.tensor([[1, 2], [3, 4]])
    assert x.mT.apply_(lambda v: v * 10).tolist() == [[10, 30], [20, 40]]
    assert x.tolist() == [[10, 20], [30, 40]]
    assert x.map_(tercel.tensor([1, 2]), lambda a, b: a + b) is x
    assert x.tolist() == [[11, 22], [31, 42]]
    with pytest.raises(ZeroDivisionError):
        x.apply_(lambda v: v // 0)
    with pytest.raises(TypeError, match="Tensor"):
        x.map_(3, lambda a, b: a)
    with pytest.raises(RuntimeError, match="require grad"):
        tercel.ones(2, requires_grad=True).apply_(lambda v: v)
    assert tercel.empty(0).apply_(lambda v: v).shape == (0,)


def test_get_device():
    assert tercel.ones(1).get_device() == tercel.get_device(tercel.ones(1)) == -1
    if tercel.cuda.is_available():
        assert tercel.ones(1, device="cuda").get_device() == 0


def test_broadcast_shapes():
    for shapes in [
        (),
        ((2, 3),),
        ((2, 1), (1, 3)),
        ((), (4,)),
        ((5, 1, 3), (3,), (2, 1)),
        ((0,), (1,)),
        (3, (1, 3)),
    ]:
        got = tercel.broadcast_shapes(*shapes)
        assert isinstance(got, tercel.Size)
        assert got == np.broadcast_shapes(*shapes)
    with pytest.raises(ValueError, match="cannot be broadcast"):
        tercel.broadcast_shapes((2,), (3,))
    with pytest.raises(ValueError, match="broadcast_shapes"):
        tercel.broadcast_shapes((-1,))
    with pytest.raises(TypeError, match="expected shapes, got str"):
        tercel.broadcast_shapes("ab")
