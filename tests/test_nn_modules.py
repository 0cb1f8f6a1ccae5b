"""nn.Module and Parameter: members, state, hooks, copies."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest

import tercel
from tercel import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
        self.scale = nn.Parameter(tercel.ones(2))
        self.register_buffer("shift", tercel.zeros(2))
        self.register_buffer("scratch", tercel.zeros(1), persistent=False)

    def forward(self, x):
        return self.second(self.first(x)) * self.scale + self.shift


# ---- members ---------------------------------------------------------------------------------------


def test_registration_and_walking():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale", "first.weight", "first.bias", "second.1.weight", "second.1.bias"
    ]  # fmt: skip
    assert [n for n, _ in net.named_buffers()] == ["shift", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "second", "second.0", "second.1"]
    assert [n for n, _ in net.named_children()] == ["first", "second"]
    assert len(list(net.parameters(recurse=False))) == 1
    assert list(net.state_dict()) == [
        "scale", "shift", "first.weight", "first.bias", "second.1.weight", "second.1.bias"
    ]  # fmt: skip
    assert net.get_submodule("second.1") is net.second[1]
    assert net.get_parameter("second.1.weight") is net.second[1].weight
    assert net.get_buffer("shift") is net.shift
    with pytest.raises(AttributeError):
        net.get_submodule("second.7")
    with pytest.raises(AttributeError):
        net.get_parameter("shift")


def test_attributes_mirror_the_registries():
    m = nn.Linear(2, 3)
    new = nn.Parameter(tercel.zeros(3, 2))
    m._parameters["weight"] = new
    assert m.weight is new
    m.bias = None
    assert m._parameters["bias"] is None and m.bias is None
    del m.weight
    assert not hasattr(m, "weight") and "weight" not in m._parameters
    m.weight = new
    assert m._parameters["weight"] is new
    m.child = nn.ReLU()
    m.child = nn.Parameter(tercel.zeros(1))  # changes its kind
    assert "child" in m._parameters and "child" not in m._modules
    m._parameters.pop("child")
    assert not hasattr(m, "child")


def test_assignment_errors():
    m = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="cannot assign 'str' as parameter 'weight'"):
        m.weight = "no"
    with pytest.raises(TypeError, match="as child module"):
        m.child = nn.ReLU()
        m.child = 3
    with pytest.raises(TypeError, match="as buffer"):
        m.register_buffer("state", tercel.zeros(1))
        m.state = 3
    with pytest.raises(KeyError, match="already exists"):
        m.register_buffer("weight", tercel.zeros(1))
    with pytest.raises(KeyError, match="t contain"):
        m.register_parameter("a.b", None)
    with pytest.raises(KeyError, match="empty"):
        m.add_module("", nn.ReLU())
    with pytest.raises(TypeError):
        m.register_parameter("x", tercel.zeros(2))
    with pytest.raises(TypeError):
        m.add_module("x", 3)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        m.nothing

    class Early(nn.Module):
        def __init__(self):
            self.x = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Early()
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_module_is_freed_without_the_garbage_collector():
    gc.disable()
    try:
        net = Net()
        ref = weakref.ref(net.second[1].weight)
        del net
        assert ref() is None
    finally:
        gc.enable()


def test_deepcopy_and_copy():
    net = Net()
    net.first.register_forward_hook(lambda m, a, out: out * 0)
    twin = copy.deepcopy(net)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]
    for a, b in zip(net.parameters(), twin.parameters()):
        assert a is not b and isinstance(b, nn.Parameter) and b.requires_grad
        assert tercel.equal(a, b)
    assert twin.first.weight is twin.first._parameters["weight"]
    with tercel.no_grad():
        twin.first.weight.add_(1)
    assert not tercel.equal(net.first.weight, twin.first.weight)
    x = tercel.randn(2, 3)
    assert tercel.equal(net(x), net(x * 2))  # the hook zeroes the first layer
    assert tercel.equal(twin(x), twin(x * 2))  # and was copied
    shallow = copy.copy(net)
    shallow.scale = nn.Parameter(tercel.zeros(2))
    assert net.scale is not shallow.scale and float(net.scale.sum()) == 2


def test_shared_parameters_are_listed_once():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    m = nn.Sequential(a, b)
    assert len(list(m.parameters())) == 3
    assert len(list(m.named_parameters(remove_duplicate=False))) == 4
    assert len(m.state_dict()) == 4
    twin = copy.deepcopy(m)
    assert twin[0].weight is twin[1].weight


# ---- modes, casts, gradients -----------------------------------------------------------------------


def test_train_eval_apply_and_casts():
    net = Net()
    assert net.training and not net.eval().second[1].training
    with pytest.raises(ValueError):
        net.train("yes")
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]
    net.register_buffer("count", tercel.zeros(1, dtype=tercel.int64))
    weight = net.first.weight
    assert net.double().first.weight.dtype == tercel.float64
    assert net.first.weight is weight  # the object stays
    assert net.count.dtype == tercel.int64 and net.shift.dtype == tercel.float64
    assert net.half().scale.dtype == tercel.float16
    assert net.bfloat16().scale.dtype == tercel.bfloat16
    assert net.to(tercel.float32).scale.dtype == tercel.float32
    assert net.to("cpu", tercel.float64).scale.dtype == tercel.float64
    assert net.to(tercel.zeros(1)).scale.dtype == tercel.float32
    with pytest.raises(TypeError, match="floating point"):
        net.to(tercel.int32)
    with pytest.raises(TypeError):
        net.to(nonsense=1)


def test_zero_grad_and_requires_grad():
    m = nn.Linear(2, 2)
    m(tercel.ones(1, 2)).sum().backward()
    assert m.weight.grad is not None
    m.zero_grad(set_to_none=False)
    assert float(m.weight.grad.abs().sum()) == 0
    m.zero_grad()
    assert m.weight.grad is None
    m.requires_grad_(False)
    assert not m(tercel.ones(1, 2)).requires_grad
    m(tercel.ones(1, 2))


def test_cast_carries_the_gradient_along():
    m = nn.Linear(2, 2)
    m(tercel.ones(1, 2)).sum().backward()
    m.double()
    assert m.weight.grad.dtype == tercel.float64


# ---- state_dict --------------------------------------------------------------------------------------


def test_state_dict_shares_memory_and_loads():
    net, other = Net(), Net()
    state = net.state_dict()
    assert not state["scale"].requires_grad
    state["shift"].fill_(5)
    assert float(net.shift[0]) == 5
    result = other.load_state_dict(state)
    assert str(result) == "<All keys matched successfully>"
    for a, b in zip(net.state_dict().values(), other.state_dict().values()):
        assert tercel.equal(a, b)
    assert net.state_dict(keep_vars=True)["scale"] is net.scale
    assert list(net.state_dict(prefix="x."))[0] == "x.scale"


def test_load_state_dict_errors_name_every_key():
    net = Net()
    state = net.state_dict()
    del state["scale"]
    state["extra.weight"] = tercel.zeros(1)
    state["first.weight"] = tercel.zeros(9, 9)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert text.startswith("Error(s) in loading state_dict for Net:")
    assert 'Missing key(s) in state_dict: "scale".' in text
    assert 'Unexpected key(s) in state_dict: "extra.weight".' in text
    assert "size mismatch for first.weight" in text
    state = net.state_dict()
    del state["scale"]
    state["extra"] = tercel.zeros(1)
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale"] and result.unexpected_keys == ["extra"]
    with pytest.raises(TypeError, match="dict-like"):
        net.load_state_dict([1])
    with pytest.raises(RuntimeError, match=r"expected tercel\.Tensor"):
        net.load_state_dict({**net.state_dict(), "scale": 3})


def test_load_state_dict_assign():
    net = Net()
    state = {k: v.double() for k, v in net.state_dict().items()}
    weight = net.first.weight
    net.load_state_dict(state, assign=True)
    assert net.first.weight is not weight and net.first.weight.dtype == tercel.float64
    assert isinstance(net.first.weight, nn.Parameter) and net.first.weight.requires_grad


def test_state_dict_hooks_and_extra_state():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"note": 7}

        def set_extra_state(self, state):
            self.note = state["note"]

    m = Extra(2, 2)
    calls = []
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: calls.append("pre"))
    m.register_state_dict_post_hook(lambda mod, state, prefix, meta: calls.append("post"))
    m.register_load_state_dict_pre_hook(lambda mod, *args: calls.append("load_pre"))
    m.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
    state = m.state_dict()
    assert list(state) == ["weight", "bias", "_extra_state"]
    del state["bias"]
    m.load_state_dict(state)  # the post hook forgave the missing key
    assert m.note == 7 and calls == ["pre", "post", "load_pre"]


# ---- hooks -------------------------------------------------------------------------------------------


def test_forward_hooks():
    m = nn.Linear(2, 2)
    x = tercel.ones(1, 2)
    base = m(x)
    log = []
    with m.register_forward_pre_hook(lambda mod, args: log.append("pre") or (args[0] * 2,)):
        assert not tercel.equal(m(x), base)
        assert tercel.equal(m(x), m.forward(x * 2))
    assert tercel.equal(m(x), base)
    handle = m.register_forward_hook(lambda mod, args, out: out + 1)
    first = m.register_forward_hook(lambda mod, args, out: out * 0, prepend=True)
    assert float(m(x).sum()) == 2
    handle.remove()
    first.remove()
    assert tercel.equal(m(x), base)
    m.register_forward_pre_hook(lambda mod, args, kwargs: ((kwargs["x"],), {}), with_kwargs=True)
    assert tercel.equal(m(x=x), base)
    with pytest.raises(TypeError):
        m.register_forward_hook(3)


def test_always_called_forward_hook_sees_errors():
    class Bad(nn.Module):
        def forward(self, x):
            raise ValueError("inside")

    m, seen = Bad(), []
    m.register_forward_hook(lambda mod, args, out: seen.append(out), always_call=True)
    m.register_forward_hook(lambda mod, args, out: seen.append("not this"))
    with pytest.raises(ValueError, match="inside"):
        m(1)
    assert seen == [None]


def test_global_hooks():
    from tercel.nn import register_module_forward_hook

    seen = []
    with register_module_forward_hook(lambda mod, args, out: seen.append(type(mod).__name__)):
        nn.Sequential(nn.Linear(2, 2), nn.ReLU())(tercel.ones(1, 2))
    nn.ReLU()(tercel.ones(1))
    assert seen == ["Linear", "ReLU", "Sequential"]


def test_full_backward_hooks():
    m = nn.Linear(2, 3)
    log = []
    m.register_full_backward_pre_hook(lambda mod, g: log.append(("pre", g[0].shape)))
    m.register_full_backward_hook(
        lambda mod, gi, go: log.append((gi[0].shape, go[0].shape)) or (gi[0] * 10,)
    )
    x = tercel.ones(4, 2, requires_grad=True)
    m(x).sum().backward()
    expected = m.weight.sum(0) * 10
    np.testing.assert_allclose(x.grad[0].detach().numpy(), expected.detach().numpy(), rtol=1e-6)
    assert [tuple(s) if not isinstance(s, str) else s for s in log[1]] == [(4, 2), (4, 3)]
    assert log[0][0] == "pre" and m.weight.grad is not None
    seen = []
    m.register_full_backward_hook(lambda mod, gi, go: seen.append(gi))
    m._backward_hooks.pop(min(m._backward_hooks))
    m(tercel.ones(4, 2)).sum().backward()  # no input needs a gradient
    assert seen == [(None,)]


def test_keyword_calls_and_many_arguments():
    class Args(nn.Module):
        def forward(self, *args, **kwargs):
            return args, kwargs

    m = Args()
    assert m() == ((), {})
    assert m(*range(9)) == (tuple(range(9)), {})
    assert m(1, 2, c=3) == ((1, 2), {"c": 3})
    m.forward = lambda x: x + 1  # replaced on the instance
    assert m(1) == 2


# ---- Parameter ---------------------------------------------------------------------------------------


def test_parameter_and_buffer():
    p = nn.Parameter(tercel.ones(2))
    assert p.requires_grad and p.is_leaf and isinstance(p, tercel.Tensor)
    assert repr(p).startswith("Parameter containing:\ntensor([1., 1.]")
    assert not nn.Parameter(tercel.ones(2), requires_grad=False).requires_grad
    assert type(p * 2) is tercel.Tensor
    assert isinstance(copy.deepcopy(p), nn.Parameter)
    with pytest.raises(TypeError):
        nn.Parameter([1.0])

    class B(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = nn.Buffer(tercel.zeros(1))
            self.temp = nn.Buffer(tercel.zeros(1), persistent=False)

    assert list(B().state_dict()) == ["kept"] and len(list(B().buffers())) == 2


def test_functional_call():
    from tercel.nn.utils import functional_call

    net = Net()
    x = tercel.randn(2, 3)
    before = net(x)
    params = {n: tercel.zeros_like(p) for n, p in net.named_parameters()}
    assert float(functional_call(net, params, x).abs().sum()) == 0
    assert tercel.equal(net(x), before)
    with pytest.raises(ValueError):
        functional_call(net, {"nope": x}, x)


def test_subclass_with_other_bases():
    class Mixin:
        def hello(self):
            return "hello"

    class Both(nn.Linear, Mixin):
        pass

    assert Both(2, 2).hello() == "hello"

    class Mapping(nn.Module, dict):
        pass

    assert isinstance(Mapping(), dict)
