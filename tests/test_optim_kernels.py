"""Fused optimizer steps: float64 formulas, 16-bit parameters, layouts, bits, list operations."""

import math

import numpy as np
import pytest

import tercel
from tercel import _core
from tercel.testing import bits

SIZES = [(1,), (17,), (33, 65), (0, 3), (), (70_001,)]


def lists(dtype, count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        [tercel.tensor(rng.standard_normal(s), dtype=dtype) for s in SIZES] for _ in range(count)
    ]


def adam_reference(p, g, m, v, top, step, lr, b1, b2, eps, decay, amsgrad, decoupled, maximize):
    g = -g if maximize else g
    if decoupled:
        p = p * (1 - lr * decay)
    else:
        g = g + decay * p
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    top = np.maximum(top, v)
    second = top if amsgrad else v
    update = m / (1 - b1**step) / (np.sqrt(second / (1 - b2**step)) + eps)
    return p - lr * update, m, v, top


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_adam_equals_the_formula(amsgrad, decoupled, maximize, isa):
    params, m, v, top = lists(tercel.float32, 4)
    v, top = [x.abs() for x in v], [x.abs() for x in top]
    steps = [tercel.zeros(()) for _ in params]
    state = [[x.double().numpy() for x in xs] for xs in (params, m, v, top)]
    for step in (1, 2, 3):
        (grads,) = lists(tercel.float32, 1, seed=step)
        _core._adam_step(
            params, grads, m, v, top if amsgrad else [], steps, 0.05, 0.8, 0.95, 1e-6, 0.1,
            amsgrad, decoupled, maximize,
        )  # fmt: skip
        for i, g in enumerate(grads):
            old = [s[i] for s in state]
            new = adam_reference(
                *old[:1], g.double().numpy(), *old[1:], step, 0.05, 0.8, 0.95, 1e-6, 0.1,
                amsgrad, decoupled, maximize,
            )  # fmt: skip
            for s, x in zip(state, new, strict=True):
                s[i] = x
    assert [s.item() for s in steps] == [3.0] * len(steps)
    for ours, want in ((params, state[0]), (m, state[1]), (v, state[2])):
        for x, y in zip(ours, want, strict=True):
            # Three steps of a few roundings each on values near 1.
            assert np.allclose(x.double().numpy(), y, rtol=2e-6, atol=2e-6)


def test_steps_have_the_same_bits_for_any_threads_and_level(threads, isa_levels):
    seen = set()
    for level in isa_levels:
        if level == "generic":
            continue
        for n in (1, 2, 3):
            tercel.set_isa(level)
            threads(n)
            params, grads, m, v = lists(tercel.float32, 4)
            v = [x.abs() for x in v]
            steps = [tercel.zeros(()) for _ in params]
            _core._adam_step(params, grads, m, v, [], steps, 0.1)
            buffers = [p.clone() for p in m]
            _core._sgd_step(params, grads, buffers, [], 0.1, 0.01, 0.9, 0.1, True, False)
            seen.add(tuple(bits(x) for x in (*params, *m, *v, *buffers)))
    assert len(seen) <= 1


@pytest.mark.parametrize("dtype", [tercel.bfloat16, tercel.float16])
def test_sixteen_bit_parameters_keep_float32_states(dtype):
    """One rounding per step, of the parameter; the states lose nothing."""
    (params,) = lists(dtype, 1)
    (grads,) = lists(dtype, 1, seed=1)
    m, v = ([tercel.zeros(*p.shape) for p in params] for _ in range(2))
    steps = [tercel.zeros(()) for _ in params]
    before = [p.double().numpy() for p in params]
    _core._adam_step(params, grads, m, v, [], steps, 0.125)
    ulp = 2.0**-8 if dtype == tercel.bfloat16 else 2.0**-11
    for p, old, g, state in zip(params, before, grads, m, strict=True):
        g = g.double().numpy()
        assert np.allclose(state.double().numpy(), 0.1 * g, rtol=1e-6)
        want = old - 0.125 * np.sign(g)  # the first step has length lr
        error = np.abs(p.double().numpy() - want)
        assert (error <= ulp * np.maximum(np.abs(want), 2.0**-14) + 1e-5).all()


def test_transposed_parameters_and_gradients():
    base, grad = np.random.default_rng(0).standard_normal((2, 30, 40))
    results = []
    for flip_p, flip_g in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        p, g = (
            tercel.tensor(a.T if f else a, dtype=tercel.float32).t() if f
            else tercel.tensor(a, dtype=tercel.float32)
            for a, f in ((base, flip_p), (grad, flip_g))
        )  # fmt: skip
        m, v = tercel.zeros_like(p), tercel.zeros_like(p)
        _core._adam_step([p], [g], [m], [v], [], [tercel.zeros(())], 0.1)
        _core._sgd_step([p], [g], [], [], 0.1)
        results.append(p.contiguous().numpy().tobytes())
    assert len(set(results)) == 1


def test_clip_grad_norm(isa):
    grads = lists(tercel.float32, 1)[0]
    flat = np.concatenate([g.double().numpy().reshape(-1) for g in grads])
    for order in (2.0, 1.0, math.inf, 3.0):
        copies = [g.clone() for g in grads]
        want = np.linalg.norm(flat, order)
        got = _core.clip_grad_norm_(copies, want / 4, order)
        assert abs(got.item() - want) <= 2e-6 * want
        after = np.concatenate([g.double().numpy().reshape(-1) for g in copies])
        assert np.allclose(after, flat / 4, rtol=3e-6)
        same = [g.clone() for g in grads]
        _core.clip_grad_norm_(same, 10 * want, order)
        assert all(bits(a) == bits(b) for a, b in zip(same, grads, strict=True))


def test_clip_grad_norm_of_huge_and_broken_gradients():
    huge = [tercel.full((5,), 3e38)]
    assert abs(_core.clip_grad_norm_(huge, 1.0, 1.0).item()) == math.inf
    broken = [tercel.tensor([1.0, math.nan]), tercel.ones(3)]
    with pytest.raises(RuntimeError, match="not finite"):
        _core.clip_grad_norm_(broken, 1.0, error_if_nonfinite=True)
    assert broken[1].tolist() == [1.0] * 3
    assert _core.clip_grad_norm_([], 1.0).item() == 0.0


def test_errors_leave_everything_as_it_was():
    p, g, m = tercel.ones(3), tercel.ones(3), tercel.zeros(3)
    state = dict(lr=0.1)
    for call in [
        lambda: _core._sgd_step([p], [], [], [], 0.1),
        lambda: _core._sgd_step([p], [tercel.ones(4)], [], [], 0.1),
        lambda: _core._sgd_step([p], [tercel.ones(3, dtype=tercel.float64)], [], [], 0.1),
        lambda: _core._sgd_step([p], [g], [m, m], [], 0.1, momentum=0.9),
        lambda: _core._adam_step([p], [g], [m], [], [], [tercel.zeros(())], **state),
        lambda: _core._adam_step([p], [g], [m], [tercel.zeros(2)], [], [tercel.zeros(())], **state),
        lambda: _core._adam_step([p], [g], [m], [tercel.zeros(3)], [], [], **state),
        lambda: _core._sgd_step([tercel.ones(3, dtype=tercel.int64)], [g], [], [], 0.1),
    ]:
        with pytest.raises((RuntimeError, ValueError, TypeError)):
            call()
    assert p.tolist() == [1.0] * 3 and m.tolist() == [0.0] * 3
