"""Random shapes, strides, dtypes and indices against NumPy (hypothesis)."""

import warnings

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tercel
from tercel.testing import bits

quick = settings(max_examples=80, deadline=None, derandomize=True)

DTYPES = ("float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")
sizes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def values(draw, shape, dtype):
    """An array of small integers (exact in every dtype and every order of addition)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    low = 0 if dtype == "uint8" else -5
    return rng.integers(low, 6, shape).astype(dtype)


def strided(draw, array):
    """The same values behind other strides: transposed, in every second place, reversed copies."""
    t = tercel.from_numpy(np.array(array))
    order = draw(st.permutations(range(array.ndim)))
    back = tuple(np.argsort(order))
    t = t.permute(*order).contiguous().permute(*back) if array.ndim else t
    if array.ndim and draw(st.booleans()):
        wide = tercel.zeros(*array.shape[:-1], 2 * array.shape[-1] + 1, dtype=t.dtype)
        part = wide[..., 1::2]
        part.copy_(t)
        t = part
    np.testing.assert_array_equal(t.numpy(), array)
    return t


@st.composite
def tensors(draw, shape=sizes, dtypes=DTYPES):
    array = values(draw, draw(shape), draw(st.sampled_from(dtypes)))
    return strided(draw, array), array


@st.composite
def broadcastable(draw):
    shapes = draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=5))
    arrays = [values(draw, s, draw(st.sampled_from(DTYPES))) for s in shapes.input_shapes]
    return [strided(draw, a) for a in arrays], arrays, shapes.result_shape


ARITHMETIC = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISON = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "ge": np.greater_equal}


def in_dtype(array, dtype):
    """The values as `dtype` stores them: integers wrap around."""
    if dtype == tercel.bool:
        return array.astype(bool)
    return array.astype(str(dtype).removeprefix("tercel."))


@given(broadcastable(), st.sampled_from(sorted({**ARITHMETIC, **COMPARISON})))
@quick
def test_binary_ops_broadcast_and_promote(operands, name):
    (x, y), (a, b), shape = operands
    assume(not (name == "sub" and "bool" in (str(a.dtype), str(b.dtype))))
    got = getattr(tercel, name)(x, y)
    assert tuple(got.shape) == shape
    if name in COMPARISON:
        assert got.dtype == tercel.bool
        np.testing.assert_array_equal(got.numpy(), COMPARISON[name](a, b))
        return
    assert got.dtype == tercel.result_type(x, y)
    wide = np.float64 if got.is_floating_point() else np.int64
    if got.dtype == tercel.bool:
        wide = bool
    want = in_dtype(ARITHMETIC[name](a.astype(wide), b.astype(wide)), got.dtype)
    np.testing.assert_array_equal(got.numpy(), want)
    # In place and out= write the same values.
    out = tercel.empty_like(got)
    assert getattr(tercel, name)(x, y, out=out) is out
    np.testing.assert_array_equal(out.numpy(), want)
    if tuple(x.shape) == shape and got.dtype == x.dtype and hasattr(x, name + "_"):
        np.testing.assert_array_equal(getattr(x.clone(), name + "_")(y).numpy(), want)


@given(tensors(), st.data())
@quick
def test_reductions_over_any_dims(pair, data):
    x, a = pair
    dims = data.draw(
        st.lists(st.integers(0, max(a.ndim - 1, 0)), unique=True, max_size=a.ndim)
        if a.ndim
        else st.just([])
    )
    axis = tuple(d - a.ndim if data.draw(st.booleans()) else d for d in dims)
    keep = data.draw(st.booleans())
    everything = tuple(range(a.ndim)) if not axis else axis  # no dims means all of them
    spelling = data.draw(st.sampled_from([("dim", "keepdim"), ("axis", "keepdims")]))
    kwargs = {spelling[0]: axis, spelling[1]: keep}
    wide = a.astype(np.float64 if a.dtype.kind == "f" else np.int64)
    np.testing.assert_array_equal(x.sum(**kwargs).numpy(), wide.sum(axis=everything, keepdims=keep))
    np.testing.assert_array_equal(
        x.any(**kwargs).numpy(), a.astype(bool).any(axis=everything, keepdims=keep)
    )
    np.testing.assert_array_equal(
        x.all(**kwargs).numpy(), a.astype(bool).all(axis=everything, keepdims=keep)
    )
    np.testing.assert_array_equal(
        x.count_nonzero(dim=axis or None).numpy(), np.count_nonzero(a, axis=everything)
    )
    if all(a.shape[d] for d in everything):
        np.testing.assert_array_equal(
            x.amax(**kwargs).numpy(), a.max(axis=everything, keepdims=keep)
        )
        np.testing.assert_array_equal(
            x.amin(**kwargs).numpy(), a.min(axis=everything, keepdims=keep)
        )
    if a.dtype.kind == "f":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mean of nothing
            want = wide.mean(axis=everything, keepdims=keep).astype(a.dtype)
        np.testing.assert_array_almost_equal_nulp(
            np.nan_to_num(x.mean(**kwargs).numpy()), np.nan_to_num(want), 2
        )


@given(tensors(), st.data())
@quick
def test_along_one_dim(pair, data):
    x, a = pair
    assume(a.ndim > 0)
    dim = data.draw(st.integers(-a.ndim, a.ndim - 1))
    wide = a.astype(np.float64 if a.dtype.kind == "f" else np.int64)
    np.testing.assert_array_equal(x.cumsum(axis=dim).numpy(), wide.cumsum(axis=dim))
    if a.dtype.kind != "b":
        np.testing.assert_array_equal(x.sort(dim=dim).values.numpy(), np.sort(a, axis=dim))
        np.testing.assert_array_equal(
            x.argsort(dim=dim).numpy(), np.argsort(a, axis=dim, kind="stable")
        )
    if a.shape[dim]:
        np.testing.assert_array_equal(x.argmax(dim).numpy(), a.argmax(axis=dim))
        top = x.max(dim=dim)
        np.testing.assert_array_equal(top.values.numpy(), a.max(axis=dim))
    np.testing.assert_array_equal(x.flip(dim).numpy(), np.flip(a, axis=dim))
    shift = data.draw(st.integers(-7, 7))
    np.testing.assert_array_equal(x.roll(shift, dim).numpy(), np.roll(a, shift, axis=dim))


@st.composite
def indices(draw, shape):
    """An index NumPy and tercel read alike, of ints, slices, Ellipsis, None, arrays and masks."""
    kind = draw(st.sampled_from(["basic", "arrays", "mask"]))
    if kind == "basic" or not shape:
        return draw(
            hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True).filter(forwards)
        )
    if kind == "mask":
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        dims = draw(st.integers(1, len(shape)))
        return (rng.integers(0, 2, shape[:dims]).astype(bool),)
    assume(all(shape))
    count = draw(st.integers(1, len(shape)))
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    parts = []
    for d in range(count):
        if draw(st.booleans()):
            rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
            parts.append(rng.integers(-shape[d], shape[d], common))
        else:
            parts.append(draw(st.sampled_from([slice(None), slice(1, None), slice(None, None, 2)])))
    return tuple(parts)


def forwards(index):
    """Whether all slices go forwards (tercel, as PyTorch, has no negative steps)."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(not isinstance(p, slice) or p.step is None or p.step > 0 for p in parts)


