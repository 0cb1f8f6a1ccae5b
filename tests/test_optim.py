"""Optimizers: values against PyTorch and against the formulas, groups, state, hooks, errors."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

import tercel
from tercel import nn, optim

try:
    import torch
except ImportError:
    torch = None

CASES = {
    "sgd": lambda m, p: m.SGD(p, lr=0.1),
    "sgd_momentum": lambda m, p: m.SGD(p, lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.1),
    "sgd_nesterov_maximize": lambda m, p: m.SGD(
        p, lr=0.1, momentum=0.9, nesterov=True, maximize=True
    ),
    "adam": lambda m, p: m.Adam(p),
    "adam_amsgrad_maximize": lambda m, p: m.Adam(
        p, lr=0.1, weight_decay=0.1, amsgrad=True, maximize=True
    ),
    "adamw": lambda m, p: m.AdamW(p, lr=0.1, betas=(0.5, 0.6), eps=1e-3),
}
SHAPES = [(5, 3), (4,), (), (2, 3, 4)]


def parameters(dtype=None):
    rng = np.random.default_rng(0)
    dtype = dtype or tercel.float64
    return [nn.Parameter(tercel.tensor(rng.normal(size=s), dtype=dtype)) for s in SHAPES]


def set_grads(params, seed, skip=()):
    rng = np.random.default_rng(seed)
    for i, p in enumerate(params):
        g = rng.normal(size=tuple(p.shape))
        if i in skip:
            p.grad = None
        elif isinstance(p, tercel.Tensor):
            p.grad = tercel.tensor(g, dtype=p.dtype)
        else:
            p.grad = torch.tensor(g, dtype=p.dtype)


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", CASES)
def test_steps_and_state_equal_torch(name):
    make = CASES[name]
    ours = parameters()
    theirs = [torch.nn.Parameter(torch.tensor(np.array(p.detach().numpy()))) for p in ours]
    a, b = make(optim, ours), make(torch.optim, theirs)
    assert repr(a) == repr(b)
    for i in range(10):
        skip = (1,) if i == 3 else ()
        set_grads(ours, i, skip)
        set_grads(theirs, i, skip)
        a.step()
        b.step()
        if i == 5:  # through a saved state, in torch's layout
            saved, reference = a.state_dict(), b.state_dict()
            assert saved["param_groups"] == reference["param_groups"]
            assert {k: set(v) for k, v in saved["state"].items()} == {
                k: {n for n, x in v.items() if x is not None} for k, v in reference["state"].items()
            }
            a = make(optim, ours)
            a.load_state_dict(saved)
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_sgd_formula():
    p = nn.Parameter(tercel.tensor([1.0, 2.0]))
    opt = optim.SGD([p], lr=0.5, momentum=0.9, weight_decay=0.1)
    w, v = np.array([1.0, 2.0]), np.zeros(2)
    for i in range(4):
        g = np.array([0.3, -0.2]) * (i + 1)
        p.grad = tercel.tensor(g, dtype=tercel.float32)
        opt.step()
        d = g + 0.1 * w
        v = d if i == 0 else 0.9 * v + d
        w = w - 0.5 * v
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-6)


def test_adam_formula():
    p = nn.Parameter(tercel.tensor([1.0, 2.0], dtype=tercel.float64))
    opt = optim.AdamW([p], lr=0.1, weight_decay=0.1)
    w, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    for t in range(1, 6):
        g = np.array([0.3, -0.2]) * t
        p.grad = tercel.tensor(g)
        opt.step()
        w = w * (1 - 0.1 * 0.1)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12)
    assert float(opt.state[p]["step"]) == 5


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_groups_and_named_parameters(make):
    a, b = nn.Parameter(tercel.zeros(2)), nn.Parameter(tercel.zeros(2))
    opt = make([{"params": a}, {"params": [b], "lr": 0.0}], lr=0.1)
    assert [g["lr"] for g in opt.param_groups] == [0.1, 0.0]
    for p in (a, b):
        p.grad = tercel.ones(2)
    opt.step()
    assert float(a.detach().abs().sum()) > 0 and float(b.detach().abs().sum()) == 0
    c = nn.Parameter(tercel.zeros(1))
    opt.add_param_group({"params": [c], "lr": 0.5})
    assert len(opt.param_groups) == 3
    named = make(nn.Linear(2, 2).named_parameters(), lr=0.1)
    assert named.param_groups[0]["param_names"] == ["weight", "bias"]
    assert named.state_dict()["param_groups"][0]["params"] == [0, 1]


def test_zero_grad_and_closure():
    p = nn.Parameter(tercel.tensor([3.0]))
    opt = optim.SGD([p], lr=0.1)

    def closure():
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tercel.no_grad():
        loss = opt.step(closure)
    assert float(loss) == 9 and float(p) == pytest.approx(2.4)
    opt.zero_grad(set_to_none=False)
    assert float(p.grad) == 0
    opt.zero_grad()
    assert p.grad is None
    opt.step()  # nothing to do
    assert float(p) == pytest.approx(2.4)


def test_versions_are_bumped():
    """A parameter updated between forward and backward is noticed."""
    p = nn.Parameter(tercel.ones(3))
    opt = optim.SGD([p], lr=0.1)
    p.grad = tercel.ones(3)
    y = (p * p).sum()
    opt.step()
    with pytest.raises(RuntimeError):
        y.backward()


def test_hooks():
    p = nn.Parameter(tercel.ones(1))
    opt = optim.SGD([p], lr=1.0)
    log = []
    opt.register_step_pre_hook(lambda o, args, kwargs: log.append("pre"))
    h = opt.register_step_post_hook(lambda o, args, kwargs: log.append("post"))
    p.grad = tercel.ones(1)
    opt.step()
    h.remove()
    opt.step()
    assert log == ["pre", "post", "pre"]
    opt.register_state_dict_post_hook(lambda o, s: {**s, "note": 1})
    opt.register_load_state_dict_pre_hook(lambda o, s: log.append(s.pop("note")))
    opt.load_state_dict(opt.state_dict())
    assert log[-1] == 1


def test_custom_optimizer():
    class Halve(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 1.0})

        @tercel.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.mul_(0.5)

    p = nn.Parameter(tercel.ones(2))
    opt = Halve([p])
    seen = []
    opt.register_step_post_hook(lambda *a: seen.append(1))
    opt.step()
    assert float(p.sum()) == 1 and seen == [1]
    with pytest.raises(NotImplementedError):
        optim.Optimizer([p], {}).step()


def test_load_state_dict_casts_to_the_parameter():
    p = nn.Parameter(tercel.ones(2))
    q = nn.Parameter(tercel.ones(2, dtype=tercel.float64))
    a, b = optim.Adam([p]), optim.Adam([q])
    p.grad = tercel.ones(2)
    a.step()
    b.load_state_dict(a.state_dict())
    assert (
        b.state[q]["exp_avg"].dtype == tercel.float64 and b.state[q]["step"].dtype == tercel.float32
    )
    assert a.state[p]["exp_avg"] is not b.state[q]["exp_avg"]
    copied = copy.deepcopy(a.state_dict())
    assert set(copied) == {"state", "param_groups"}


def test_errors():
    p = nn.Parameter(tercel.ones(2))
    for call in (
        lambda: optim.SGD([], lr=0.1),
        lambda: optim.SGD([p], lr=-1),
        lambda: optim.SGD([p], lr=float("nan")),
        lambda: optim.SGD([p], momentum=-1),
        lambda: optim.SGD([p], nesterov=True),
        lambda: optim.SGD([p, p]),
        lambda: optim.SGD([{"params": [p]}, {"params": [p]}]),
        lambda: optim.SGD([p * 1]),
        lambda: optim.SGD([{"lr": 1}]),
        lambda: optim.Adam([p], betas=(1.0, 0.9)),
        lambda: optim.Adam([p], betas=(0.9, -1)),
        lambda: optim.Adam([p], eps=-1),
        lambda: optim.AdamW([p], weight_decay=-1),
        lambda: optim.Adam([p], betas=(0.1,)),
    ):
        with pytest.raises(ValueError):
            call()
    for call in (
        lambda: optim.SGD(p),
        lambda: optim.SGD([1, 2]),
        lambda: optim.SGD([{"params": {p}}]),
    ):
        with pytest.raises(TypeError):
            call()
    opt = optim.SGD([p])
    with pytest.raises(ValueError, match="number of parameter groups"):
        opt.load_state_dict({"state": {}, "param_groups": []})
    with pytest.raises(ValueError, match="match the size"):
        opt.load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]})
    with pytest.raises(KeyError):
        opt.load_state_dict({})
    with pytest.raises(TypeError):
        opt.add_param_group([p])


def test_averaged_model():
    from tercel.optim.swa_utils import AveragedModel, get_ema_avg_fn

    m = nn.Linear(1, 1, bias=False)
    swa, ema = AveragedModel(m), AveragedModel(m, avg_fn=get_ema_avg_fn(0.5))
    with tercel.no_grad():
        for v in (1.0, 2.0, 6.0):
            m.weight.fill_(v)
            swa.update_parameters(m)
            ema.update_parameters(m)
    assert float(swa.module.weight) == pytest.approx(3)
    assert float(ema.module.weight) == pytest.approx(0.5 * (0.5 * 1 + 0.5 * 2) + 0.5 * 6)
    assert int(swa.n_averaged) == 3


def test_training_lowers_the_loss():
    tercel.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    x = tercel.randn(64, 2)
    y = x[:, :1] * x[:, 1:]
    for make in (lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.AdamW(p, lr=0.02)):
        twin = copy.deepcopy(net)
        opt = make(twin.parameters())
        losses = []
        for _ in range(200):
            opt.zero_grad()
            loss = nn.functional.mse_loss(twin(x), y)
            loss.backward()
            opt.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.1 * losses[0]


def test_scheduler_order_warning():
    opt = optim.SGD([nn.Parameter(tercel.ones(1))], lr=0.1)
    s = optim.lr_scheduler.StepLR(opt, 1)
    with pytest.warns(UserWarning, match=r"before `optimizer\.step"):
        s.step()
    opt = optim.SGD([nn.Parameter(tercel.ones(1))], lr=0.1)
    s = optim.lr_scheduler.StepLR(opt, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opt.step()
        s.step()
