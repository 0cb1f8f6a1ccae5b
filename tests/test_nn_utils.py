"""nn.utils: clipping, vectors, weight and spectral norm, parametrize, fusion; utils.checkpoint."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tercel
from tercel import nn
from tercel.nn import utils
from tercel.nn.utils import parametrizations, parametrize
from tercel.testing import bits
from tercel.utils.checkpoint import checkpoint, checkpoint_sequential


def values(t):
    return np.array(t.detach().numpy(), dtype=np.float64)


def with_grads(*grads):
    params = [nn.Parameter(tercel.zeros(len(g))) for g in grads]
    for p, g in zip(params, grads):
        p.grad = tercel.tensor(g)
    return params


def test_clip_grad_norm():
    params = with_grads([3.0, 0.0], [0.0, 4.0])
    assert float(nn.utils.get_total_norm([p.grad for p in params])) == pytest.approx(5)
    assert float(nn.utils.clip_grad_norm_(params, 1.0)) == pytest.approx(5)
    assert float(nn.utils.get_total_norm([p.grad for p in params])) == pytest.approx(1, rel=1e-5)
    assert float(nn.utils.clip_grad_norm_(params, 10.0)) == pytest.approx(1, rel=1e-5)
    assert (
        float(nn.utils.clip_grad_norm_(with_grads([3.0, -4.0]), 1.0, norm_type=float("inf"))) == 4
    )
    assert float(nn.utils.clip_grad_norm_(with_grads([3.0, -4.0])[0], 1.0, 1)) == 7
    assert float(nn.utils.clip_grad_norm_([nn.Parameter(tercel.zeros(1))], 1.0)) == 0
    bad = with_grads([float("inf"), 1.0])
    with pytest.raises(RuntimeError, match=r"non-?finite"):
        nn.utils.clip_grad_norm_(bad, 1.0, error_if_nonfinite=True)
    assert values(bad[0].grad)[1] == 1
    with pytest.raises(TypeError):
        nn.utils.clip_grad_norm_([3], 1.0)


def test_clip_grads_with_norm_and_value():
    params = with_grads([3.0, -4.0])
    nn.utils.clip_grads_with_norm_(params, 1.0, tercel.tensor(5.0))
    np.testing.assert_allclose(values(params[0].grad), [0.6, -0.8], rtol=1e-5)
    nn.utils.clip_grad_value_(params, 0.7)
    np.testing.assert_allclose(values(params[0].grad), [0.6, -0.7], rtol=1e-5)


def test_parameters_to_vector_and_back():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vec = nn.utils.parameters_to_vector(net.parameters())
    assert vec.shape == (13,)
    nn.utils.vector_to_parameters(tercel.arange(13, dtype=tercel.float32), net.parameters())
    assert nn.utils.parameters_to_vector(net.parameters()).tolist() == list(range(13))
    with pytest.raises(ValueError, match="13"):
        nn.utils.vector_to_parameters(tercel.zeros(12), net.parameters())


def test_fuse_conv_and_linear_with_batch_norm():
    tercel.manual_seed(0)
    for layer, bn, x in (
        (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), tercel.randn(2, 3, 6, 6)),
        (nn.Conv2d(4, 4, 3, groups=2, bias=False), nn.BatchNorm2d(4), tercel.randn(2, 4, 6, 6)),
        (nn.Linear(3, 4), nn.BatchNorm1d(4), tercel.randn(5, 3)),
    ):
        bn(layer(x))  # statistics
        nn.init.normal_(bn.weight)
        nn.init.normal_(bn.bias)
        fuse = (
            nn.utils.fuse_linear_bn_eval
            if isinstance(layer, nn.Linear)
            else nn.utils.fuse_conv_bn_eval
        )
        with pytest.raises(ValueError, match="eval"):
            fuse(layer, bn)
        fused = fuse(layer.eval(), bn.eval())
        np.testing.assert_allclose(values(fused(x)), values(bn(layer(x))), atol=2e-5)


def test_skip_init():
    m = nn.utils.skip_init(nn.Linear, 4, 5, bias=False)
    assert m.weight.shape == (5, 4) and m.bias is None
    with pytest.raises(RuntimeError):
        nn.utils.skip_init(nn.ReLU)
    with pytest.raises(RuntimeError):
        nn.utils.skip_init(3)
    assert float(nn.init.ones_(tercel.zeros(2)).sum()) == 2  # the initialisers work again


# ---- weight norm, spectral norm -----------------------------------------------------------------------


def test_weight_norm_hooks():
    m = nn.utils.weight_norm(nn.Linear(3, 4))
    before = values(nn.Linear.forward(m, tercel.eye(3)))
    assert [n for n, _ in m.named_parameters()] == [
        "bias",
        "weight_g",
        "weight_v",
    ] and m.weight_g.shape == (4, 1)
    with tercel.no_grad():
        m.weight_g.mul_(2)
    out = m(tercel.eye(3))
    np.testing.assert_allclose(
        values(out) - values(m.bias), 2 * (before - values(m.bias)), rtol=1e-5
    )
    out.sum().backward()
    assert m.weight_g.grad is not None and m.weight_v.grad is not None
    with pytest.raises(RuntimeError, match="two weight_norm"):
        nn.utils.weight_norm(m)
    nn.utils.remove_weight_norm(m)
    np.testing.assert_allclose(values(m(tercel.eye(3))), values(out), rtol=1e-5)
    assert isinstance(m.weight, nn.Parameter)
    with pytest.raises(ValueError):
        nn.utils.remove_weight_norm(m)


@pytest.mark.parametrize("make", [nn.utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm(make):
    tercel.manual_seed(0)
    m = make(nn.Linear(6, 5), n_power_iterations=30)
    m(tercel.randn(2, 6)).sum().backward()
    assert np.linalg.svd(values(m.weight), compute_uv=False)[0] == pytest.approx(1, rel=1e-3)
    assert any(p.grad is not None for n, p in m.named_parameters() if "orig" in n)
    m.eval()
    a, b = m(tercel.eye(6)), m(tercel.eye(6))
    assert tercel.equal(a, b)
    if make is nn.utils.spectral_norm:
        nn.utils.remove_spectral_norm(m)
    else:
        parametrize.remove_parametrizations(m, "weight")
    np.testing.assert_allclose(values(m(tercel.eye(6))), values(a), atol=1e-5)
    with pytest.raises(ValueError):
        make(nn.Linear(2, 2), n_power_iterations=0)


def test_weight_norm_parametrization():
    m = nn.Linear(3, 4)
    weight = values(m.weight)
    parametrizations.weight_norm(m)
    np.testing.assert_allclose(values(m.weight), weight, rtol=1e-6)
    assert [n for n, _ in m.named_parameters()] == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1"
    ]  # fmt: skip
    m(tercel.randn(2, 3)).sum().backward()
    assert m.parametrizations.weight.original0.grad.shape == (4, 1)


@pytest.mark.parametrize("shape", [(5, 5), (6, 3), (3, 6)])
def test_orthogonal(shape):
    m = parametrizations.orthogonal(nn.Linear(shape[1], shape[0]).double())
    x = tercel.randn(4, shape[1], dtype=tercel.float64)
    for _ in range(3):
        w = values(m.weight)
        gram = w @ w.T if shape[0] < shape[1] else w.T @ w
        np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-9)
        (m(x) ** 2).sum().backward()
        m(x).pow(3).sum().backward()
        with tercel.no_grad():
            original = m.parametrizations.weight.original
            original.add_(original.grad, alpha=-0.1)
    with pytest.raises(NotImplementedError):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="cayley")
    with pytest.raises(ValueError):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="other")


# ---- parametrize ---------------------------------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)

    def right_inverse(self, a):
        return a.triu()


class Scale(nn.Module):
    calls = 0

    def forward(self, x):
        Scale.calls += 1
        return x * 2


def test_parametrize():
    m = nn.Linear(3, 3)
    x = tercel.randn(2, 3)
    assert parametrize.register_parametrization(m, "weight", Symmetric()) is m
    assert isinstance(m, nn.Linear) and type(m).__name__ == "ParametrizedLinear"
    w = values(m.weight)
    np.testing.assert_array_equal(w, w.T)
    assert parametrize.is_parametrized(m) and parametrize.is_parametrized(m, "weight")
    assert not parametrize.is_parametrized(m, "bias")
    assert parametrize.type_before_parametrizations(m) is nn.Linear
    s = tercel.randn(3, 3)
    m.weight = s + s.t()
    np.testing.assert_allclose(values(m.weight), values(s + s.t()), rtol=1e-6)
    m(x).sum().backward()
    assert m.parametrizations.weight.original.grad is not None
    twin = copy.deepcopy(m)
    with tercel.no_grad():
        twin.parametrizations.weight.original.zero_()
    assert np.abs(values(twin.weight)).max() == 0 and np.abs(values(m.weight)).max() > 0
    assert list(m.state_dict()) == ["bias", "parametrizations.weight.original"]
    parametrize.register_parametrization(m, "weight", Scale())
    np.testing.assert_allclose(values(m.weight), 2 * values(s + s.t()), rtol=1e-6)
    Scale.calls = 0
    with parametrize.cached():
        assert m.weight is m.weight
    assert Scale.calls == 1
    final = values(m.weight)
    with pytest.raises(RuntimeError, match="right_inverse"):
        m.weight = tercel.zeros(3, 3)
    parametrize.remove_parametrizations(m, "weight")
    assert type(m) is nn.Linear and isinstance(m.weight, nn.Parameter)
    np.testing.assert_allclose(values(m.weight), final)


def test_parametrize_buffers_and_errors():
    m = nn.Module()
    m.register_buffer("b", tercel.ones(2))
    parametrize.register_parametrization(m, "b", Scale())
    assert m.b.tolist() == [2, 2] and list(m.state_dict()) == ["parametrizations.b.original"]
    parametrize.remove_parametrizations(m, "b", leave_parametrized=False)
    assert m.b.tolist() == [1, 1] and "b" in m._buffers

    class Shrink(nn.Module):
        def forward(self, x):
            return x[:1]

    lin = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="shape"):
        parametrize.register_parametrization(lin, "weight", Shrink())
    assert type(lin) is nn.Linear and isinstance(lin.weight, nn.Parameter)
    with pytest.raises(ValueError, match="does not have"):
        parametrize.register_parametrization(lin, "nothing", Scale())
    with pytest.raises(ValueError):
        parametrize.remove_parametrizations(lin, "weight")


# ---- checkpoint ----------------------------------------------------------------------------------------


def test_checkpoint_gives_the_same_gradients():
    tercel.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 2))
    x = tercel.randn(3, 4, requires_grad=True)

    def run(fn):
        tercel.manual_seed(7)
        net.zero_grad()
        x.grad = None
        out = fn()
        (out * out).sum().backward()
        return [out, x.grad.clone(), *(p.grad.clone() for p in net.parameters())], tercel.rand(
            1
        ).item()

    plain, after = run(lambda: net(x))
    again, after2 = run(lambda: checkpoint(net, x))
    parts, _ = run(lambda: checkpoint_sequential(net, 2, x))
    for a, b, c in zip(plain, again, parts):
        assert tercel.equal(a, b) and tercel.equal(a, c)
    assert after == after2


def test_checkpoint_cases():
    lin = nn.Linear(2, 2)
    x = tercel.ones(1, 2)  # no input needs a gradient, the parameters do
    checkpoint(lin, x).sum().backward()
    assert lin.weight.grad is not None
    a = tercel.ones(2, requires_grad=True)
    u, v = checkpoint(lambda p, k, s=1: (p * k, p * s), a, 3, s=5)
    (u + v).sum().backward()
    assert a.grad.tolist() == [8, 8]
    with tercel.no_grad():
        assert not checkpoint(lin, x).requires_grad
    with pytest.raises(TypeError):
        checkpoint(3, x)
    with pytest.raises(ValueError):
        checkpoint_sequential(nn.Sequential(lin), 3, x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_pack_linear_changes_no_bits(dtype):
    """Kept panels (only processors with AMX make any) follow the weight; training and state are those of Linear."""
    to = getattr(tercel, dtype)
    tercel.manual_seed(2)
    net = nn.Sequential(nn.Linear(70, 40), nn.ReLU(), nn.Linear(40, 33, bias=False)).to(to)
    twin = utils.pack_linear_(copy.deepcopy(net))
    assert type(twin[0]) is utils.PackedLinear and list(twin.state_dict()) == list(net.state_dict())
    assert utils.pack_linear_(twin)[0] is twin[0]
    x = tercel.randn(3, 5, 70).to(to)

    def same(a, b):
        with tercel.no_grad():
            assert bits(a(x)) == bits(b(x))
            assert bits(a(x[0, 0])) == bits(b(x[0, 0])) and a(x[:0]).shape == (0, 5, 33)

    same(net, twin)
    for model in (net, twin):
        model.train()
        model(x).float().sum().backward()
        with tercel.no_grad():
            for p in model.parameters():
                p.sub_(p.grad)
    same(net, twin)
    same(net, copy.deepcopy(twin))
    same(net, pickle.loads(pickle.dumps(twin)))
    fresh = utils.pack_linear_(
        nn.Sequential(nn.Linear(70, 40), nn.ReLU(), nn.Linear(40, 33, bias=False)).to(to)
    )
    same(fresh, fresh)
    fresh.load_state_dict(net.state_dict())
    same(net, fresh)
    assert type(utils.pack_linear_(copy.deepcopy(net), lambda m, name: name == "0")[2]) is nn.Linear
    with pytest.raises(ValueError, match="weight must have shape"):
        twin(x[..., :69])
