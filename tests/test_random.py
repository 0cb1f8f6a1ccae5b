"""Random numbers: a function of seed and call only, with the documented layout and the right moments."""

import numpy as np
import pytest

import tercel


def philox(seed, counter):
    """Philox4x32-10 of a 64-bit counter, in plain Python."""
    mask = 0xFFFFFFFF
    c = [counter & mask, counter >> 32, 0, 0]
    k = [seed & mask, seed >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def words(seed, n):
    """The 32-bit word of each of n elements (ops/random/random_kernels.h)."""
    return [philox(seed, 16 * (i // 64) + i % 16)[i % 64 // 16] for i in range(n)]


def test_uniform_layout():
    tercel.manual_seed(1234)
    got = tercel.rand(150).numpy()
    want = np.array([w >> 8 for w in words(1234, 150)], np.float64) * 2.0**-24
    assert np.array_equal(got, want.astype(np.float32))


def test_normal_layout():
    tercel.manual_seed(99)
    got = tercel.randn(128).numpy().astype(np.float64)
    want = np.empty(128)
    for i in range(128):
        w = philox(99, 16 * (i // 64) + i % 16)
        pair = i % 64 // 32 * 2
        u = (float(np.float32(w[pair] >> 1)) + 0.5) * 2.0**-31
        angle = 2 * np.pi * w[pair + 1] / 2.0**32
        want[i] = np.sqrt(-2 * np.log(u)) * (np.sin(angle) if i % 32 >= 16 else np.cos(angle))
    assert np.abs(got - want).max() < 2e-6


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_moments_and_range(dtype):
    tercel.manual_seed(5)
    n = 200_000
    t = getattr(tercel, dtype)
    u = tercel.rand(n, dtype=t).double().numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.005
    z = tercel.randn(n, dtype=t).double().numpy()
    assert abs(z.mean()) < 0.01 and abs(z.var() - 1) < 0.02 and abs((z**4).mean() - 3) < 0.1
    v = tercel.empty(n, dtype=t).uniform_(-3, 5).double().numpy()
    assert v.min() >= -3 and v.max() < 5
    e = tercel.empty(n, dtype=t).exponential_(2.0).double().numpy()
    assert e.min() >= 0 and abs(e.mean() - 0.5) < 0.01


def draws():
    tercel.manual_seed(7)
    return [
        tercel.randn(100_003),
        tercel.rand(70_001, dtype=tercel.float64),
        tercel.randint(0, 1000, (50_000,)),
        tercel.randperm(30_000),
        tercel.empty(20_000).bernoulli_(0.3),
        tercel.empty(1000).cauchy_(),
        tercel.poisson(tercel.full((500,), 20.0)),
        tercel.multinomial(tercel.arange(1.0, 50.0), 20),
    ]


def test_same_bits_for_any_thread_count():
    before = tercel.get_num_threads()
    try:
        tercel.set_num_threads(1)
        one = draws()
        tercel.set_num_threads(3)
        three = draws()
    finally:
        tercel.set_num_threads(before)
    for a, b in zip(one, three):
        assert np.array_equal(a.numpy(), b.numpy())


def test_layout_does_not_depend_on_strides():
    tercel.manual_seed(2)
    a = tercel.empty(6, 5).normal_()
    tercel.manual_seed(2)
    b = tercel.empty(5, 6).t().normal_()
    assert np.array_equal(a.numpy(), b.numpy())


def test_generator_argument_is_independent_of_the_default():
    g = tercel.Generator().manual_seed(3)
    first = tercel.randn(10, generator=g)
    tercel.randn(100)
    second = tercel.randn(10, generator=g)
    g.manual_seed(3)
    assert np.array_equal(tercel.randn(10, generator=g).numpy(), first.numpy())
    assert np.array_equal(tercel.randn(10, generator=g).numpy(), second.numpy())


def test_state_round_trip():
    tercel.manual_seed(11)
    tercel.randn(37)
    state = tercel.get_rng_state()
    a = tercel.randn(50)
    tercel.set_rng_state(state)
    assert np.array_equal(tercel.randn(50).numpy(), a.numpy())


def test_integers_and_permutations():
    tercel.manual_seed(0)
    x = tercel.randint(-3, 4, (70_000,)).numpy()
    counts = np.bincount(x + 3)
    assert len(counts) == 7 and abs(counts / 10_000 - 1).max() < 0.05
    for n in (0, 1, 2, 1000, 20_000):
        assert np.array_equal(np.sort(tercel.randperm(n).numpy()), np.arange(n))
    assert tercel.randint(0, 256, (10,), dtype=tercel.uint8).dtype == tercel.uint8


def test_multinomial_frequencies():
    tercel.manual_seed(0)
    p = tercel.tensor([1.0, 0.0, 3.0, 6.0])
    x = tercel.multinomial(p, 50_000, replacement=True).numpy()
    assert np.abs(np.bincount(x, minlength=4) / 50_000 - [0.1, 0, 0.3, 0.6]).max() < 0.01
    rows = tercel.multinomial(tercel.ones(200, 5), 5).numpy()
    assert (np.sort(rows, 1) == np.arange(5)).all()
    first = tercel.multinomial(p.expand(20_000, 4), 2).numpy()[:, 0]
    assert abs((first == 3).mean() - 0.6) < 0.02


def test_normal_gradient():
    mean, std = tercel.zeros(5, requires_grad=True), tercel.ones(5, requires_grad=True)
    z = tercel.normal(mean, std)
    z.backward(tercel.ones(5))
    assert np.array_equal(mean.grad.numpy(), np.ones(5, np.float32))
    assert np.allclose(std.grad.numpy(), z.detach().numpy())


@pytest.mark.parametrize(
    "call,error",
    [
        (lambda: tercel.rand(2, dtype=tercel.int64), TypeError),
        (lambda: tercel.randint(5, 5, (2,)), ValueError),
        (lambda: tercel.randint(0, 300, (2,), dtype=tercel.uint8), OverflowError),
        (lambda: tercel.randperm(-1), ValueError),
        (lambda: tercel.randn(-1), ValueError),
        (lambda: tercel.randn(1 << 62, 4), (OverflowError, MemoryError)),
        (lambda: tercel.bernoulli(tercel.tensor([1.5])), ValueError),
        (lambda: tercel.bernoulli(tercel.tensor([float("nan")])), ValueError),
        (lambda: tercel.multinomial(tercel.tensor([0.0, 0.0]), 1), ValueError),
        (lambda: tercel.multinomial(tercel.tensor([1.0, -1.0]), 1), ValueError),
        (lambda: tercel.multinomial(tercel.tensor([1.0, 0.0]), 2), ValueError),
        (lambda: tercel.empty(3).normal_(0, -1), ValueError),
        (lambda: tercel.empty(3).exponential_(0), ValueError),
        (lambda: tercel.empty(3).geometric_(0), ValueError),
        (lambda: tercel.empty(3).uniform_(2, 1), ValueError),
        (lambda: tercel.poisson(tercel.tensor([-1.0])), ValueError),
        (lambda: tercel.zeros(3).expand(4, 3).normal_(), RuntimeError),
        (lambda: tercel.zeros(3, requires_grad=True).normal_(), RuntimeError),
    ],
)
def test_errors(call, error):
    with pytest.raises(error):
        call()
