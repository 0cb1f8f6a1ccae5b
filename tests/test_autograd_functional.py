"""autograd.functional: against derivatives written down by hand, and what it refuses."""

import pytest

import tercel
from tercel.autograd import functional as AF

X, Y = tercel.tensor([1.0, 2.0]), tercel.tensor([3.0, 5.0])


def cubic(x, y):  # gradients 3 x^2 + y and x; second derivatives 6 x, 1, 0
    return (x**3).sum() + (x * y).sum()


def test_jacobian():
    assert AF.jacobian(lambda x: x**2, X).tolist() == [[2, 0], [0, 4]]
    ((a, b), (c, d)) = AF.jacobian(lambda x, y: (x * y, x.sum()), (X, Y))
    assert a.tolist() == [[3, 0], [0, 5]] and b.tolist() == [[1, 0], [0, 2]]
    assert c.tolist() == [1, 1] and d.tolist() == [0, 0]
    assert AF.jacobian(lambda x: x.sum(), tercel.ones(2, 3)).shape == (2, 3)
    assert AF.jacobian(lambda x: x * 2, tercel.ones(0)).shape == (0, 0)
    assert AF.jacobian(lambda x: tercel.ones(2), X).tolist() == [[0, 0], [0, 0]]


def test_products_with_the_jacobian():
    f = lambda x, y: (x * y, x * 2)
    v = tercel.tensor([1.0, 10.0])
    out, (gx, gy) = AF.vjp(f, (X, Y), (v, v))
    assert [o.tolist() for o in out] == [[3, 10], [2, 4]]
    assert gx.tolist() == [5, 70] and gy.tolist() == [1, 20]
    _, (a, b) = AF.jvp(f, (X, Y), (v, v))
    assert a.tolist() == [4, 70] and b.tolist() == [2, 20]
    assert AF.vjp(lambda x: (x * 2).sum(), X)[1].tolist() == [2, 2]


def test_hessian_and_its_products():
    ((xx, xy), (yx, yy)) = AF.hessian(cubic, (X, Y))
    assert xx.tolist() == [[6, 0], [0, 12]] and yy.tolist() == [[0, 0], [0, 0]]
    assert xy.tolist() == yx.tolist() == [[1, 0], [0, 1]]
    assert AF.hessian(lambda x: (x**3).sum(), X).tolist() == [[6, 0], [0, 12]]
    v = (tercel.tensor([1.0, 2.0]), tercel.tensor([3.0, 4.0]))
    for product in (AF.hvp, AF.vhp):
        value, (hx, hy) = product(cubic, (X, Y), v)
        assert value.item() == cubic(X, Y).item()
        assert hx.tolist() == [9, 28] and hy.tolist() == [1, 2]


def test_create_graph_reaches_the_callers_tensor():
    x = tercel.tensor([1.0, 2.0], requires_grad=True)
    AF.jacobian(lambda t: t**3, x, create_graph=True).sum().backward()
    assert x.grad.tolist() == [6, 12]
    assert not AF.jacobian(lambda t: t**3, x).requires_grad
    x.grad = None
    AF.hessian(lambda t: (t**3).sum(), x, create_graph=True).sum().backward()
    assert x.grad.tolist() == [6, 6]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: AF.jacobian(lambda x: 3, X), "output of func"),
        (lambda: AF.jacobian(lambda x: x, 3), "input 0"),
        (lambda: AF.jacobian(lambda x, y: x, (X, Y), strict=True), "strict"),
        (lambda: AF.jacobian(lambda x: tercel.ones(1), X, strict=True), "strict"),
        (lambda: AF.jacobian(lambda x: x, X, strategy="forward-mode"), "strategy"),
        (lambda: AF.hessian(lambda x: x, X), "one element"),
        (lambda: AF.vjp(lambda x: x, X), "left out"),
        (lambda: AF.jvp(lambda x: x, X, tercel.ones(3)), "shape"),
        (lambda: AF.jvp(lambda x: x, X, (X, X)), "1 tensors"),
    ],
)
def test_refused(call, message):
    with pytest.raises((TypeError, RuntimeError, NotImplementedError), match=message):
        call()
