"""Norms: accuracy far from zero, running statistics, batch independence, fused backward, errors."""

import numpy as np
import pytest

import tercel
from tercel.testing import bits

F = tercel.nn.functional


def tensor(a, dtype=tercel.float32, requires_grad=False):
    return tercel.from_numpy(np.ascontiguousarray(a)).to(dtype).requires_grad_(requires_grad)


def normalised(x, axes, eps=1e-5):
    d = x - x.mean(axis=axes, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=axes, keepdims=True) + eps)


@pytest.mark.parametrize("offset", [0.0, 1e4, -3e5])
def test_a_large_mean_loses_no_accuracy(offset, isa_levels):
    """One-pass sums of squares would lose every digit here."""
    x = (np.random.default_rng(0).standard_normal((6, 4, 768)) + offset).astype(np.float32)
    wide = x.astype(np.float64)
    # An input near `offset` is itself known to eps * offset only; d = x - mean is exact beyond that.
    bound = 1e-5 + 4 * 2.0**-24 * abs(offset)
    for level in isa_levels:
        tercel.set_isa(level)
        t = tensor(x)
        got = F.layer_norm(t, (768,)).double().numpy()
        assert np.abs(got - normalised(wide, 2)).max() <= bound
        got = F.group_norm(t, 2).double().numpy()
        want = normalised(wide.reshape(6, 2, -1), 2).reshape(wide.shape)
        assert np.abs(got - want).max() <= bound
        got = F.batch_norm(t, None, None, training=True).double().numpy()
        assert np.abs(got - normalised(wide, (0, 2))).max() <= bound
        got = F.instance_norm(t).double().numpy()
        assert np.abs(got - normalised(wide, 2)).max() <= bound