def as_tensors(index):
    if not isinstance(index, tuple):
        return index
    return tuple(tercel.from_numpy(np.array(p)) if isinstance(p, np.ndarray) else p for p in index)


@given(tensors(), st.data())
@quick
def test_indexing_gets_and_sets(pair, data):
    x, a = pair
    index = data.draw(indices(a.shape))
    want = a[index]
    got = x[as_tensors(index)]
    assert tuple(got.shape) == np.shape(want)
    np.testing.assert_array_equal(got.numpy(), want)
    # A number, then an array that broadcasts.
    expected, target = a.copy(), x.clone()
    expected[index] = 1
    target[as_tensors(index)] = 1
    np.testing.assert_array_equal(target.numpy(), expected)
    if np.ndim(want):
        new = values(data.draw, want.shape[1:], str(a.dtype))
        expected[index] = new
        target[as_tensors(index)] = tercel.from_numpy(np.array(new))
        np.testing.assert_array_equal(target.numpy(), expected)
    np.testing.assert_array_equal(x.numpy(), a)  # the original did not change


@given(tensors(dtypes=("float32", "float64")), st.data())
@quick
def test_softmax_rows(pair, data):
    x, a = pair
    assume(a.ndim > 0 and a.size > 0)
    dim = data.draw(st.integers(-a.ndim, a.ndim - 1))
    scale = data.draw(st.sampled_from([1.0, 100.0, 2000.0]))
    x = x * scale
    assert tercel.isfinite(x.logsumexp(dim)).all()
    total = x.softmax(axis=dim).double().sum(dim)
    eps = np.finfo(a.dtype).eps
    assert (total - 1).abs().max().item() <= 4 * eps
    assert bits(x.softmax(dim)) == bits(x.contiguous().softmax(dim))
