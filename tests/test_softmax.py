"""Softmax family: contract N12, special values, errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tercel
from tercel.testing import bits

EPS = 2.0**-23


def tensor(a, dtype=tercel.float32):
    return tercel.from_numpy(np.ascontiguousarray(a)).to(dtype)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 5000), st.integers(0, 2**31), st.sampled_from([1.0, 30.0, 1e4]), st.booleans()
)
def test_rows_sum_to_one(n, seed, scale, columns):
    x = (np.random.default_rng(seed).uniform(-1, 1, (3, n)) * scale).astype(np.float32)
    t = tensor(x.T if columns else x)
    dim = 0 if columns else 1
    y = tercel.softmax(t, dim).double().numpy()
    assert np.abs(y.sum(axis=dim) - 1).max() <= 4 * EPS
    log = tercel.log_softmax(t, dim).double().numpy()
    wide = (x.T if columns else x).astype(np.float64)
    z = wide - wide.max(axis=dim, keepdims=True)
    lse = np.log(np.exp(z).sum(axis=dim, keepdims=True))
    assert np.abs(log - (z - lse)).max() <= 2 * EPS * max(1.0, np.abs(z - lse).max())
    got = t.logsumexp(dim).double().numpy()
    assert np.isfinite(got).all()
    want = (lse + wide.max(axis=dim, keepdims=True)).squeeze(dim)
    assert np.abs(got - want).max() <= 4 * EPS * max(1.0, np.abs(want).max())


def test_special_rows(isa_levels):
    inf, nan = math.inf, math.nan
    rows = [[-inf] * 40, [0.0] * 39 + [nan], [0.0] * 39 + [inf], [-inf] * 39 + [2.0], [1e4] * 40]
    for level in isa_levels:
        tercel.set_isa(level)
        for columns in (False, True):
            x = np.array(rows, dtype=np.float32)
            dim = 0 if columns else 1
            t = tensor(x.T if columns else x)
            y = tercel.softmax(t, dim).numpy()
            y = y.T if columns else y
            assert np.isnan(y[0]).all() and np.isnan(y[1]).all() and np.isnan(y[2]).any()
            assert y[3].tolist() == [0.0] * 39 + [1.0]
            assert np.allclose(y[4], 1 / 40)
            lse = t.logsumexp(dim).tolist()
            assert lse[0] == -inf and math.isnan(lse[1]) and lse[2] == inf and lse[3] == 2.0


def test_a_row_does_not_depend_on_the_others():
    x = tensor(np.random.default_rng(0).standard_normal((33, 777)))
    y, z = tercel.softmax(x, 1), tercel.log_softmax(x, 1)
    for i in (0, 5, 32):
        assert bits(tercel.softmax(x[i : i + 1], 1)[0]) == bits(y[i])
        assert bits(tercel.log_softmax(x[i : i + 2], 1)[0]) == bits(z[i])
    assert bits(tercel.softmax(x.t().contiguous().t(), 1)) == bits(y)


def test_dtype_and_errors():
    x = tercel.tensor([[1, 2]])
    assert tercel.softmax(x, 1, dtype=tercel.float32).dtype == tercel.float32
    assert tercel.softmax(x.bfloat16(), 1, dtype=tercel.float64).dtype == tercel.float64
    assert tercel.softmax(x.to(tercel.float8_e4m3fn), -1).dtype == tercel.float8_e4m3fn
    with pytest.raises(TypeError, match=r"softmax.*int64"):
        tercel.softmax(x, 1)
    with pytest.raises(IndexError, match="softmax"):
        tercel.softmax(x.float(), 2)
    assert tercel.softmax(tercel.zeros(0, 3), 1).shape == (0, 3)
    assert tercel.softmax(tercel.zeros(3, 0), 1).shape == (3, 0)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_without_a_dim(name):
    """PyTorch's deprecated choice: dim 0 for 0, 1 and 3 dimensions, else 1; with a warning."""
    f = getattr(tercel.nn.functional, name)
    for shape, dim in (((), 0), ((3,), 0), ((2, 3), 1), ((2, 3, 4), 0), ((2, 3, 4, 5), 1)):
        x = tercel.randn(shape)
        with pytest.warns(UserWarning, match=f"^{name}: .* dim"):
            assert f(x).tolist() == f(x, dim).tolist()
    with pytest.raises(tercel.DTypeError, match=f"^{name}: dtype int64"):
        f(tercel.tensor([1, 2]), 0)
