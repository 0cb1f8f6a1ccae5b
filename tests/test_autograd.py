"""The autograd engine: graphs, views, in-place ops, hooks, modes, Function, limits."""

import gc
import weakref

import pytest

import tercel
from tercel.autograd import Function, gradcheck, gradgradcheck


def leaf(values, **kwargs):
    return tercel.tensor(values, dtype=tercel.float64, requires_grad=True, **kwargs)


def test_accumulates_into_leaves():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    assert x.grad is None


def test_shared_subexpressions_are_summed_once():
    x = leaf([2.0])
    a = x * x
    b = a + a * a
    b.backward()
    assert x.grad.item() == 2 * 2 + 4 * 8


def test_backward_needs_a_scalar_or_a_gradient():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="non-scalar"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"\[2\]"):
        (x * 2).backward(tercel.ones(3))
    with pytest.raises(RuntimeError, match="does not require grad"):
        tercel.ones(1).backward()


def test_second_backward_needs_retain_graph():
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_grad_leaves_grad_attribute_alone():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (gx,) = tercel.autograd.grad((x * w).sum(), [x])
    assert gx.tolist() == [3.0, 4.0] and x.grad is None and w.grad is None
    y = x * 2
    (gy,) = tercel.autograd.grad((y * y).sum(), y)
    assert gy.tolist() == [4.0, 8.0]


def test_unused_inputs():
    x, z = leaf([1.0]), leaf([1.0])
    with pytest.raises(RuntimeError, match="allow_unused"):
        tercel.autograd.grad(x * 2, [z])
    assert tercel.autograd.grad(x * 2, [z], allow_unused=True) == (None,)
    (g,) = tercel.autograd.grad(x * 2, [z], materialize_grads=True)
    assert g.tolist() == [0.0]


def test_create_graph_gives_higher_derivatives():
    x = leaf([3.0])
    y = x * x * x
    (g,) = tercel.autograd.grad(y, x, create_graph=True)
    (gg,) = tercel.autograd.grad(g, x, create_graph=True)
    (ggg,) = tercel.autograd.grad(gg, x)
    assert (g.item(), gg.item(), ggg.item()) == (27.0, 18.0, 6.0)


def test_backward_inputs_restrict_accumulation():
    x, w = leaf([2.0]), leaf([3.0])
    (x * w).backward(inputs=[x])
    assert x.grad.item() == 3.0 and w.grad is None


@pytest.mark.parametrize("mode", [tercel.no_grad, tercel.inference_mode])
def test_modes_record_nothing(mode):
    x = leaf([1.0])
    with mode():
        assert not tercel.is_grad_enabled()
        y = x * 2
    assert tercel.is_grad_enabled()
    assert not y.requires_grad and y.grad_fn is None

    @mode()
    def f():
        return (x * 2).requires_grad

    assert not f()


def test_enable_grad_inside_no_grad():
    x = leaf([1.0])
    with tercel.no_grad(), tercel.enable_grad():
        assert (x * 2).requires_grad
    with tercel.set_grad_enabled(False):
        assert not (x * 2).requires_grad


def test_inference_tensors_stay_out_of_graphs():
    with tercel.inference_mode():
        t = tercel.ones(2)
    with pytest.raises(RuntimeError, match="inference"):
        t.requires_grad_()
    with pytest.raises(RuntimeError, match="inference"):
        t.add_(1)


def test_writes_through_data_are_no_errors_and_count_for_what_keeps_copies():
    """As in PyTorch: programs write through x.data to get past the check of saved tensors."""
    for write in (
        lambda d: d.mul_(10.0),
        lambda d: d.__setitem__(0, 20.0),
        lambda d: d[1:].view(-1).detach().zero_(),
        lambda d: d.add_(tercel.ones(3, requires_grad=True)),
    ):
        x = tercel.ones(3, requires_grad=True)
        y = x * 2
        z = y * y
        version = y._version
        write(y.data)
        assert y._version == version
        z.sum().backward()
        assert tercel.equal(x.grad, 4 * y.detach())  # the values as they are now
    # through detach() it is an error, and so is writing what was saved through .data itself
    for spoil in (lambda y: y.detach().mul_(10.0), lambda y: y.mul_(10.0)):
        y = tercel.ones(3, requires_grad=True) * 2
        z = y * y
        y.data.mul_(2.0)
        spoil(y)
        with pytest.raises(RuntimeError, match="overwritten in place by mul"):
            z.sum().backward()
    y = tercel.ones(3).data.requires_grad_()
    z = y * y
    with tercel.no_grad():
        y.mul_(2.0)
    with pytest.raises(RuntimeError, match="overwritten in place by mul"):
        z.sum().backward()
    # weights kept in another form notice
    linear = tercel.nn.Linear(64, 64, bias=False)
    tercel.nn.utils.pack_linear_(model := tercel.nn.Sequential(linear))
    x = tercel.ones(1, 64)
    before = model(x)
    model[0].weight.data.mul_(2.0)
    assert tercel.equal(model(x), 2 * before)