@pytest.mark.parametrize("n", [128, 768, 1031, 140_000])
@pytest.mark.parametrize("offset", [3.0, 1e4, 1e30])
def test_rows_unlike_the_sample_that_centres_them(n, offset, isa_levels):
    """The kernels guess a mean from elements at each quarter of a row."""
    x = np.random.default_rng(9).standard_normal((5, n))
    for start in range(0, n, 16384 if n > 131072 else n):
        length = min(16384 if n > 131072 else n, n - start)
        for quarter in range(4):
            first = start + quarter * (length // 4)
            x[1, first : first + 16] += offset
            x[2, first : first + 16] *= offset
    x[3] *= offset
    x = x.astype(np.float32)
    want = normalised(x.astype(np.float64), 1)
    rows = [0, 1, 2, 3, 4] if offset < 1e30 else [0, 4]  # otherwise squares overflow float32
    outputs = []
    for level in isa_levels:
        tercel.set_isa(level)
        outputs.append(F.layer_norm(tensor(x), (n,)))
        assert np.abs(outputs[-1].double().numpy() - want)[rows].max() <= 2e-5
        assert not outputs[-1].isnan().any().item()
    assert all(bits(o) == bits(outputs[-1]) for o in outputs[1:])


@pytest.mark.parametrize("dtype", [tercel.float16, tercel.bfloat16])
def test_sixteen_bit_inputs_do_not_overflow(dtype):
    x = np.random.default_rng(1).uniform(-6e4, 6e4, (3, 513))
    t = tensor(x, dtype)
    wide = t.double().numpy()
    ulp = 2.0**-10 if dtype == tercel.float16 else 2.0**-7
    rms = wide / np.sqrt((wide * wide).mean(axis=1, keepdims=True))
    assert np.abs(F.rms_norm(t, (513,)).double().numpy() - rms).max() <= 2 * ulp
    got = F.layer_norm(t, (513,)).double().numpy()
    assert np.abs(got - normalised(wide, 1)).max() <= 2 * ulp


def test_running_statistics_follow_the_unbiased_variance():
    x = np.random.default_rng(2).standard_normal((5, 3, 7)) * 2 + 1
    mean, var = tensor(np.full(3, 0.5)), tensor(np.full(3, 2.0))
    F.batch_norm(tensor(x), mean, var, training=True, momentum=0.25)
    flat = tensor(x).double().numpy().transpose(1, 0, 2).reshape(3, -1)
    assert np.allclose(mean.numpy(), 0.75 * 0.5 + 0.25 * flat.mean(1), rtol=1e-6)
    assert np.allclose(var.numpy(), 0.75 * 2.0 + 0.25 * flat.var(1, ddof=1), rtol=1e-6)
    before = mean.numpy().copy(), var.numpy().copy()
    F.batch_norm(tensor(x), mean, var, training=False)
    assert (mean.numpy() == before[0]).all() and (var.numpy() == before[1]).all()


def test_cumulative_average_and_the_counter():
    layer = tercel.nn.BatchNorm1d(2, momentum=None)
    rows = [np.random.default_rng(i).standard_normal((8, 2)) + i for i in range(3)]
    for x in rows:
        layer(tensor(x))
    assert layer.num_batches_tracked.item() == 3
    want = np.mean([x.mean(axis=0) for x in rows], axis=0)
    assert np.allclose(layer.running_mean.numpy(), want, atol=1e-6)
    layer.eval()
    layer(tensor(rows[0]))
    assert layer.num_batches_tracked.item() == 3


@pytest.mark.parametrize("n", [1, 15, 16, 17, 64, 1000, 4099])
def test_a_row_does_not_depend_on_the_others(n):
    x = tensor(np.random.default_rng(3).standard_normal((37, n)))
    for f in (lambda t: F.layer_norm(t, (n,)), lambda t: F.rms_norm(t, (n,))):
        whole = f(x)
        for i in (0, 5, 36):
            assert bits(f(x[i : i + 1])[0]) == bits(whole[i])


def test_the_fused_backward_equals_the_formula():
    """dx = (w g - mean(w g) - y mean(w g y)) / sigma, dw = sum g y, db = sum g."""
    rng = np.random.default_rng(4)
    x, w, b, g = (rng.standard_normal(s) for s in ((9, 130), (130,), (130,), (9, 130)))
    t, weight, bias = (tensor(a, tercel.float64, True) for a in (x, w, b))
    F.layer_norm(t, (130,), weight, bias).backward(tensor(g, tercel.float64))
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    y, wg = normalised(x, 1), g * w
    dx = (wg - wg.mean(1, keepdims=True) - y * (wg * y).mean(1, keepdims=True)) / sigma
    assert np.allclose(t.grad.numpy(), dx, atol=1e-12)
    assert np.allclose(weight.grad.numpy(), (g * y).sum(0), atol=1e-12)
    assert np.allclose(bias.grad.numpy(), g.sum(0), atol=1e-12)


def test_only_the_gradients_that_are_asked_for():
    x = tensor(np.random.default_rng(5).standard_normal((4, 6)))
    w = tercel.ones(6, requires_grad=True)
    F.layer_norm(x, (6,), w).sum().backward()
    assert x.grad is None and w.grad.shape == (6,)
    x = x.detach().requires_grad_()
    F.rms_norm(x, (6,), w.detach()).sum().backward()
    assert x.grad.shape == (4, 6)


def test_constant_rows_and_special_values():
    x = tercel.full((2, 33), 7.0)
    assert F.layer_norm(x, (33,)).abs().max().item() == 0
    x[0, 3] = float("nan")
    y = F.layer_norm(x, (33,))
    assert y[0].isnan().all().item() and not y[1].isnan().any().item()
    assert F.layer_norm(tercel.ones(0, 5), (5,)).shape == (0, 5)
    assert F.rms_norm(tercel.zeros(2, 4), (4,)).tolist() == [[0.0] * 4] * 2


def test_errors():
    x = tercel.ones(2, 6)
    for call, words in [
        (lambda: F.layer_norm(x, (5,)), "layer_norm"),
        (lambda: F.layer_norm(x, ()), "layer_norm"),
        (lambda: F.layer_norm(x, (6,), tercel.ones(5)), "layer_norm"),
        (lambda: F.rms_norm(x, (3, 6)), "rms_norm"),
        (lambda: F.group_norm(x, 4), "group_norm"),
        (lambda: F.group_norm(x, 0), "group_norm"),
        (lambda: F.batch_norm(x, None, None), "batch_norm"),
        (lambda: F.batch_norm(x, tercel.ones(5), tercel.ones(5)), "batch_norm"),
        (lambda: F.batch_norm(tercel.ones(1, 3), None, None, training=True), "batch_norm"),
    ]:
        with pytest.raises((RuntimeError, ValueError), match=words):
            call()


@pytest.mark.parametrize("shape", [(5, 7), (9, 64), (6, 768), (3, 1100), (2, 200_000)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_a_norm_after_an_addition_has_the_bits_of_the_two_calls(shape, dtype):
    t, n = getattr(tercel, dtype), shape[-1]
    x, r = (tercel.randn(*shape).to(t) for _ in "xr")
    w, b = tercel.randn(n).to(t), tercel.randn(n).to(t)
    y, s = tercel.add_layer_norm(x, r, (n,), w, b)
    assert tercel.equal(s, x + r) and tercel.equal(y, tercel.layer_norm(x + r, (n,), w, b))
    y, s = tercel.add_rms_norm(x.t().contiguous().t(), r, (n,), w)
    assert tercel.equal(s, x + r) and tercel.equal(y, tercel.rms_norm(x + r, (n,), w))


def test_gradients_of_a_norm_after_an_addition_meet_in_the_sum():
    leaves = [tercel.randn(4, 6, requires_grad=True) for _ in range(2)]
    w = tercel.randn(6, requires_grad=True)
    y, s = tercel.add_rms_norm(*leaves, (6,), w)
    found = tercel.autograd.grad((y * 2).sum() + (s * s).sum(), [*leaves, w])
    s = leaves[0] + leaves[1]
    y = tercel.rms_norm(s, (6,), w)
    wanted = tercel.autograd.grad((y * 2).sum() + (s * s).sum(), [*leaves, w])
    for a, b in zip(found, wanted, strict=True):
        assert tercel.equal(a, b)
    with pytest.raises(
        ValueError, match=r"add_rms_norm: residual must have the input's shape \[4, 6\]"
    ):
        tercel.add_rms_norm(leaves[0], leaves[1][:3], (6,))
    with pytest.raises(TypeError, match="residual must have the input's dtype"):
        tercel.add_layer_norm(leaves[0], leaves[1].double(), (6,))


def test_group_norm_layer_without_bias():
    layer = tercel.nn.GroupNorm(2, 4, bias=False)
    assert list(layer.state_dict()) == ["weight"] and layer.bias is None
    x = tercel.randn(3, 4, 5)
    assert layer(x).tolist() == tercel.nn.functional.group_norm(x, 2).tolist()
