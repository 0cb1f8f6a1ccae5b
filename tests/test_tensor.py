"""Tensor basics: metadata, indexing against NumPy, views, in-place rules, casts, promotion."""

import itertools

import numpy as np
import pytest

import tercel

SLICES = [
    0,
    -1,
    2,
    slice(None),
    slice(1, 3),
    slice(None, None, 2),
    slice(5, 2),
    slice(-2, None),
    slice(0, 100),
    None,
    Ellipsis,
    True,
    False,
    [0, 2],
    [[0, 1], [2, 0]],
    np.array([1, 1, 0]),
    np.array([True, False, True]),
]


def pair(shape):
    n = int(np.prod(shape))
    array = np.arange(n, dtype=np.float32).reshape(shape)
    return tercel.from_numpy(array.copy()), array


def to_ours(index):
    if isinstance(index, tuple):
        return tuple(map(to_ours, index))
    return tercel.from_numpy(index) if isinstance(index, np.ndarray) else index


@pytest.mark.parametrize("index", list(SLICES) + list(itertools.product(SLICES, SLICES)), ids=repr)
def test_indexing_matches_numpy(index):
    t, a = pair((3, 4, 3))
    try:
        expected = a[index]
    except IndexError:
        with pytest.raises((IndexError, ValueError)):
            t[to_ours(index)]
        return
    got = t[to_ours(index)]
    assert tuple(got.shape) == expected.shape
    np.testing.assert_array_equal(np.asarray(got), expected)
    value = np.float32(-1)
    a[index] = value
    t[to_ours(index)] = -1
    np.testing.assert_array_equal(np.asarray(t), a)
    block = np.random.default_rng(0).random(expected.shape).astype(np.float32)
    try:
        a[index] = block
    except ValueError:
        return
    if isinstance(index, tuple) and any(isinstance(i, (list, np.ndarray)) for i in index):
        flat = np.zeros(36)
        flat.reshape(3, 4, 3)[index] += 1
        counts = np.zeros((3, 4, 3))
        np.add.at(counts, index, 1)
        if counts.max() > 1:
            return  # duplicates: which value wins is unspecified
    elif isinstance(index, (list, np.ndarray)) and len(np.unique(index)) != np.size(index):
        return
    t[to_ours(index)] = tercel.from_numpy(block) if block.ndim else float(block)
    np.testing.assert_array_equal(np.asarray(t), a)


@pytest.mark.parametrize(
    "index, error",
    [
        (3, IndexError),
        (-4, IndexError),
        ((0, 0, 0, 0), IndexError),
        ((Ellipsis, Ellipsis), IndexError),
        (slice(None, None, -1), ValueError),
        (slice(None, None, 0), ValueError),
        ("a", TypeError),
        (1.5, TypeError),
        ([0.5], IndexError),
        ([3], IndexError),
        ([-4], IndexError),
        (2**70, IndexError),
        ({}, TypeError),
        (tercel.tensor([True, False]), IndexError),
        ((slice("a", None),), TypeError),
    ],
    ids=repr,
)
def test_bad_indices(index, error):
    t, _ = pair((3, 4, 3))
    with pytest.raises(error):
        t[index]
    with pytest.raises(error):
        t[index] = 0.0


def test_bad_assignments():
    t, _ = pair((3, 4))
    with pytest.raises(ValueError, match="broadcast"):
        t[0] = tercel.ones(3)
    with pytest.raises(TypeError):
        t[0] = "text"
    with pytest.raises(TypeError, match="deleted"):
        del t[0]
    with pytest.raises(OverflowError):
        tercel.zeros(2, dtype=tercel.uint8)[0] = 300
    with pytest.raises(RuntimeError, match="share memory"):
        tercel.zeros(1).expand(3)[1:] = 1.0
    with pytest.raises(IndexError):
        tercel.tensor(1.0)[0]


def test_overlapping_assignment_uses_the_old_values():
    t = tercel.arange(6)
    t[1:] = t[:-1]
    assert t.tolist() == [0, 0, 1, 2, 3, 4]