def test_overwritten_saved_tensor_names_both_ops():
    x = leaf([1.0, 2.0])
    y = x * 1
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"Mul\w*: .*overwritten in place by add"):
        z.backward()


def test_leaf_in_place_is_refused():
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="leaf"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 5.0
    with tercel.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0, 3.0]


def test_in_place_on_a_view_reaches_the_base():
    x = leaf([1.0, 2.0, 3.0])
    y = x * 1
    y[1:].mul_(leaf([10.0, 100.0]))
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 10.0, 100.0]


def test_base_written_after_the_view_was_taken():
    w = leaf([5.0, 6.0])
    base = tercel.zeros(4, dtype=tercel.float64)
    view = base[1:3]
    base.copy_(tercel.cat([w, w]))
    assert view.requires_grad
    view.sum().backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_setitem_and_getitem_gradients():
    def f(x, v):
        y = x * 2
        y[0, 1:] = v
        y[tercel.tensor([1, 1]), tercel.tensor([0, 2])] = v * 3
        return y[:, ::2], y[tercel.tensor([0, 1, 0])]

    x = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    v = leaf([7.0, 8.0])
    assert gradcheck(f, (x, v))
    assert gradgradcheck(f, (x, v))


VIEWS = {
    "view": lambda x: x.view(3, 4),
    "reshape": lambda x: x.transpose(0, 1).reshape(12),
    "transpose": lambda x: x.transpose(0, 1),
    "permute": lambda x: x.view(2, 3, 2).permute(2, 0, 1),
    "expand": lambda x: x[:1].expand(3, 6),
    "narrow": lambda x: x.narrow(1, 1, 3),
    "select": lambda x: x.select(1, 2),
    "split": lambda x: x.split(4, 1)[1],
    "chunk": lambda x: x.chunk(3, 1)[2],
    "unbind": lambda x: x.unbind(0)[1],
    "squeeze": lambda x: x[:1].squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "flatten": lambda x: x.flatten(),
    "unflatten": lambda x: x.unflatten(1, (2, 3)),
    "movedim": lambda x: x.view(2, 3, 2).movedim(0, 2),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "unfold": lambda x: x.unfold(1, 3, 1),
    "as_strided": lambda x: x.as_strided((2, 2), (6, 2), 1),
    "as_strided_overlap": lambda x: x.as_strided((3, 3), (1, 1), 0),
    "diagonal": lambda x: x.diagonal(1),
    "slice_step": lambda x: x[:, 1::2],
    "tensor_split": lambda x: x.tensor_split(4, 1)[1],
    "detour": lambda x: x.T[1:5].T.unsqueeze(0).expand(2, 2, 4),
}


@pytest.mark.parametrize("name", VIEWS)
def test_view_gradients(name):
    x = tercel.arange(12, dtype=tercel.float64).reshape(2, 6).requires_grad_()
    f = VIEWS[name]
    if name not in ("reshape",):
        assert f(x).data_ptr() >= x.data_ptr() and f(x)._storage_id() == x._storage_id()
    assert gradcheck(lambda t: f(t) * 1, (x,))
    assert gradgradcheck(lambda t: f(t) * f(t), (x,))


@pytest.mark.parametrize("name", VIEWS)
def test_in_place_through_view_gradients(name):
    if name in ("expand", "unfold", "as_strided_overlap", "detour", "reshape"):
        pytest.skip("elements share memory, or a copy")
    f = VIEWS[name]

    def through(x, w):
        y = x * 1
        v = f(y)
        v.mul_(w)
        return y

    x = tercel.arange(12, dtype=tercel.float64).reshape(2, 6).requires_grad_()
    w = tercel.tensor(3.0, dtype=tercel.float64, requires_grad=True)
    assert gradcheck(through, (x, w))


