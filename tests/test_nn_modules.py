"""nn.Module, containers and layers: members, state, hooks, printing; layers against PyTorch where it is installed."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest

import tercel
from tercel import nn

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


def to_torch(t):
    return torch.from_numpy(np.array(t.detach().numpy()))


def assert_close(ours, theirs, tol=2e-5):
    a, b = np.asarray(ours.detach().numpy()), np.asarray(theirs.detach().numpy())
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


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


# ---- containers --------------------------------------------------------------------------------------


def test_sequential():
    s = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    assert len(s) == 3 and s[-1] is s[2] and len(s[:2]) == 2
    s.append(nn.Tanh()).insert(1, nn.Sigmoid())
    assert [type(m).__name__ for m in s] == ["Linear", "Sigmoid", "ReLU", "Linear", "Tanh"]
    del s[1]
    assert list(s._modules) == ["0", "1", "2", "3"]
    assert isinstance(s.pop(-1), nn.Tanh) and len(s) == 3
    assert len(s + nn.Sequential(nn.ReLU())) == 4 and len(s * 2) == 6
    s[1] = nn.Identity()
    assert isinstance(s[1], nn.Identity)
    named = nn.Sequential({"a": nn.Linear(2, 2), "b": nn.ReLU()})
    assert named.a is named[0] and [n for n, _ in named.named_parameters()] == [
        "a.weight",
        "a.bias",
    ]
    with pytest.raises(IndexError):
        s[9]
    with pytest.raises(TypeError):
        nn.Sequential(3)
    with pytest.raises(ValueError):
        s + [nn.ReLU()]


def test_module_list_and_dict():
    ml = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    ml.append(nn.ReLU()).extend([nn.Tanh()])
    ml.insert(0, nn.Identity())
    assert len(ml) == 6 and isinstance(ml[0], nn.Identity) and len(ml[1:3]) == 2
    del ml[0]
    assert isinstance(ml[0], nn.Linear) and ml[1] in ml
    assert isinstance(ml.pop(-1), nn.Tanh)
    with pytest.raises(IndexError):
        ml[10]
    with pytest.raises(NotImplementedError):
        ml(1)
    md = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    md["c"] = nn.Tanh()
    assert list(md) == ["a", "b", "c"] and "a" in md and len(md) == 3
    assert isinstance(md.pop("c"), nn.Tanh) and [k for k, _ in md.items()] == ["a", "b"]
    with pytest.raises(TypeError):
        md.update(3)
    with pytest.raises(ValueError):
        md.update([("a", nn.ReLU(), 1)])


def test_parameter_list_and_dict():
    pl = nn.ParameterList([tercel.zeros(2), nn.Parameter(tercel.ones(3))])
    assert len(pl) == 2 and isinstance(pl[0], nn.Parameter) and len(list(pl.parameters())) == 2
    pl.append(tercel.ones(1))
    assert list(pl.state_dict()) == ["0", "1", "2"]
    pl[0] = nn.Parameter(tercel.ones(5))
    assert pl[0].shape == (5,) and [p.numel() for p in pl] == [5, 3, 1]
    pd = nn.ParameterDict({"w": tercel.zeros(2)})
    pd["v"] = tercel.ones(1)
    assert list(pd.keys()) == ["w", "v"] and len(list(pd.parameters())) == 2
    assert pd.pop("w").shape == (2,) and "w" not in pd
    with pytest.raises(KeyError):
        pd["w"]
    with pytest.raises(RuntimeError):
        pl(1)
    twin = copy.deepcopy(pl)
    assert len(twin) == 3 and twin[0] is not pl[0]


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


# ---- layers ------------------------------------------------------------------------------------------

REPRS = """Linear(3, 4)|Linear(3, 4, bias=False)|Bilinear(2, 3, 4)|Identity()|Conv1d(4, 6, 3, padding=1)
Conv2d(4, 6, 3, stride=2, groups=2, bias=False)|Conv2d(4, 6, 3, padding='same', padding_mode='reflect')
Conv3d(2, 2, (1, 2, 3), dilation=2)|ConvTranspose2d(4, 6, 3, 2, 1, 1)|BatchNorm2d(3)|BatchNorm1d(3, affine=False)
InstanceNorm2d(3, affine=True)|LayerNorm(4)|LayerNorm((2, 3), elementwise_affine=False)|RMSNorm(4)|GroupNorm(2, 4)
LocalResponseNorm(2)|ReLU()|ReLU(True)|ReLU6()|RReLU()|Hardtanh()|Sigmoid()|Hardsigmoid()|Tanh()|SiLU(True)|Mish()
Hardswish()|ELU(2., True)|CELU()|SELU()|GLU()|GELU('tanh')|Hardshrink()|Softshrink()|Tanhshrink()|LeakyReLU(.1, True)
LogSigmoid()|Softplus()|Softsign()|PReLU(4)|Softmax(1)|Softmin(1)|LogSoftmax(-1)|Softmax2d()|Threshold(1, 2)
MaxPool2d(3, 2, 1, ceil_mode=True)|MaxUnpool2d(2)|AvgPool1d(2)|AvgPool2d(2)|FractionalMaxPool2d(2, output_size=3)
LPPool2d(2, 3, 2)|AdaptiveMaxPool2d(3)|AdaptiveAvgPool2d((3, None))|ZeroPad2d(1)|ConstantPad1d(1, 2.)|CircularPad1d(1)
ReflectionPad2d((1, 2, 3, 4))|ReplicationPad3d(1)|Dropout()|Dropout2d(.2, True)|AlphaDropout(.1)|Embedding(3, 4)
Embedding(3, 4, padding_idx=-1, max_norm=1.)|EmbeddingBag(3, 4, mode='sum', padding_idx=1)|Flatten()|Unflatten(1, (2, 3))
PixelShuffle(2)|PixelUnshuffle(2)|ChannelShuffle(2)|Upsample(scale_factor=2)|Upsample(size=(3, 4), mode='bilinear')
UpsamplingBilinear2d(size=3)|Unfold(2)|Fold((4, 4), 2)|CosineSimilarity()|PairwiseDistance()|CrossEntropyLoss()|MSELoss()
Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 4)))
ModuleList([nn.Linear(2, 2) for _ in range(3)] + [nn.ReLU()])|ModuleDict({'a': nn.ReLU(), 'b': nn.Linear(1, 2)})"""
SPECS = [s for line in REPRS.split("\n") for s in line.split("|")]


@needs_torch
@pytest.mark.parametrize("spec", SPECS)
def test_repr_and_state_keys_equal_torch(spec):
    ours, theirs = eval("nn." + spec, {"nn": nn}), eval("nn." + spec, {"nn": torch.nn})
    assert repr(ours) == repr(theirs)
    ours_state, theirs_state = ours.state_dict(), theirs.state_dict()
    assert list(ours_state) == list(theirs_state)
    assert [tuple(v.shape) for v in ours_state.values()] == [
        tuple(v.shape) for v in theirs_state.values()
    ]
    assert repr(copy.deepcopy(ours)) == repr(ours)


def test_repr_nested():
    text = repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU())))
    assert text == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )


# (layer, input shape); the layer is built in both libraries with the same parameters.
LAYERS = [
    ("Linear(5, 7)", (2, 3, 5)), ("Linear(5, 7, bias=False)", (5,)),
    ("Conv1d(4, 6, 3, padding=1)", (2, 4, 9)), ("Conv2d(4, 6, 3, stride=2, padding=1)", (2, 4, 9, 8)),
    ("Conv2d(4, 8, 3, padding='same', groups=2)", (2, 4, 7, 6)),
    ("Conv2d(3, 5, 3, padding=2, padding_mode='reflect')", (2, 3, 6, 7)),
    ("Conv2d(3, 5, (3, 2), padding='same', padding_mode='circular', dilation=2)", (2, 3, 6, 7)),
    ("Conv3d(2, 3, 3, padding=1)", (2, 2, 5, 6, 4)),
    ("ConvTranspose1d(4, 6, 3, 2)", (2, 4, 5)), ("ConvTranspose2d(4, 6, 3, 2, 1, 1)", (2, 4, 5, 6)),
    ("ConvTranspose3d(2, 4, 3, 2, groups=2)", (2, 2, 3, 4, 3)),
    ("BatchNorm1d(4)", (5, 4)), ("BatchNorm1d(4)", (5, 4, 3)), ("BatchNorm2d(4)", (3, 4, 5, 2)),
    ("BatchNorm2d(4, momentum=None)", (3, 4, 5, 2)), ("BatchNorm3d(2, affine=False)", (3, 2, 2, 3, 2)),
    ("BatchNorm2d(4, track_running_stats=False)", (3, 4, 5, 2)),
    ("InstanceNorm1d(4, affine=True)", (3, 4, 6)), ("InstanceNorm2d(4, track_running_stats=True)", (3, 4, 5, 6)),
    ("InstanceNorm2d(4)", (4, 5, 6)), ("LayerNorm((4, 5))", (2, 3, 4, 5)), ("LayerNorm(5, bias=False)", (2, 5)),
    ("RMSNorm(6)", (3, 6)), ("GroupNorm(2, 6)", (2, 6, 4)), ("LocalResponseNorm(3)", (2, 5, 4, 4)),
    ("ReLU()", (3, 4)), ("ReLU6()", (3, 4)), ("Hardtanh()", (3, 4)), ("Sigmoid()", (3, 4)), ("Hardsigmoid()", (3, 4)),
    ("Tanh()", (3, 4)), ("SiLU()", (3, 4)), ("Mish()", (3, 4)), ("Hardswish()", (3, 4)), ("ELU(.5)", (3, 4)),
    ("CELU(.5)", (3, 4)), ("SELU()", (3, 4)), ("GLU()", (3, 4)), ("GELU()", (3, 4)), ("GELU('tanh')", (3, 4)),
    ("Hardshrink()", (3, 4)), ("Softshrink()", (3, 4)), ("Tanhshrink()", (3, 4)), ("LeakyReLU(.1)", (3, 4)),
    ("LogSigmoid()", (3, 4)), ("Softplus()", (3, 4)), ("Softsign()", (3, 4)), ("PReLU()", (3, 4)), ("PReLU(4)", (3, 4)),
    ("Softmax(1)", (3, 4)), ("Softmin(1)", (3, 4)), ("LogSoftmax(0)", (3, 4)), ("Softmax2d()", (2, 3, 4, 5)),
    ("Threshold(.1, 20.)", (3, 4)), ("MaxPool1d(2)", (2, 3, 8)), ("MaxPool2d(3, 2, 1)", (2, 3, 8, 9)),
    ("MaxPool2d(2, ceil_mode=True)", (2, 3, 7, 7)), ("MaxPool3d(2)", (1, 2, 4, 4, 4)), ("AvgPool1d(3, 2, 1)", (2, 3, 9)),
    ("AvgPool2d(3, 2, 1, count_include_pad=False)", (2, 3, 8, 9)), ("AvgPool3d(2)", (1, 2, 4, 4, 4)),
    ("LPPool1d(2, 3)", (2, 3, 9)), ("LPPool2d(3., 2)", (2, 3, 8, 8)), ("AdaptiveAvgPool1d(3)", (2, 3, 8)),
    ("AdaptiveAvgPool2d((3, None))", (2, 3, 8, 7)), ("AdaptiveAvgPool3d(2)", (1, 2, 5, 4, 3)),
    ("AdaptiveMaxPool1d(3)", (2, 3, 8)), ("AdaptiveMaxPool2d((2, 3))", (2, 3, 8, 7)), ("ZeroPad2d(1)", (1, 2, 3, 4)),
    ("ConstantPad1d((1, 2), 3.)", (1, 2, 3)), ("ReflectionPad2d((1, 2, 0, 1))", (1, 2, 3, 4)),
    ("ReplicationPad2d(1)", (1, 2, 3, 4)), ("CircularPad2d(1)", (1, 2, 3, 4)), ("Flatten()", (2, 3, 4)),
    ("Unflatten(1, (2, 3))", (2, 6, 2)), ("PixelShuffle(2)", (2, 8, 3, 4)), ("PixelUnshuffle(2)", (2, 2, 4, 6)),
    ("ChannelShuffle(2)", (2, 6, 3, 3)), ("Upsample(scale_factor=2)", (1, 2, 3, 4)),
    ("Upsample(size=(5, 7), mode='bilinear')", (1, 2, 3, 4)), ("UpsamplingBilinear2d(scale_factor=2)", (1, 2, 3, 4)),
    ("Unfold(2, stride=2)", (1, 2, 4, 6)), ("Fold((4, 5), 2)", (1, 8, 12)), ("Dropout().eval()", (3, 4)),
]  # fmt: skip


@needs_torch
@pytest.mark.parametrize("spec,shape", LAYERS, ids=[s for s, _ in LAYERS])
def test_layer_equals_torch(spec, shape):
    """Output, input gradient, parameter gradients, buffers; then eval mode."""
    rng = np.random.default_rng(0)
    theirs = eval("nn." + spec, {"nn": torch.nn})
    ours = eval("nn." + spec, {"nn": nn})
    state = {
        k: torch.from_numpy(rng.normal(size=v.shape).astype(np.float32))
        for k, v in theirs.named_parameters()
    }
    theirs.load_state_dict(state, strict=False)
    ours.load_state_dict({k: tercel.tensor(v.numpy()) for k, v in state.items()}, strict=False)
    data = rng.normal(size=shape).astype(np.float32)
    x, y = tercel.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    a, b = ours(x), theirs(y)
    assert_close(a, b)
    weight = rng.normal(size=tuple(b.shape)).astype(np.float32)
    (a * tercel.tensor(weight)).sum().backward()
    (b * torch.tensor(weight)).sum().backward()
    assert_close(x.grad, y.grad, 2e-4)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters()):
        assert p.grad is not None, name
        assert_close(p.grad, q.grad, 5e-4)
    for p, q in zip(ours.buffers(), theirs.buffers()):
        assert_close(p, q)
    assert_close(ours.eval()(x), theirs.eval()(y))


def _probabilities(rng, shape):
    z = np.exp(rng.normal(size=shape))
    return (z / z.sum(1, keepdims=True)).astype(np.float32)


def _loss_cases():
    rng = np.random.default_rng(1)
    n = lambda *s: rng.normal(size=s).astype(np.float32)
    p = lambda *s: rng.uniform(0.05, 0.95, size=s).astype(np.float32)
    sign = lambda *s: np.where(rng.normal(size=s) > 0, 1, -1).astype(np.float32)
    c = lambda *s: rng.integers(0, 4, size=s)
    return [
        ("L1Loss()", n(3, 4), n(3, 4)), ("MSELoss()", n(3, 4), n(3, 4)), ("SmoothL1Loss(beta=.5)", n(3, 4), n(3, 4)),
        ("HuberLoss(delta=.7)", n(3, 4), n(3, 4)), ("CrossEntropyLoss()", n(5, 4), c(5)),
        ("CrossEntropyLoss(label_smoothing=.1)", n(5, 4), c(5)), ("CrossEntropyLoss(ignore_index=1)", n(5, 4), c(5)),
        ("CrossEntropyLoss()", n(2, 4, 3), c(2, 3)), ("CrossEntropyLoss()", n(5, 4), _probabilities(rng, (5, 4))),
        ("NLLLoss()", n(5, 4), c(5)), ("PoissonNLLLoss(full=True)", n(3, 4), p(3, 4) * 4),
        ("GaussianNLLLoss(full=True)", n(3, 4), n(3, 4), p(3, 4)), ("KLDivLoss(reduction='batchmean')", n(3, 4), p(3, 4)),
        ("KLDivLoss(log_target=True)", n(3, 4), n(3, 4)), ("BCELoss()", p(3, 4), p(3, 4)),
        ("BCEWithLogitsLoss()", n(3, 4), p(3, 4)), ("HingeEmbeddingLoss()", n(3, 4), sign(3, 4)),
        ("SoftMarginLoss()", n(3, 4), sign(3, 4)), ("MultiLabelSoftMarginLoss()", n(3, 4), (p(3, 4) > 0.5).astype(np.float32)),
        ("MultiLabelMarginLoss()", n(2, 4), np.array([[1, 3, -1, 0], [0, 1, 2, -1]])),
        ("MultiMarginLoss(p=2)", n(5, 4), c(5)), ("CosineEmbeddingLoss(.1)", n(5, 4), n(5, 4), sign(5)),
        ("MarginRankingLoss(.2)", n(5), n(5), sign(5)), ("TripletMarginLoss(swap=True)", n(5, 4), n(5, 4), n(5, 4)),
        ("TripletMarginWithDistanceLoss()", n(5, 4), n(5, 4), n(5, 4)), ("CosineSimilarity()", n(5, 4), n(5, 4)),
        ("PairwiseDistance(p=1.)", n(5, 4), n(5, 4)), ("MSELoss(reduction='none')", n(3, 4), n(3, 4)),
        ("L1Loss(reduction='sum')", n(3, 4), n(3, 4)),
    ]  # fmt: skip


@needs_torch
@pytest.mark.parametrize("case", _loss_cases(), ids=lambda c: c[0])
def test_loss_equals_torch(case):
    spec, data, *others = case
    x, y = tercel.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    a = eval("nn." + spec, {"nn": nn})(x, *(tercel.tensor(o) for o in others))
    b = eval("nn." + spec, {"nn": torch.nn})(y, *(torch.tensor(o) for o in others))
    assert_close(a, b)
    a.sum().backward()
    b.sum().backward()
    assert_close(x.grad, y.grad)


@needs_torch
def test_embedding_equals_torch():
    table = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    index = np.array([[0, 2, 5], [2, 2, 1]])
    for make in (
        lambda n, t, w: n.Embedding.from_pretrained(w, freeze=False),
        lambda n, t, w: n.Embedding.from_pretrained(w, freeze=False, padding_idx=2),
        lambda n, t, w: n.EmbeddingBag.from_pretrained(w, freeze=False),
        lambda n, t, w: n.EmbeddingBag.from_pretrained(w, freeze=False, mode="sum", padding_idx=2),
        lambda n, t, w: n.EmbeddingBag.from_pretrained(w, freeze=False, mode="max"),
    ):
        ours = make(nn, tercel, tercel.tensor(table))
        theirs = make(torch.nn, torch, torch.tensor(table))
        a, b = ours(tercel.tensor(index)), theirs(torch.tensor(index))
        assert_close(a, b)
        (a * a).sum().backward()
        (b * b).sum().backward()
        assert_close(ours.weight.grad, theirs.weight.grad)
    e = nn.Embedding(5, 2, padding_idx=-1)
    assert e.padding_idx == 4 and float(e.weight[4].abs().sum()) == 0
    assert not nn.Embedding.from_pretrained(tercel.tensor(table)).weight.requires_grad
    with pytest.raises((IndexError, ValueError)):
        e(tercel.tensor([5]))
    with pytest.raises(NotImplementedError):
        nn.Embedding(3, 3, sparse=True)


def test_layer_settings_are_checked():
    for make in (
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(3, 4, 3, padding="wide"),
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"),
        lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"),
        lambda: nn.Conv2d(4, 4, 3, groups=0),
        lambda: nn.Conv2d(4, 4, (3, 3, 3)),
        lambda: nn.ConvTranspose2d(3, 3, 3, padding_mode="reflect"),
        lambda: nn.GroupNorm(3, 4),
        lambda: nn.Dropout(1.5),
        lambda: nn.Hardtanh(1, -1),
        lambda: nn.Embedding(3, 4, padding_idx=3),
        lambda: nn.EmbeddingBag(3, 4, mode="median"),
        lambda: nn.TripletMarginLoss(margin=-1),
        lambda: nn.MultiMarginLoss(p=3),
        lambda: nn.MSELoss(reduction="median"),
        lambda: nn.FractionalMaxPool2d(2),
        lambda: nn.Bilinear(0, 1, 1),
        lambda: nn.Linear(-1, 2),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            make()
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(3)(tercel.zeros(2, 3))
    with pytest.raises(TypeError):
        nn.Unflatten("x", (1, 2))
    with pytest.raises(TypeError):
        nn.ReLU(1, 2, 3)


def test_conv_transpose_output_size():
    m = nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1)
    x = tercel.zeros(1, 2, 5, 5)
    assert m(x, output_size=[10, 10]).shape == (1, 2, 10, 10)
    assert m(x, output_size=(1, 2, 9, 10)).shape == (1, 2, 9, 10)
    with pytest.raises(ValueError, match="valid sizes"):
        m(x, output_size=[20, 20])


def test_batch_norm_loads_old_files():
    m = nn.BatchNorm2d(3)
    state = m.state_dict()
    del state["num_batches_tracked"]
    m.load_state_dict(dict(state))  # without version: the counter did not exist
    m(tercel.randn(2, 3, 4, 4))
    assert int(m.num_batches_tracked) == 1


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
