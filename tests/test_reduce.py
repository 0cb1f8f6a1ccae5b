"""Reductions: the numeric contract (N5, N8, N10), special values, named results, errors."""

import math

import numpy as np
import pytest

import tercel
from tercel.testing import bits

EPS = 2.0**-23


def tensor(a, dtype=tercel.float32):
    return tercel.from_numpy(np.ascontiguousarray(a)).to(dtype)


def adversarial(kind, n, rng):
    if kind == "uniform":
        return rng.uniform(0, 1, n)
    if kind == "alternating":
        return rng.uniform(0.5, 1, n) * (1 - 2 * (np.arange(n) % 2))
    x = rng.standard_normal(n)
    x[n // 3] = 1e7
    return x


@pytest.mark.parametrize("kind", ["uniform", "alternating", "one huge"])
@pytest.mark.parametrize("n", [1000, 4096, 10_000, 1_000_000])
def test_sum_error_along_any_axis(kind, n, isa_levels):
    x = adversarial(kind, n, np.random.default_rng(0)).astype(np.float32)
    exact, scale = math.fsum(x.tolist()), np.abs(x.astype(np.float64)).sum()
    for level in isa_levels:
        tercel.set_isa(level)
        row = tensor(x)
        assert abs(row.sum().item() - exact) <= 8 * EPS * scale
        column = row.reshape(n, 1).expand(n, 5).contiguous()
        got = column.sum(0)
        assert abs(got[3].item() - exact) <= 8 * EPS * scale
        assert bits(got[2]) == bits(row.sum())  # one tree for every axis
        assert bits(row.reshape(1, n).sum(1)[0]) == bits(row.sum())
        assert abs(row.mean().item() - exact / n) <= 8 * EPS * scale / n
        square = math.sqrt(float((x.astype(np.float64) ** 2).sum()))
        assert abs(row.norm().item() - square) <= 8 * EPS * square


def test_sum_does_not_depend_on_layout_or_neighbours():
    rng = np.random.default_rng(1)
    x = tensor(rng.standard_normal((37, 5000)))
    want = bits(x.sum(1))
    assert bits(x.t().contiguous().t().sum(1)) == want
    assert bits(x.t().contiguous().sum(0)) == want
    wide = tensor(np.zeros((37, 10_001)))
    wide[:, 1::2] = x
    assert bits(wide[:, 1::2].sum(1)) == want
    for i in (0, 17, 36):
        assert bits(x[i : i + 1].sum(1)[0]) == bits(x.sum(1)[i])
        assert bits(x[i : i + 3].var(1)[0]) == bits(x.var(1)[i])
        assert bits(x[i : i + 3].logsumexp(1)[0]) == bits(x.logsumexp(1)[i])


@pytest.mark.parametrize("shape,dim", [((1_000_000,), 0), ((100_000, 3), 0), ((3, 100_000), 1)])
def test_variance_with_a_large_mean(shape, dim, isa_levels):
    x = (1e4 + np.random.default_rng(2).standard_normal(shape)).astype(np.float32)
    want = x.astype(np.float64).var(axis=dim, ddof=1)
    for level in isa_levels:
        tercel.set_isa(level)
        got = tensor(x).var(dim).double().numpy()
        assert np.abs(got / want - 1).max() <= 1e-6
        std, mean = tercel.std_mean(tensor(x), dim)
        assert np.abs(std.double().numpy() / np.sqrt(want) - 1).max() <= 1e-6
        assert np.abs(mean.double().numpy() / x.astype(np.float64).mean(axis=dim) - 1).max() <= EPS


def test_half_sums_do_not_overflow_or_stall():
    x = tercel.full((70_000,), 1.0, dtype=tercel.float16)
    assert x.mean().item() == 1.0
    assert tercel.full((1000,), 300.0, dtype=tercel.float16).mean().item() == 300.0
    assert tercel.ones(1000, dtype=tercel.bfloat16).sum().item() == 1000.0


def test_integer_sums():
    assert tensor(np.array([250, 250]), tercel.uint8).sum().item() == 500
    assert tensor(np.ones(5), tercel.bool).sum().dtype == tercel.int64
    assert tensor(np.ones(5), tercel.int8).prod().dtype == tercel.int64
    assert tensor(np.arange(5), tercel.int32).sum(dtype=tercel.float32).dtype == tercel.float32
    assert tensor(np.array([2**53 + 1]), tercel.int64).sum().item() == 2**53 + 1


def test_nan_and_infinity():
    nan, inf = math.nan, math.inf
    x = tensor(np.array([[1.0, nan, 3.0, nan], [inf, 1.0, -inf, 0.0]]))
    for f in (tercel.amax, tercel.amin):
        assert math.isnan(f(x, 1)[0].item())
    values, indices = x.max(1)
    assert math.isnan(values[0].item()) and values[1].item() == inf
    assert indices.tolist() == [1, 0] and x.argmax(1).tolist() == [1, 0]
    assert x.min(1).indices.tolist() == [1, 2] and x.t().contiguous().argmin(0).tolist() == [1, 2]
    assert x.argmax().item() == 1
    assert math.isnan(x.sum(1)[1].item()) and math.isnan(x.var(1)[0].item())
    assert x.nansum(1)[0].item() == 4.0 and x.nanmean(1)[0].item() == 2.0
    assert math.isnan(x.median(1).values[0].item()) and x.nanmedian(1).values[0].item() == 1.0
    assert x.cummax(1).indices[0].tolist() == [0, 1, 1, 3]
    assert math.isnan(tercel.quantile(x, 0.5, 1)[0].item())
    assert tercel.nanquantile(x, 0.5, 1)[0].item() == 2.0


@pytest.mark.parametrize("n", [1, 3, 16, 100, 5000])
@pytest.mark.parametrize("position", [0, -1])
def test_one_nan_anywhere_reaches_the_maximum(n, position, isa_levels):
    x = np.random.default_rng(3).standard_normal((n, 3)).astype(np.float32)
    x[position, 1] = math.nan
    for level in isa_levels:
        tercel.set_isa(level)
        for t, dim in ((tensor(x), 0), (tensor(x.T), 1)):
            assert np.isnan(t.amax(dim).numpy()).tolist() == [False, True, False]
            assert np.isnan(t.min(dim).values.numpy()).tolist() == [False, True, False]
            assert t.argmax(dim)[1].item() == (n - 1 if position else 0)


def test_ties_take_the_first_index(isa_levels):
    x = np.zeros((3, 9001), dtype=np.float32)
    x[:, [17, 4500, 9000]] = 1
    for level in isa_levels:
        tercel.set_isa(level)
        assert tensor(x).argmax(1).tolist() == [17] * 3
        assert tensor(x.T).argmax(0).tolist() == [17] * 3
        assert tensor(x).argmin(1).tolist() == [0] * 3
        assert tensor(x, tercel.int32).argmax(1).tolist() == [17] * 3
    assert tensor(x).cummax(1).indices[0, -1].item() == 9000


def test_nothing_to_reduce():
    e = tercel.zeros(0, 3)
    assert e.sum().item() == 0 and e.prod().item() == 1
    assert np.isnan(e.mean(0).numpy()).all() and np.isnan(e.var(0).numpy()).all()
    assert math.isnan(e.mean().item())
    assert e.logsumexp(0).tolist() == [-math.inf] * 3
    assert e.all().item() is True and e.any().item() is False
    assert e.sum(1).shape == (0,)
    assert e.amax(1).shape == (0,)
    for f in (tercel.amax, tercel.argmax, tercel.max, tercel.median):
        with pytest.raises(IndexError, match="zero elements"):
            f(e, 0)
    with pytest.raises(IndexError, match="zero elements"):
        e.max()
    assert math.isnan(tercel.tensor([1.0]).var().item())


def test_named_results():
    x = tercel.tensor([[1.0, 3.0], [5.0, 2.0]])
    r = x.max(0)
    assert r.values.tolist() == [5, 3] and r.indices.tolist() == [1, 0]
    values, indices = tercel.min(x, dim=1, keepdim=True)
    assert values.shape == (2, 1) and indices.dtype == tercel.int64
    assert tercel.max(x, tercel.tensor(2.0)).tolist() == [[2, 3], [5, 2]]
    low, high = tercel.aminmax(x)
    assert (low.item(), high.item()) == (1, 5)
    assert type(r).__name__ == "max"


def test_python_arguments():
    x = tercel.tensor([[1.0, 2.0, 4.0], [1.0, 3.0, 9.0]])
    assert x.sum((0, 1)).item() == x.sum(dim=(0, 1)).item() == 20
    assert tercel.var(x, 0, False).tolist() == [0, 0.25, 6.25]
    assert tercel.var(x, 0, unbiased=True).tolist() == tercel.var(x, dim=0, correction=1).tolist()
    assert x.std(unbiased=False).item() == pytest.approx(np.std([1, 2, 4, 1, 3, 9]))
    assert x.norm("fro").item() == x.norm().item() == pytest.approx(math.sqrt(112))
    assert x.norm(math.inf, dim=1).tolist() == [4, 9]
    out = tercel.empty(3)
    assert tercel.sum(x, 0, out=out) is out and out.tolist() == [2, 5, 13]
    assert x.quantile(tercel.tensor([0.0, 1.0]), dim=1).tolist() == [[1, 1], [4, 9]]


def test_errors_name_the_op():
    x = tercel.zeros(2, 3)
    with pytest.raises(IndexError, match="sum"):
        x.sum(2)
    with pytest.raises((ValueError, RuntimeError), match="sum"):
        x.sum((0, 0))
    with pytest.raises(TypeError, match=r"mean.*int64"):
        x.long().mean()
    with pytest.raises(TypeError, match="var"):
        x.long().var()
    with pytest.raises(ValueError, match=r"sum: out must have shape \[3\]"):
        tercel.sum(x, 0, out=tercel.empty(2))
    with pytest.raises(ValueError, match=r"quantile: q must be in \[0, 1\]"):
        x.quantile(1.5)
    with pytest.raises(ValueError, match="interpolation"):
        x.quantile(0.5, interpolation="cubic")


def test_cumulative_sum_is_as_good_as_float64():
    x = np.random.default_rng(5).uniform(0, 1, 300_000).astype(np.float32)
    want = np.cumsum(x.astype(np.float64))
    got = tensor(x).cumsum(0).double().numpy()
    assert np.abs(got / want - 1).max() <= EPS / 2 * 1.0001
    assert bits(tensor(x).reshape(-1, 1).expand(-1, 3).contiguous().cumsum(0)[:, 1]) == bits(
        tensor(x).cumsum(0)
    )


def test_norm_gradient_at_zero_is_zero():
    x = tercel.zeros(4, requires_grad=True)
    x.norm().backward()
    assert x.grad.tolist() == [0, 0, 0, 0]
    y = tercel.ones(4, requires_grad=True)
    y.std().backward()
    assert y.grad.tolist() == [0, 0, 0, 0]


def test_against_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    a = rng.standard_normal((6, 50)).astype(np.float32)
    a[rng.integers(0, 6, 8), rng.integers(0, 50, 8)] = np.nan
    x, y = tensor(a), torch.from_numpy(a)
    for name in ("amax", "amin", "argmax", "argmin", "nansum", "any", "all", "count_nonzero"):
        for dim in (0, 1):
            np.testing.assert_array_equal(
                getattr(x, name)(dim).numpy(), getattr(y, name)(dim).numpy(), name
            ) if name != "nansum" else np.testing.assert_allclose(
                x.nansum(dim).numpy(), y.nansum(dim).numpy(), 1e-5
            )
    for name in ("max", "min", "cummax", "cummin"):
        for dim in (0, 1):
            ours, theirs = getattr(x, name)(dim), getattr(y, name)(dim)
            np.testing.assert_array_equal(ours.values.numpy(), theirs.values.numpy(), name)
            np.testing.assert_array_equal(ours.indices.numpy(), theirs.indices.numpy(), name)


def test_dtype_is_that_of_the_elements():
    x = tercel.tensor([0.25, -0.5])
    assert x.sum(dtype=tercel.bool).item() is True and x.prod(dtype=tercel.bool).item() is True
    assert tercel.zeros(2).sum(dtype=tercel.bool).item() is False
    y = tercel.tensor([1.5, float("nan"), 2.5])
    total = y.nansum(dtype=tercel.int32)
    assert total.dtype is tercel.int32 and total.item() == 3


def test_extreme_of_a_tensor_and_a_0d_integer_tensor():
    x = tercel.tensor([[1, 5], [3, 2]])
    assert tercel.max(x, tercel.tensor(2)).tolist() == [[2, 5], [3, 2]]
    assert x.min(tercel.tensor(0)).tolist() == [[0, 0], [0, 0]]
    assert x.max(0).values.tolist() == [3, 5]


def test_nuclear_norm():
    x = tercel.tensor([[3.0, 0.0], [0.0, -4.0]])
    assert x.norm("nuc").item() == pytest.approx(7) and tercel.norm(x, "nuc").shape == ()
    assert x[None].norm("nuc", (1, 2), True).shape == (1, 1, 1)
    with pytest.raises(ValueError, match="norm: p"):
        x.norm("bad")
    with pytest.raises(ValueError, match="nuclear"):
        x[0].norm("nuc")