def test_tensor_hooks_replace_gradients_in_order():
    x = leaf([1.0])
    seen = []
    h1 = x.register_hook(lambda g: seen.append(g.item()) or g * 2)
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 5).backward()
    assert seen == [5.0, 10.0] and x.grad.item() == 10.0
    h1.remove()
    x.grad = None
    (x * 5).backward()
    assert x.grad.item() == 5.0


def test_hook_on_intermediate_survives_its_tensor():
    x = leaf([1.0])
    y = x * 2
    y.register_hook(lambda g: g * 10)
    z = y * 1
    del y
    gc.collect()
    z.backward()
    assert x.grad.item() == 20.0


def test_retain_grad_and_post_accumulate_hook():
    x = leaf([1.0])
    y = x * 2
    y.retain_grad()
    calls = []
    x.register_post_accumulate_grad_hook(lambda t: calls.append(t.grad.item()))
    (y * 3).backward()
    assert y.grad.item() == 3.0 and calls == [6.0]


def test_node_graph_is_walkable():
    x = leaf([1.0])
    y = (x * 2).exp()
    names = []
    stack = [y.grad_fn]
    while stack:
        node = stack.pop()
        names.append(node.name())
        stack += [n for n, _ in node.next_functions if n is not None]
    assert names[0].startswith("Exp") and names[-1] == "AccumulateGrad"
    seen = []
    y.grad_fn.register_prehook(lambda gs: seen.append(len(gs)))
    y.grad_fn.register_hook(lambda out, gs: (out[0] * 0,))
    y.backward()
    assert seen == [1] and x.grad.item() == 0.0


def test_hook_errors_come_out():
    x = leaf([1.0])
    x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (x * 2).backward()
    y = leaf([1.0])
    y.register_hook(lambda g: "text")
    with pytest.raises(TypeError, match="hook"):
        (y * 2).backward()


def test_hook_that_closes_over_its_tensor_is_collected():
    def make():
        x = leaf([1.0])
        x.register_hook(lambda g: g * x.numel())
        return weakref.ref(x)

    ref = make()
    gc.collect()
    assert ref() is None


def test_anomaly_mode_names_the_forward_line():
    with tercel.autograd.detect_anomaly():
        x = leaf([0.0])
        y = tercel.sqrt(x) * 0.0
        with pytest.raises(RuntimeError, match=r"NaN.*test_autograd\.py:\d+"):
            y.backward()
    assert not tercel.autograd.is_anomaly_enabled()


def test_gradcheck_catches_a_wrong_rule():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    with pytest.raises(RuntimeError, match="analytic"):
        gradcheck(Wrong.apply, (leaf([1.0]),))
    assert not gradcheck(Wrong.apply, (leaf([1.0]),), raise_exception=False)


def test_parameter_identity_and_subclass():
    class Parameter(tercel.Tensor):
        pass

    p = tercel.Tensor._make_subclass(Parameter, tercel.ones(2), True)
    p.tag = "kept"
    assert isinstance(p, Parameter) and p.requires_grad and p.is_leaf
    y = (p * 2).sum()
    leaf_node = y.grad_fn.next_functions[0][0].next_functions[0][0]
    assert leaf_node.variable is p and leaf_node.variable.tag == "kept"
    assert type(p * 2) is tercel.Tensor


def test_arguments_of_grad():
    x, z = leaf([1.0, 2.0]), leaf([1.0])
    y = x * tercel.tensor([3.0, 4.0], dtype=x.dtype)
    kwargs = dict(create_graph=True, retain_graph=True, only_inputs=True)
    (g,) = tercel.autograd.grad(outputs=y.sum(), inputs=x, **kwargs)
    assert g.tolist() == [3, 4]
    # PyTorch's positions: ..., retain_graph, create_graph, only_inputs, allow_unused
    assert tercel.autograd.grad(y.sum(), (x, z), None, True, False, True, True)[1] is None
    with pytest.raises(ValueError, match="only_inputs"):
        tercel.autograd.grad(y.sum(), x, only_inputs=False)
    with pytest.raises(ValueError, match="materialize_grads"):
        tercel.autograd.grad(y.sum(), x, allow_unused=False, materialize_grads=True)
    tercel.autograd.backward(y, grad_variables=tercel.ones(2, dtype=x.dtype), retain_graph=True)
    assert x.grad.tolist() == [3, 4]
    with pytest.raises(RuntimeError, match="grad_variables"):
        tercel.autograd.backward(y, y.detach(), grad_variables=y.detach())


