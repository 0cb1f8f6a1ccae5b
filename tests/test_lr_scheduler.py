"""Learning-rate schedules: equal to PyTorch's over 100 steps, closed forms, saving and resuming, errors."""

from __future__ import annotations

import math
import warnings

import pytest

import tercel
from tercel import nn, optim
from tercel.optim import lr_scheduler as L

try:
    import torch
except ImportError:
    torch = None

CASES = {
    "lambda": lambda L, o: L.LambdaLR(o, lambda e: 0.95**e),
    "multiplicative": lambda L, o: L.MultiplicativeLR(o, lambda e: 0.97),
    "step": lambda L, o: L.StepLR(o, 7, 0.5),
    "multi_step": lambda L, o: L.MultiStepLR(o, [3, 10, 10, 50], 0.5),
    "constant": lambda L, o: L.ConstantLR(o, 0.25, 9),
    "linear": lambda L, o: L.LinearLR(o, 0.1, 0.9, 13),
    "exponential": lambda L, o: L.ExponentialLR(o, 0.9),
    "polynomial": lambda L, o: L.PolynomialLR(o, 40, 2.0),
    "cosine": lambda L, o: L.CosineAnnealingLR(o, 17, 0.001),
    "restarts": lambda L, o: L.CosineAnnealingWarmRestarts(o, 7, 2, 0.001),
    "restarts_equal": lambda L, o: L.CosineAnnealingWarmRestarts(o, 7),
    "one_cycle": lambda L, o: L.OneCycleLR(o, 0.3, total_steps=101),
    "one_cycle_three": lambda L, o: L.OneCycleLR(
        o,
        [0.3, 0.1],
        epochs=6,
        steps_per_epoch=20,
        three_phase=True,
        anneal_strategy="linear",
        pct_start=0.2,
    ),
    "cyclic": lambda L, o: L.CyclicLR(o, 0.01, 0.1, 7, 12),
    "cyclic2": lambda L, o: L.CyclicLR(o, 0.01, 0.1, 7, mode="triangular2"),
    "cyclic_exp": lambda L, o: L.CyclicLR(o, 0.01, 0.1, 7, mode="exp_range", gamma=0.99),
    "cyclic_fn": lambda L, o: L.CyclicLR(o, 0.01, 0.1, 7, scale_fn=lambda x: 1 / x),
    "sequential": lambda L, o: L.SequentialLR(
        o,
        [L.LinearLR(o, 0.1, 1.0, 5), L.CosineAnnealingLR(o, 20), L.ExponentialLR(o, 0.9)],
        [5, 40],
    ),
    "sequential_restarts": lambda L, o: L.SequentialLR(
        o, [L.ConstantLR(o, 0.1, 20), L.CosineAnnealingWarmRestarts(o, 10)], [20]
    ),
    "chained": lambda L, o: L.ChainedScheduler(
        [L.LinearLR(o, 0.1, 1.0, 5), L.ExponentialLR(o, 0.9), L.MultiStepLR(o, [4, 9])]
    ),
}


def make_optimizer(lib, opt, kind):
    p = [lib.nn.Parameter(lib.zeros(2)) for _ in range(2)]
    groups = [{"params": [p[0]]}, {"params": [p[1]], "lr": 0.05}]
    return opt.SGD(groups, lr=0.1, momentum=0.9) if kind == "sgd" else opt.AdamW(groups, lr=0.1)


def settings(o):
    return [(g["lr"], g.get("momentum", 0.0), g.get("betas", (0.0,))[0]) for g in o.param_groups]


def run(o, s, n=100):
    rows = []
    for _ in range(n):
        rows.append(
            [x for group in settings(o) for x in group] + [float(v) for v in s.get_last_lr()]
        )
        o.step()
        s.step()
    return rows