def test_metadata():
    t = tercel.zeros(2, 3, 4)
    assert t.shape == (2, 3, 4) and t.shape.numel() == 24 and isinstance(t.shape, tuple)
    assert (
        repr(t.shape) == "tercel.Size([2, 3, 4])" and t.size(-1) == 4 and t.stride() == (12, 4, 1)
    )
    assert t.dim() == t.ndim == 3 and t.numel() == 24 and len(t) == 2 and t.nbytes == 96
    assert t.T.shape == (4, 3, 2) and t.mT.shape == (2, 4, 3) and not t.is_cuda
    assert t[1].storage_offset() == 12 and t[1]._base is t
    assert str(t.device) == "cpu" and t.device == tercel.device("cpu")
    assert (
        t.dtype is tercel.float32
        and tercel.float is tercel.float32
        and repr(t.dtype) == "tercel.float32"
    )
    assert [r.shape for r in t] == [(3, 4)] * 2
    with pytest.raises(TypeError):
        len(tercel.tensor(1))
    with pytest.raises(TypeError):
        iter(tercel.tensor(1))
    assert tercel.device("cuda") == tercel.device("cuda", 0)
    with pytest.raises(ValueError, match="cpu"):
        tercel.device("tpu")


def test_identity_of_python_objects():
    x = tercel.ones(2, requires_grad=True)
    (x * 2).sum().backward()
    assert x.grad is x.grad
    assert x.requires_grad_() is x and x.add_ is not None
    assert {x: 1}[x] == 1
    x.note = "attributes are kept"
    assert x.note


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda t: t.view(5), ValueError),
        (lambda t: t.view(-1, -1), ValueError),
        (lambda t: t.view(-2), ValueError),
        (lambda t: t.T.view(12), RuntimeError),
        (lambda t: t.view("a"), TypeError),
        (lambda t: t.reshape(2**40, 2**40), (ValueError, OverflowError)),
        (lambda t: t.permute(0, 0), ValueError),
        (lambda t: t.permute(0), ValueError),
        (lambda t: t.permute(0, 2), IndexError),
        (lambda t: t.transpose(0, 5), IndexError),
        (lambda t: t.expand(3, 3), ValueError),
        (lambda t: t.expand(4), ValueError),
        (lambda t: t.expand(-1, 3, 4), ValueError),
        (lambda t: t.narrow(0, 0, 10), ValueError),
        (lambda t: t.narrow(0, 7, 1), IndexError),
        (lambda t: t.narrow(0, 0, -1), ValueError),
        (lambda t: t.select(0, 3), IndexError),
        (lambda t: t.split(0), ValueError),
        (lambda t: t.split([1, 1]), ValueError),
        (lambda t: t.split(-1), ValueError),
        (lambda t: t.chunk(0), ValueError),
        (lambda t: t.unfold(0, 9, 1), ValueError),
        (lambda t: t.unfold(0, 1, 0), ValueError),
        (lambda t: t.as_strided((4, 4), (4, 1)), ValueError),
        (lambda t: t.as_strided((2,), (-1,)), ValueError),
        (lambda t: t.as_strided((2,), (1,), -1), ValueError),
        (lambda t: t.as_strided((2,), (2**62,)), (ValueError, OverflowError)),
        (lambda t: t.as_strided((2, 2), (1,)), ValueError),
        (lambda t: t.diagonal(0, 1, 1), ValueError),
        (lambda t: t.unflatten(0, (2, 2)), ValueError),
        (lambda t: t.flatten(1, 0), ValueError),
        (lambda t: t.squeeze(4), IndexError),
        (lambda t: t.unsqueeze(4), IndexError),
        (lambda t: t.movedim((0, 1), 0), ValueError),
        (lambda t: t.view(tercel.float64, tercel.float64), TypeError),
        (lambda t: t[:, :3].view(tercel.float64), RuntimeError),
        (lambda t: t.to("float"), ValueError),
        (lambda t: t.to(3), TypeError),
        (lambda t: t.to(tercel.float32, wrong=1), TypeError),
        (lambda t: t.unsqueeze(0).expand(*[1] * 17, 3, 4), ValueError),
    ],
)
def test_bad_view_arguments(call, error):
    with pytest.raises(error):
        call(tercel.zeros(3, 4))


def test_views_share_storage_and_copies_do_not():
    t, a = pair((4, 6))
    for v, e in [
        (t.view(2, 12), a.reshape(2, 12)),
        (t.T, a.T),
        (t[1:, ::2], a[1:, ::2]),
        (t.unsqueeze(1), a[:, None]),
        (t.expand(2, 4, 6), np.broadcast_to(a, (2, 4, 6))),
        (t.diagonal(1), np.diagonal(a, 1)),
        (t.unfold(1, 3, 2), np.lib.stride_tricks.sliding_window_view(a, 3, 1)[:, ::2]),
        (t.movedim(0, 1), np.moveaxis(a, 0, 1)),
        (t.flatten(), a.reshape(-1)),
        (t.view(tercel.int32), a.view(np.int32)),
        (t.reshape(3, 8), a.reshape(3, 8)),
        (t.ravel(), a.ravel()),
    ]:
        np.testing.assert_array_equal(np.asarray(v), e)
        assert v._storage_id() == t._storage_id()
    for c in (t.T.reshape(-1), t.clone(), t.T.contiguous(), t.to(tercel.float64)):
        assert c._storage_id() != t._storage_id()
    assert t.contiguous() is t and t.to(tercel.float32) is t and t.to("cpu") is t
    assert t.T.clone().stride() == t.T.stride()


