"""Differences and statistics: errors, and samples that no oracle can tell one by one."""

import numpy as np
import pytest

import tercel

F = tercel.nn.functional


def test_gumbel_softmax_draws_categories_with_their_probabilities():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    logits = tercel.tensor(np.log(p), dtype=tercel.float32).expand(40_000, 4)
    y = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert ((y == 0) | (y == 1)).all().item() and (y.sum(1) == 1).all().item()
    counts = y.sum(0).numpy()
    assert (np.abs(counts - 40_000 * p) < 6 * np.sqrt(40_000 * p * (1 - p))).all()
    soft = F.gumbel_softmax(logits, tau=2.0)
    assert abs(soft.sum(1) - 1).max().item() < 1e-5 and (soft > 0).all().item()


def test_gumbel_softmax_hard_has_the_gradient_of_soft():
    logits = tercel.randn(5, 7, requires_grad=True)
    weights = tercel.randn(5, 7)
    grads = []
    for hard in (False, True):
        tercel.manual_seed(3)
        (F.gumbel_softmax(logits, hard=hard) * weights).sum().backward()
        grads.append(logits.grad.numpy().copy())
        logits.grad = None
    assert (grads[0] == grads[1]).all()


def test_pooling_with_random_borders_reaches_every_element():
    x = tercel.arange(100, dtype=tercel.float32).view(1, 1, 10, 10)
    y, places = F.fractional_max_pool2d(x, 2, (7, 7), return_indices=True)
    assert (x.flatten()[places.flatten()] == y.flatten()).all().item()
    assert y[0, 0, -1, -1].item() == 99
    tercel.manual_seed(1)
    first = F.fractional_max_pool2d(x, 2, (7, 7))
    tercel.manual_seed(1)
    assert tercel.equal(F.fractional_max_pool2d(x, 2, (7, 7)), first)


def test_in_place_functions():
    x = tercel.tensor([-1.0, 2.0])
    assert tercel.abs_(x) is x and x.tolist() == [1, 2]
    assert F.threshold_(x, 1.5, 0.0) is x and x.tolist() == [0, 2]
    with pytest.raises(AttributeError, match="no attribute"):
        tercel.nothing_


def test_errors():
    x = tercel.ones(2, 3)
    for call, words in [
        (lambda: tercel.diff(tercel.tensor(1.0)), "diff"),
        (lambda: tercel.diff(x, -1), "diff"),
        (lambda: tercel.diff(x, 1, 2), "diff"),
        (lambda: tercel.trapezoid(x, tercel.ones(4)), "trapezoid"),
        (lambda: tercel.cross(x, tercel.ones(2, 4)), "broadcast"),
        (lambda: tercel.cross(tercel.ones(2), tercel.ones(2)), "cross"),
        (lambda: tercel.renorm(x, 0, 0, 1.0), "renorm"),
        (lambda: tercel.renorm(x, 2, 0, -1.0), "renorm"),
        (lambda: tercel.cov(tercel.ones(2, 2, 2)), "cov"),
        (lambda: tercel.cov(x, fweights=tercel.ones(3)), "cov"),
        (lambda: tercel.cov(x, aweights=tercel.ones(2)), "cov"),
        (lambda: tercel.pdist(tercel.ones(3)), "pdist"),
        (lambda: F.gumbel_softmax(x, tau=0), "gumbel_softmax"),
        (lambda: tercel.unravel_index(tercel.tensor([6]), (2, 3)), "unravel_index"),
        (lambda: tercel.vsplit(tercel.ones(3), 1), "vsplit"),
        (lambda: F.fractional_max_pool2d(x[None], 2), "exactly one"),
        (lambda: F.fractional_max_pool2d(x[None], 2, (2, 3)), "no room"),
        (
            lambda: F.fractional_max_pool2d(x[None], 2, (1, 1), _random_samples=tercel.ones(1, 2)),
            "0, 1",
        ),
    ]:
        with pytest.raises((RuntimeError, ValueError, IndexError, TypeError), match=words):
            call()


def test_renorm_in_place():
    x = tercel.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert x.renorm_(2, 0, 1.0) is x
    assert x.tolist() == tercel.tensor([[3.0, 4.0], [0.3, 0.4]]).renorm(2, 0, 1.0).tolist()