@pytest.mark.skipif(torch is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("name", CASES)
def test_equal_to_torch(name, kind):
    o = make_optimizer(tercel, optim, kind)
    ours = run(o, CASES[name](L, o))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t = make_optimizer(torch, torch.optim, kind)
        theirs = run(t, CASES[name](torch.optim.lr_scheduler, t))
    for step, (a, b) in enumerate(zip(ours, theirs)):
        assert a == pytest.approx(b, rel=1e-12, abs=1e-12), step


@pytest.mark.parametrize("name", CASES)
def test_resumes_from_state_dict(name):
    make = CASES[name]
    o = make_optimizer(tercel, optim, "sgd")
    whole = run(o, make(L, o), 60)
    a = make_optimizer(tercel, optim, "sgd")
    sa = make(L, a)
    first = run(a, sa, 25)
    b = make_optimizer(tercel, optim, "sgd")
    sb = make(L, b)
    b.load_state_dict(a.state_dict())
    sb.load_state_dict(sa.state_dict())
    assert first + run(b, sb, 35) == whole


@pytest.mark.parametrize(
    "name", ["step", "multi_step", "constant", "linear", "exponential", "polynomial", "cosine"]
)
def test_closed_form_agrees(name):
    o = make_optimizer(tercel, optim, "sgd")
    s = CASES[name](L, o)
    for _ in range(30):
        assert [g["lr"] for g in o.param_groups] == pytest.approx(s._get_closed_form_lr(), rel=1e-9)
        o.step()
        s.step()
    s.step(3)
    assert s.last_epoch == 3
    assert [g["lr"] for g in o.param_groups] == s._get_closed_form_lr()


def test_formulas():
    o = make_optimizer(tercel, optim, "sgd")
    s = L.CosineAnnealingLR(o, 10)
    for t in range(10):
        assert o.param_groups[0]["lr"] == pytest.approx(0.05 * (1 + math.cos(math.pi * t / 10)))
        o.step()
        s.step()


def test_fractional_restarts():
    o = make_optimizer(tercel, optim, "sgd")
    s = L.CosineAnnealingWarmRestarts(o, 10, 2)
    s.step(12.5)
    assert s.T_i == 20 and s.T_cur == 2.5
    assert o.param_groups[0]["lr"] == pytest.approx(0.05 * (1 + math.cos(math.pi * 2.5 / 20)))
    with pytest.raises(ValueError):
        s.step(-1)


@pytest.mark.parametrize(
    "options", [{}, {"mode": "max"}, {"threshold_mode": "abs", "cooldown": 2, "patience": 1}]
)
def test_plateau_equals_torch(options):
    if torch is None:
        pytest.skip("PyTorch is not installed")
    a, b = make_optimizer(tercel, optim, "sgd"), make_optimizer(torch, torch.optim, "sgd")
    options = {"patience": 3, "min_lr": [1e-3, 1e-2], **options}
    s, t = (
        L.ReduceLROnPlateau(a, **options),
        torch.optim.lr_scheduler.ReduceLROnPlateau(b, **options),
    )
    for i in range(60):
        metric = math.sin(i / 3) / (1 + i)
        s.step(metric)
        t.step(metric)
        for x, y in zip(settings(a), settings(b)):
            assert x == pytest.approx(y)
        if i == 30:
            u = L.ReduceLROnPlateau(a, **options)
            u.load_state_dict(s.state_dict())
            s = u


def test_swalr():
    from tercel.optim.swa_utils import SWALR

    o = make_optimizer(tercel, optim, "sgd")
    s = SWALR(o, 0.01, anneal_epochs=4)
    for _ in range(6):
        o.step()
        s.step()
    assert [g["lr"] for g in o.param_groups] == pytest.approx([0.01, 0.01])


def test_errors():
    o = make_optimizer(tercel, optim, "sgd")
    no_momentum = optim.SGD([nn.Parameter(tercel.zeros(1))], lr=0.1)
    no_momentum.defaults.pop("momentum")
    other = make_optimizer(tercel, optim, "sgd")
    for call in (
        lambda: L.StepLR(o, 0),
        lambda: L.LinearLR(o, start_factor=0),
        lambda: L.LinearLR(o, end_factor=2),
        lambda: L.ConstantLR(o, factor=2),
        lambda: L.CosineAnnealingLR(o, 0),
        lambda: L.CosineAnnealingWarmRestarts(o, 0),
        lambda: L.CosineAnnealingWarmRestarts(o, 5, 0),
        lambda: L.OneCycleLR(o, 0.1),
        lambda: L.OneCycleLR(o, 0.1, total_steps=-1),
        lambda: L.OneCycleLR(o, 0.1, total_steps=5, pct_start=2),
        lambda: L.OneCycleLR(o, 0.1, total_steps=5, anneal_strategy="up"),
        lambda: L.OneCycleLR(o, [0.1], total_steps=5),
        lambda: L.OneCycleLR(no_momentum, 0.1, total_steps=5),
        lambda: L.CyclicLR(o, 0.1, 1.0, mode="square"),
        lambda: L.CyclicLR(o, 0.1, 1.0, step_size_up=0),
        lambda: L.LambdaLR(o, [lambda e: 1.0]),
        lambda: L.SequentialLR(o, [], []),
        lambda: L.SequentialLR(o, [L.StepLR(o, 1)], [1]),
        lambda: L.ChainedScheduler([L.StepLR(o, 1), L.StepLR(other, 1)]),
        lambda: L.ChainedScheduler([]),
        lambda: L.ReduceLROnPlateau(o, factor=1.0),
        lambda: L.ReduceLROnPlateau(o, mode="best"),
    ):
        with pytest.raises(ValueError):
            call()
    with pytest.raises(TypeError):
        L.StepLR(nn.Linear(1, 1), 1)
    with pytest.raises(KeyError):
        L.StepLR(make_optimizer(tercel, optim, "sgd"), 1, last_epoch=3)
    s = L.OneCycleLR(o, 0.1, total_steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        s.step()
        s.step()
        with pytest.raises(ValueError, match="total steps"):
            s.step()