def test_version_counter():
    t = tercel.zeros(4)
    v = t[1:]
    for step in (lambda: t.fill_(1), lambda: v.zero_(), lambda: v.copy_(tercel.ones(3))):
        before = t._version
        step()
        assert t._version == v._version == before + 1


ALL = "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 int8 uint8 int16 int32 int64 bool".split()


def test_promotion_matches_torch():
    torch = pytest.importorskip("torch")
    names = [n for n in ALL if "float8" not in n]
    for a, b in itertools.product(names, names):
        expected = torch.promote_types(getattr(torch, a), getattr(torch, b))
        assert (
            str(tercel.promote_types(getattr(tercel, a), getattr(tercel, b))).split(".")[1]
            == str(expected).split(".")[1]
        )
    for n in names:
        for other in (1, 1.5, True):
            for shape in ((), (2,)):
                expected = torch.result_type(torch.zeros(shape, dtype=getattr(torch, n)), other)
                got = tercel.result_type(
                    tercel.zeros(*shape, dtype=getattr(tercel, n))
                    if shape
                    else tercel.zeros((), dtype=getattr(tercel, n)),
                    other,
                )
                assert str(got).split(".")[1] == str(expected).split(".")[1], (n, other, shape)
        for m in names:
            expected = torch.result_type(
                torch.zeros(2, dtype=getattr(torch, n)), torch.zeros((), dtype=getattr(torch, m))
            )
            got = tercel.result_type(
                tercel.zeros(2, dtype=getattr(tercel, n)),
                tercel.zeros((), dtype=getattr(tercel, m)),
            )
            assert str(got).split(".")[1] == str(expected).split(".")[1], (n, m)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_every_small_float_code_round_trips(name, isa):
    dtype = getattr(tercel, name)
    bits = 8 * dtype.itemsize
    codes = np.arange(2**bits).astype(np.uint8 if bits == 8 else np.int16)
    t = tercel.from_numpy(codes).view(dtype)
    wide = t.to(tercel.float32)
    back = wide.to(dtype)
    nan = np.isnan(np.asarray(wide))
    same = np.asarray(back.view(tercel.uint8 if bits == 8 else tercel.int16)) == codes
    infinite = np.isinf(np.asarray(wide))
    assert np.all(same | nan | (infinite & (name == "float8_e4m3fn")))
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = np.float16 if name == "float16" else getattr(ml_dtypes, name)
    np.testing.assert_array_equal(np.asarray(wide), codes.view(kind).astype(np.float32))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_casts_round_to_nearest_even_and_saturate(name, isa):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**32, 200_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate(
        [
            x,
            (rng.standard_normal(100_000) * 10).astype(np.float32),
            np.float32([0, -0.0, 448, 449, 464, 465, 57344, 61440, 65504, 65519, 65520]),
        ]
    )
    got = np.asarray(tercel.from_numpy(x).to(getattr(tercel, name)).to(tercel.float32))
    kind = np.float16 if name == "float16" else getattr(ml_dtypes, name)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(kind).astype(np.float32)
    if name.startswith("float8"):
        top = 448.0 if name == "float8_e4m3fn" else 57344.0
        big = np.abs(x) > top
        finite = big & (np.isfinite(x) if name == "float8_e5m2" else ~np.isnan(x))
        expected = np.where(finite, np.copysign(top, x), expected)
    np.testing.assert_array_equal(got, expected)


def test_printoptions_and_summary():
    t = tercel.arange(10_000)
    assert "..." in repr(t)
    tercel.set_printoptions(threshold=20_000)
    try:
        assert "..." not in repr(t)
    finally:
        tercel.set_printoptions(profile="default")
    with pytest.raises(ValueError):
        tercel.set_printoptions(profile="none")