def test_batched_gradients_are_the_rows_of_the_jacobian():
    x, z = leaf([1.0, 2.0, 3.0]), leaf([1.0])
    y = x * x
    eye = tercel.eye(3, dtype=x.dtype)
    g, unused = tercel.autograd.grad(
        y, (x, z), eye, is_grads_batched=True, allow_unused=True, retain_graph=True
    )
    assert g.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]] and unused is None
    zero = tercel.autograd.grad(
        (y,), (x, z), (eye,), is_grads_batched=True, materialize_grads=True, retain_graph=True
    )[1]
    assert zero.tolist() == [[0], [0], [0]]
    empty = tercel.autograd.grad(y, x, eye[:0], is_grads_batched=True, retain_graph=True)[0]
    assert empty.shape == (0, 3)
    for bad in (None, tercel.tensor(1.0), (eye, tercel.eye(2))):
        with pytest.raises(ValueError, match="is_grads_batched"):
            tercel.autograd.grad(y, x, bad, is_grads_batched=True)


def test_a_mode_around_a_generator_holds_while_it_runs():
    seen = []

    @tercel.no_grad()
    def numbers():
        try:
            seen.append((yield tercel.is_grad_enabled()))
            yield tercel.is_grad_enabled()
        except KeyError as error:
            yield str(error)
        finally:
            seen.append(tercel.is_grad_enabled())
        return "end"

    g = numbers()
    assert next(g) is False and tercel.is_grad_enabled()
    assert g.send("sent") is False and seen == ["sent"]
    with pytest.raises(StopIteration) as end:
        next(g)
    assert end.value.value == "end" and seen == ["sent", False]
    g = numbers()
    next(g)
    assert g.throw(KeyError("thrown")) == "'thrown'"
    g.close()
    assert seen == ["sent", False, False] and tercel.is_grad_enabled()


def test_inference_tensors_are_not_saved_for_backward():
    with tercel.inference_mode():
        t = tercel.ones(2)
    w = tercel.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="inference"):
        t * w
    assert t.is_inference() and not w.is_inference()
    (t.clone() * w).sum().backward()
    assert w.grad.tolist() == [1, 1]


TENSOR = tercel.tensor([0.5, 1.5, 2.0], dtype=tercel.float64)
IN_PLACE = {
    "sin_": lambda v: v.sin_(),
    "square_": lambda v: v.square_(),
    "sigmoid_": lambda v: v.sigmoid_(),
    "log_": lambda v: v.log_(),
    "pow_": lambda v: v.pow_(3),
    "pow_ tensor": lambda v: v.pow_(TENSOR),
    "mul_ itself": lambda v: v.mul_(v),
    "div_": lambda v: v.div_(v.clone() + 3),
    "atan2_": lambda v: v.atan2_(TENSOR),
    "hypot_": lambda v: v.hypot_(TENSOR),
    "addcmul_": lambda v: v.addcmul_(v.clone(), v.clone()),
    "addcdiv_": lambda v: v.addcdiv_(TENSOR, v.clone() + 2),
    "lerp_": lambda v: v.lerp_(v.clone() * 2, 0.3),
    "clamp_": lambda v: v.clamp_(0.5, 0.8).mul_(v),
    "logit_": lambda v: v.logit_(),
    "nan_to_num_": lambda v: v.nan_to_num_().mul_(v),
    "float_power_": lambda v: v.float_power_(2.5),
    "cumprod_": lambda v: v.cumprod_(0),
    "silu": lambda v: tercel.nn.functional.silu(v, inplace=True),
    "elu_": lambda v: tercel.nn.functional.elu_(v),
    "chain": lambda v: v.add_(1).pow_(2).mul_(3).sin_(),
}


@pytest.mark.parametrize("part", ["whole", "view"])
@pytest.mark.parametrize("name", IN_PLACE)
def test_second_derivatives_through_in_place_ops(name, part):
    """What an in-place op saves of its input has a history of its own."""

    def f(x):
        v = x * 1.0
        IN_PLACE[name](v if part == "whole" else v[1:4])
        return v

    x = leaf([0.3, 0.7, 0.6] if part == "whole" else [0.9, 0.3, 0.7, 0.6, 0.2])
    assert gradcheck(f, (x,)) and gradgradcheck(f, (x,))
