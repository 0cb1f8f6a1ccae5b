"""Exchange with NumPy, buffers, DLPack, Python lists: sharing, lifetime, read-only, errors."""

import copy
import gc
import pickle

import numpy as np
import pytest

import tercel

PAIRS = [
    (tercel.float64, np.float64),
    (tercel.float32, np.float32),
    (tercel.float16, np.float16),
    (tercel.int8, np.int8),
    (tercel.uint8, np.uint8),
    (tercel.int16, np.int16),
    (tercel.int32, np.int32),
    (tercel.int64, np.int64),
    (tercel.bool, np.bool_),
]


@pytest.mark.parametrize("dtype, kind", PAIRS, ids=lambda v: str(v))
def test_numpy_shares_memory_both_ways(dtype, kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    t = tercel.from_numpy(array)
    assert t.dtype is dtype and t.shape == (2, 3) and t.numpy().dtype == kind
    assert t.numpy().ctypes.data == array.ctypes.data
    t[0, 0] = 1
    assert array[0, 0] == 1
    np.testing.assert_array_equal(np.asarray(t), array)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_numpy_with_ml_dtypes(name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    t = tercel.tensor([1.0, -2.5, 0.0, 3.0], dtype=getattr(tercel, name))
    array = t.numpy()
    assert array.dtype == np.dtype(getattr(ml_dtypes, name))
    assert array.astype(np.float32).tolist() == t.tolist()
    back = tercel.from_numpy(array)
    assert back.dtype is t.dtype and back.data_ptr() == t.data_ptr()


def test_strided_arrays():
    array = np.arange(24.0).reshape(4, 6)
    t = tercel.from_numpy(array.T[1:5:2])
    assert t.tolist() == array.T[1:5:2].tolist() and t.stride() == (2, 6)
    assert t.numpy().ctypes.data == array.T[1:5:2].ctypes.data
    with pytest.raises(ValueError, match="negative"):
        tercel.from_numpy(array[::-1])
    assert tercel.from_numpy(np.broadcast_to(np.float32(2), (3,))).tolist() == [2.0] * 3


def test_lifetime_is_kept_on_both_sides():
    t = tercel.from_numpy(np.full(1000, 7.0))
    gc.collect()
    assert t.sum().item() == 7000.0
    array = tercel.ones(1000).numpy()
    gc.collect()
    assert array.sum() == 1000.0
    view = memoryview(tercel.ones(4))
    gc.collect()
    assert view.tolist() == [1.0] * 4


def test_read_only_is_respected():
    array = np.zeros(3)
    array.flags.writeable = False
    t = tercel.from_numpy(array)
    for write in (lambda: t.fill_(1), lambda: t.__setitem__(0, 1.0), lambda: t[1:].zero_()):
        with pytest.raises(RuntimeError, match="read-only"):
            write()
    assert not t.numpy().flags.writeable
    b = tercel.frombuffer(b"\x00\x00\x80\x3f", dtype=tercel.float32)
    assert b.tolist() == [1.0]
    with pytest.raises(RuntimeError, match="read-only"):
        b.fill_(2)


def test_frombuffer_locks_and_checks():
    raw = bytearray(16)
    t = tercel.frombuffer(raw, dtype=tercel.int32, offset=4, count=2)
    with pytest.raises(BufferError):
        raw.append(0)
    t.fill_(1)
    assert raw[4] == 1 and raw[0] == 0
    for kwargs in (
        {"offset": 17},
        {"offset": -1},
        {"count": 5},
        {"count": -2},
        {"offset": 3},
        {"offset": 1, "count": 1},
    ):
        with pytest.raises(ValueError, match="frombuffer"):
            tercel.frombuffer(raw, dtype=tercel.int32, **kwargs)
    with pytest.raises(TypeError):
        tercel.frombuffer([1, 2], dtype=tercel.int32)


def test_foreign_arrays_are_refused():
    with pytest.raises(ValueError, match="byte order"):
        tercel.from_numpy(np.zeros(2, ">f4"))
    for bad in (
        np.zeros(2, np.complex64),
        np.zeros(2, np.uint32),
        np.array(["a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, object),
    ):
        with pytest.raises((TypeError, ValueError)):
            tercel.from_numpy(bad)
    with pytest.raises(TypeError, match="ndarray"):
        tercel.from_numpy([1, 2])
    packed = np.zeros(3, dtype=[("a", "u1"), ("b", "f4")])["b"]
    with pytest.raises(ValueError, match=r"multiple|aligned"):
        tercel.from_numpy(packed)


def test_requires_grad_cannot_be_exported():
    t = tercel.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        t.numpy()
    with pytest.raises((RuntimeError, BufferError), match="detach"):
        np.asarray(t)
    with pytest.raises(BufferError, match="detach"):
        t.__dlpack__()
    assert t.detach().numpy().tolist() == [1.0, 1.0]
    assert t.numpy(force=True).tolist() == [1.0, 1.0]


def test_dlpack_round_trips():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    t = tercel.from_dlpack(array)
    assert t.data_ptr() == array.ctypes.data and t.tolist() == array.tolist()
    back = np.from_dlpack(tercel.arange(5))
    assert back.tolist() == [0, 1, 2, 3, 4]
    own = tercel.from_dlpack(t.T)
    assert own.shape == (3, 2) and own.data_ptr() == t.data_ptr()
    assert t.__dlpack_device__() == (1, 0)
    copied = tercel.from_dlpack(t.__dlpack__(copy=True))
    assert copied.data_ptr() != t.data_ptr()


def test_dlpack_capsules_are_single_use_and_checked():
    t = tercel.ones(3)
    capsule = t.__dlpack__()
    tercel.from_dlpack(capsule)
    with pytest.raises(ValueError, match="once"):
        tercel.from_dlpack(capsule)
    with pytest.raises(TypeError, match="__dlpack__"):
        tercel.from_dlpack(3)
    with pytest.raises(BufferError):
        t.__dlpack__(stream=1)
    with pytest.raises(BufferError):
        t.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="negative"):
        tercel.from_dlpack(np.arange(4.0)[::-1])
    before = tercel.memory_stats()["num_live"]
    for _ in range(100):
        t.__dlpack__()
    gc.collect()
    assert tercel.memory_stats()["num_live"] == before


def test_dlpack_read_only():
    array = np.zeros(3)
    array.flags.writeable = False
    t = tercel.from_numpy(array)
    with pytest.raises(BufferError, match="read-only"):
        t.__dlpack__()
    shared = tercel.from_dlpack(t.__dlpack__(max_version=(1, 0)))
    with pytest.raises(RuntimeError, match="read-only"):
        shared.fill_(1)


def test_dlpack_with_torch():
    torch = pytest.importorskip("torch")
    for dtype in ("float32", "bfloat16", "float16", "int64", "bool", "uint8"):
        ours = tercel.tensor([[1, 0], [1, 1]]).to(getattr(tercel, dtype))
        theirs = torch.from_dlpack(ours)
        assert theirs.tolist() == ours.tolist() and theirs.data_ptr() == ours.data_ptr()
        assert tercel.from_dlpack(theirs).data_ptr() == ours.data_ptr()


def test_tensor_from_python_data():
    assert tercel.tensor([1, 2]).dtype is tercel.int64
    assert tercel.tensor([1, 2.5]).dtype is tercel.float32
    assert tercel.tensor([True, False]).dtype is tercel.bool
    assert tercel.tensor([True, 2]).dtype is tercel.int64
    assert (
        tercel.tensor(np.float64(3)).dtype is tercel.float64
        or tercel.tensor(np.float64(3)).item() == 3
    )
    assert tercel.tensor(np.arange(3.0)).dtype is tercel.float64
    assert tercel.tensor([]).shape == (0,) and tercel.tensor([[], []]).shape == (2, 0)
    assert tercel.tensor([tercel.tensor(1), tercel.tensor(2)]).tolist() == [1, 2]
    assert tercel.tensor([np.arange(2), np.arange(2)]).shape == (2, 2)
    assert tercel.tensor(range(3)).tolist() == [0, 1, 2]
    t = tercel.ones(2, requires_grad=True)
    assert not tercel.tensor(t).requires_grad and tercel.as_tensor(t) is t


@pytest.mark.parametrize(
    "data, error",
    [
        ([[1, 2], [3]], ValueError),
        ([[1], 2], ValueError),
        ([1, [2]], ValueError),
        (["a"], TypeError),
        ("abc", TypeError),
        (None, TypeError),
        ([None], TypeError),
        ({1: 2}, TypeError),
        (2**64, OverflowError),
        ([-(2**63) - 1], OverflowError),
    ],
)
def test_bad_data(data, error):
    with pytest.raises(error):
        tercel.tensor(data)


def test_bad_data_for_a_dtype():
    with pytest.raises(OverflowError, match="uint8"):
        tercel.tensor([300], dtype=tercel.uint8)
    with pytest.raises(OverflowError):
        tercel.tensor([-1], dtype=tercel.uint8)
    with pytest.raises(OverflowError):
        tercel.tensor([float("nan")], dtype=tercel.int32)
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="16"):
        tercel.tensor(loop)


def test_item_and_numbers():
    assert tercel.tensor([[3]]).item() == 3
    assert (
        float(tercel.tensor(2.5)) == 2.5
        and int(tercel.tensor(2.7)) == 2
        and bool(tercel.tensor([1]))
    )
    assert [10, 20, 30][tercel.tensor(1)] == 20
    with pytest.raises(RuntimeError, match="one element"):
        tercel.ones(2).item()
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(tercel.ones(2))
    with pytest.raises(TypeError):
        [1, 2][tercel.tensor(1.0)]
    assert f"{tercel.tensor(1.23456):.2f}" == "1.23"


def test_copies():
    x = tercel.ones(2, requires_grad=True)
    x.grad = tercel.ones(2)
    y = copy.deepcopy(x)
    assert y.requires_grad and y.grad.tolist() == [1, 1] and y.data_ptr() != x.data_ptr()
    shallow = copy.copy(x)
    assert shallow.data_ptr() == x.data_ptr() and shallow is not x
    with pytest.raises(RuntimeError, match="leaf"):
        copy.deepcopy(x * 2)
    box = {"a": x, "b": x}
    again = copy.deepcopy(box)
    assert again["a"] is again["b"]
    sent = pickle.loads(pickle.dumps(tercel.arange(6).reshape(2, 3).T))
    assert sent.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_printing_matches_torch():
    torch = pytest.importorskip("torch")
    cases = [
        [1.0, 2.0],
        [1.5, -2.25, 1e-3],
        [1e10, 1.0],
        [float("nan"), float("inf"), 1.0],
        [[1, 2], [3, 40]],
        [True, False],
        [],
        [[[1.0]], [[2.0]]],
        3,
        2.5,
        True,
        [0.0, 0.0],
        [1e-5, 1.0],
        [123456.0, 0.1],
    ]
    for data in cases:
        assert repr(tercel.tensor(data)) == repr(torch.tensor(data)), data
    big_t, big_o = torch.arange(3000).reshape(50, 60), tercel.arange(3000).reshape(50, 60)
    assert repr(big_o) == repr(big_t)
    assert repr(big_o.to(tercel.float32)) == repr(big_t.float())
    assert repr(tercel.zeros(2, 0)) == repr(torch.zeros(2, 0))
    assert repr(tercel.ones(2, dtype=tercel.float64)) == repr(
        torch.ones(2, dtype=torch.float64)
    ).replace("torch", "tercel")
    assert repr(tercel.arange(100.0).reshape(4, 25)) == repr(torch.arange(100.0).reshape(4, 25))
    assert repr(tercel.ones(2, requires_grad=True)) == repr(torch.ones(2, requires_grad=True))


def test_exported_memory_outlives_a_tensor_that_takes_other_memory():
    """`x.data = y` and resize_ replace the memory of x; arrays and consumers of DLPack still read the old one."""
    for change in (lambda x: setattr(x, "data", tercel.zeros(3)), lambda x: x.resize_(1 << 20)):
        x = tercel.ones(1 << 18)
        array, consumer, view = x.numpy(), np.from_dlpack(x), memoryview(x)
        change(x)
        others = [tercel.zeros(1 << 18) for _ in range(3)]  # would take the memory if it were free
        assert array.min() == consumer.min() == min(view[:10]) == 1.0
        del others