def test_limits_of_dtypes():
    assert tercel.finfo(tercel.float16).max == 65504 and tercel.finfo().bits == 32
    assert tercel.iinfo(tercel.uint8).max == 255 and tercel.iinfo(tercel.int64).min == -(2**63)
    with pytest.raises(TypeError):
        tercel.finfo(tercel.int8)


def test_sizes_stay_sizes():
    size = tercel.zeros(2, 3, 4).shape
    for value, expected in (
        (size[1:], (3, 4)),
        (size + (5,), (2, 3, 4, 5)),
        (size[:1] * 2, (2, 2)),
    ):
        assert type(value) is tercel.Size and value == expected
    assert size[1:].numel() == 12 and type(size[0]) is int
    with pytest.raises(TypeError):
        size + [5]


def test_operators_with_arrays():
    """The tensor's operator is used on either side: the result is a tensor, and gradients are kept."""
    x = tercel.tensor([1.0, 2.0], requires_grad=True)
    a = np.array([3.0, 4.0])
    for y, expected in ((x * a, [3, 8]), (a * x, [3, 8]), (a - x, [2, 2]), (x / a, [1 / 3, 0.5])):
        assert isinstance(y, tercel.Tensor) and y.dtype is tercel.float64 and y.requires_grad
        assert y.tolist() == expected
    for y in (np.float64(2) * x, np.float32(2) * x, x * np.float64(2), np.int64(2) * x):
        assert y.dtype is tercel.float32 and y.tolist() == [2, 4]
    assert (a > x).tolist() == [True, True] and (x == np.array([1, 5])).tolist() == [True, False]
    z = tercel.zeros(2)
    z += a
    assert z.dtype is tercel.float32 and z.tolist() == [3, 4]
    with pytest.raises(ValueError, match="broadcast"):
        x + np.ones(3)
    y = np.exp(tercel.zeros(2))
    assert isinstance(y, tercel.Tensor) and y.dtype is tercel.float32 and y.tolist() == [1, 1]
    assert isinstance(np.maximum(tercel.zeros(()), 1), tercel.Tensor)
    out = np.zeros(2)
    assert np.add(a, tercel.ones(2), out=out) is out and out.tolist() == [4, 5]


def test_splits_into_many_parts():
    """More parts than a tensor may have dimensions; sizes and positions as tensors and NumPy integers."""
    x = tercel.arange(100)
    sizes = [1] * 50 + [2] * 25
    assert [len(p) for p in x.split(sizes)] == sizes
    assert [len(p) for p in x.split_with_sizes(sizes)] == sizes
    assert [len(p) for p in x.tensor_split(list(range(1, 100)))] == [1] * 100
    assert [p.tolist() for p in x[:4].split(tercel.tensor([1, 3]))] == [[0], [1, 2, 3]]
    assert [p.tolist() for p in x[:4].tensor_split(tercel.tensor([1]))] == [[0], [1, 2, 3]]
    assert [p.tolist() for p in x[:4].split(np.int64(3))] == [[0, 1, 2], [3]]
    assert len(x.tensor_split(np.int64(3))) == 3
    a, b = tercel.ones(2, 0).chunk(2, 1)
    assert a.shape == b.shape == (2, 0)
    for bad in (tercel.tensor([1.5]), "12", [1.5], 2.5, None):
        with pytest.raises(TypeError, match="split"):
            x.split(bad)
    with pytest.raises(ValueError, match="add up to 100"):
        x.split(sizes[1:])
    with pytest.raises(ValueError, match="divisible"):
        tercel.hsplit(x, 3)


def test_small_protocols():
    x = tercel.tensor([[1, 2], [3, 4]])
    assert [r.tolist() for r in reversed(x)] == [[3, 4], [1, 2]]
    assert 3 in x and tercel.tensor(5) not in x
    with pytest.raises(TypeError, match="in: expected"):
        "3" in x  # noqa: B015
    assert x[range(1)].tolist() == [[1, 2]] and x[:, range(1, 2)].tolist() == [[2], [4]]
    assert tercel.zeros(2).copy_(3).tolist() == [3, 3]
    assert x.real is x and x.conj() is x and x.layout is tercel.strided and x.is_cpu
    assert x.mH.tolist() == [[1, 3], [2, 4]]


def test_numbers_alone_have_the_default_dtype():
    mask = tercel.tensor([True, False])
    assert tercel.where(mask, 1.5, 0).dtype is tercel.float32
    assert tercel.where(mask, 1, 0).dtype is tercel.int64
    assert tercel.result_type(1.5, 2) is tercel.float32


