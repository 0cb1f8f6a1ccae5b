"""nn.init: distributions, bounds, structure, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tercel
from tercel import nn
from tercel.nn import init


def values(t):
    return np.array(t.detach().numpy(), dtype=np.float64)


def test_fills_in_place_without_gradient():
    for fill in (
        init.uniform_,
        init.normal_,
        init.ones_,
        init.zeros_,
        init.eye_,
        init.xavier_uniform_,
        init.xavier_normal_,
        init.kaiming_uniform_,
        init.kaiming_normal_,
        init.orthogonal_,
        init.trunc_normal_,
        lambda t: init.constant_(t, 3.0),
        lambda t: init.sparse_(t, 0.5),
    ):
        p = nn.Parameter(tercel.full((6, 5), 9.0))
        assert fill(p) is p
        assert p.requires_grad and p.is_leaf and not (values(p) == 9).all()


def test_moments_and_bounds():
    tercel.manual_seed(1)
    shape, fan_in, fan_out = (200, 100, 3, 3), 900, 1800
    w = tercel.empty(shape)
    for fill, std in (
        (lambda: init.normal_(w, 1.0, 2.0), 2.0),
        (lambda: init.uniform_(w, -3, 3), 3 / math.sqrt(3)),
        (lambda: init.xavier_uniform_(w, 2.0), 2 * math.sqrt(2 / (fan_in + fan_out))),
        (lambda: init.xavier_normal_(w), math.sqrt(2 / (fan_in + fan_out))),
        (lambda: init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(2 / fan_in)),
        (
            lambda: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
            math.sqrt(2 / fan_out),
        ),
        (lambda: init.kaiming_normal_(w, a=math.sqrt(5)), math.sqrt(2 / 6 / fan_in)),
    ):
        fill()
        assert abs(values(w).std() / std - 1) < 0.02
    bound = math.sqrt(6 / fan_in)
    init.kaiming_uniform_(w, nonlinearity="relu")
    assert np.abs(values(w)).max() <= bound * 1.0001
    init.trunc_normal_(w, 0.0, 1.0, -1.0, 2.0)
    v = values(w)
    assert (
        v.min() >= -1 and v.max() <= 2 and abs(v.mean() - 0.2296) < 0.02
    )  # (phi(-1) - phi(2)) / (Phi(2) - Phi(-1))


def test_structure():
    assert (values(init.eye_(tercel.empty(3, 4))) == np.eye(3, 4)).all()
    w = tercel.randn(4, 2, 3, 3)
    x = tercel.randn(1, 2, 5, 5)
    out = tercel._core.conv2d(x, init.dirac_(w), None, 1, 1)
    np.testing.assert_allclose(values(out)[:, :2], values(x))
    assert np.abs(values(out)[:, 2:]).max() == 0
    assert values(init.dirac_(tercel.randn(4, 2, 3), groups=2)).sum() == 4
    s = values(init.sparse_(tercel.empty(10, 5), 0.3, std=1.0))
    assert ((s == 0).sum(0) == 3).all()


@pytest.mark.parametrize("shape", [(5, 5), (70, 40), (40, 70), (8, 3, 3, 3)])
def test_orthogonal(shape):
    w = values(init.orthogonal_(tercel.empty(shape), gain=2.0)).reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_delta_orthogonal_keeps_the_norm():
    w = init.delta_orthogonal_(tercel.empty(8, 4, 3, 3))
    v = values(w)
    assert np.abs(v).sum() == pytest.approx(np.abs(v[:, :, 1, 1]).sum())
    np.testing.assert_allclose(v[:, :, 1, 1].T @ v[:, :, 1, 1], np.eye(4), atol=1e-5)


def test_gains_equal_torch():
    torch = pytest.importorskip("torch")
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert init.calculate_gain(name) == pytest.approx(
            torch.nn.init.calculate_gain(name), rel=1e-15
        )
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3)
    )


def test_same_seed_same_numbers():
    a = nn.Linear(20, 30)
    tercel.manual_seed(5)
    a.reset_parameters()
    tercel.manual_seed(5)
    b = nn.Linear(20, 30)
    assert tercel.equal(a.weight, b.weight) and tercel.equal(a.bias, b.bias)
    g = tercel.Generator().manual_seed(3)
    h = tercel.Generator().manual_seed(3)
    assert tercel.equal(
        init.normal_(tercel.empty(9), generator=g), init.normal_(tercel.empty(9), generator=h)
    )


def test_errors():
    for call in (
        lambda: init.xavier_uniform_(tercel.empty(3)),
        lambda: init.kaiming_uniform_(tercel.empty(3)),
        lambda: init.kaiming_uniform_(tercel.empty(3, 3), mode="fan"),
        lambda: init.calculate_gain("nothing"),
        lambda: init.calculate_gain("leaky_relu", True),
        lambda: init.eye_(tercel.empty(3)),
        lambda: init.dirac_(tercel.empty(3, 3)),
        lambda: init.dirac_(tercel.empty(3, 3, 3), groups=2),
        lambda: init.dirac_(tercel.empty(3, 3, 3), groups=0),
        lambda: init.orthogonal_(tercel.empty(3)),
        lambda: init.sparse_(tercel.empty(3), 0.1),
        lambda: init.sparse_(tercel.empty(3, 3), 1.1),
        lambda: init.trunc_normal_(tercel.empty(3), std=0.0),
        lambda: init.trunc_normal_(tercel.empty(3), a=1, b=0),
        lambda: init.delta_orthogonal_(tercel.empty(2, 3, 3)),
    ):
        with pytest.raises(ValueError):
            call()
    init.kaiming_uniform_(tercel.empty(0, 3))  # nothing to fill
