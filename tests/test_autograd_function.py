"""autograd.Function: rules written in Python."""

import pytest

import tercel
from tercel.autograd import Function, gradcheck, gradgradcheck


def leaf(values, **kwargs):
    return tercel.tensor(values, dtype=tercel.float64, requires_grad=True, **kwargs)


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * ctx.scale * g, None


def test_function_in_python():
    x = leaf([2.0, 3.0])
    assert gradcheck(lambda t: Cube.apply(t, 2.0), (x,))
    assert gradgradcheck(lambda t: Cube.apply(t, 2.0), (x,))
    assert Cube.apply(x, 1.0).grad_fn.name() == "CubeBackward"
    assert not Cube.apply(x.detach(), 1.0).requires_grad


def test_function_needs_input_grad_none_and_several_outputs():
    class Pair(Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.set_materialize_grads(False)
            return a * 2, b * 3

        @staticmethod
        def backward(ctx, ga, gb):
            assert ctx.needs_input_grad == (True, True)
            assert gb is None
            return ga * 2, None

    a, b = leaf([1.0]), leaf([1.0])
    first, _ = Pair.apply(a, b)
    first.backward()
    assert a.grad.item() == 2.0 and b.grad is None


def test_function_mark_dirty_and_non_differentiable():
    class Bump(Function):
        @staticmethod
        def forward(ctx, x):
            x.add_(1)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 7

    class Sign(Function):
        @staticmethod
        def forward(ctx, x):
            s = x * 0
            ctx.mark_non_differentiable(s)
            return x * 1, s

        @staticmethod
        def backward(ctx, g, gs):
            return g

    x = leaf([1.0])
    y = x * 1
    Bump.apply(y).sum().backward()
    assert x.grad.item() == 7.0 and y.item() == 2.0
    value, sign = Sign.apply(x)
    assert value.requires_grad and not sign.requires_grad


def test_function_wrong_number_of_gradients():
    class Bad(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(RuntimeError, match="BadBackward"):
        Bad.apply(leaf([1.0]), leaf([1.0])).backward()


def test_function_error_is_the_users_own():
    class Raises(Function):
        @staticmethod
        def forward(ctx, a):
            return a * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Raises.apply(leaf([1.0])).backward()