def test_legacy_constructors():
    assert tercel.Tensor(2, 3).shape == tercel.Tensor(tercel.Size([2, 3])).shape == (2, 3)
    assert tercel.Tensor(3).shape == (3,) and tercel.Tensor().shape == (0,)
    assert (
        tercel.Tensor([1, 2]).tolist() == [1.0, 2.0] and tercel.Tensor([1]).dtype is tercel.float32
    )
    for bad in (lambda: tercel.Tensor(2, "a"), lambda: tercel.Tensor(2, size=3)):
        with pytest.raises(TypeError, match="Tensor"):
            bad()
    x = tercel.LongTensor([1, 2])
    assert x.dtype is tercel.int64 and tercel.FloatTensor(2, 3).shape == (2, 3)
    assert isinstance(x, tercel.LongTensor) and not isinstance(x, tercel.FloatTensor)
    assert x.type() == "tercel.LongTensor" == tercel.typename(x)
    for kind in ("torch.FloatTensor", "tercel.FloatTensor", tercel.FloatTensor, tercel.float32):
        assert x.type(kind).dtype is tercel.float32
    for bad in ("tercel.OddTensor", "float32", 3):
        with pytest.raises((TypeError, ValueError), match="type: expected"):
            x.type(bad)
    assert x.new(2, 3).shape == (2, 3) and x.new([1.0]).dtype is tercel.int64


def test_small_functions():
    x = tercel.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert x.sum_to_size(2).tolist() == [4, 6] and x.sum_to_size((1, 1)).tolist() == [[10]]
    with pytest.raises(ValueError, match="sum_to_size"):
        x.sum_to_size(3)
    assert tercel.scalar_tensor(3).dtype is tercel.float32
    assert tercel.fill(x, 2.0).tolist() == [[2, 2], [2, 2]] and x[0, 0] == 1
    assert tercel.is_nonzero(tercel.ones(1)) and x.is_same_size(tercel.ones(2, 2))
    assert x.is_set_to(x.detach()) and not x.is_set_to(x.clone())
    assert tercel.compile(abs) is abs and tercel.compile(mode="default")(abs) is abs


@pytest.mark.parametrize(
    "name, args",
    [
        ("atleast_1d", (2,)),
        ("atleast_2d", ("x", 2)),
        ("block_diag", ("x", 2)),
        ("broadcast_tensors", ("x", None)),
        ("cartesian_prod", (["x", 2],)),
        ("chain_matmul", ("x", 2)),
        ("meshgrid", ("x", 2)),
        ("einsum", ("ij->", 2)),
        ("einsum", ("ij->", "x", 2)),
        ("einsum", ("x",)),
        ("einsum", ("x", ["a", "b"])),
        ("tensordot", ("x", "x", ("a", "b"))),
        ("quantile", ("x", "half")),
        ("nanquantile", ("x", None)),
        ("split", ("x", "12")),
    ],
)
def test_wrong_types_are_type_errors_of_the_function(name, args):
    x = tercel.ones(2, 2)
    with pytest.raises(TypeError, match=name) as error:
        getattr(tercel, name)(*(x if a == "x" else a for a in args))
    assert "C++" not in str(error.value)


def test_hooks_that_return_no_tensors():
    x = tercel.ones(2, requires_grad=True)
    y = (x * 2).sum()
    y.grad_fn.register_hook(lambda inputs, outputs: 3)
    with pytest.raises(TypeError, match="callback") as error:
        y.backward()
    assert "C++" not in str(error.value)


@pytest.mark.parametrize(
    "op, call",
    [
        ("softmax", lambda x, i: tercel.softmax(x, i)),
        ("topk", lambda x, i: tercel.topk(x, i)),
        ("topk", lambda x, i: tercel.topk(x, 1, dim=i)),
        ("select", lambda x, i: x.select(0, i)),
        ("cumsum", lambda x, i: x.cumsum(i)),
        ("sum", lambda x, i: x.sum(i)),
        ("zeros", lambda x, i: tercel.zeros(i, 2)),
        ("reshape", lambda x, i: x.reshape(i, -1)),
    ],
)
def test_integer_arguments_are_not_truncated(op, call):
    x = tercel.ones(3, 4)
    for one in (1, True, np.int64(1), np.uint8(1), tercel.tensor(1)):
        call(x, one)
    for number in (1.7, 1.0, tercel.tensor(1.0), np.float32(1.5), np.array(1.5), "1"):
        with pytest.raises(TypeError, match=op):
            call(x, number)
