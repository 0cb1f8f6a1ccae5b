"""safetensors files and save/load: round trips, agreement with the reference package, hostile files."""

from __future__ import annotations

import json
import math
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tercel
from tercel import io, serialization
from tercel.testing import bits, to_float64

DTYPES = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int16",
          "int8", "uint8", "bool"]  # fmt: skip


def example() -> dict[str, tercel.Tensor]:
    rng = np.random.default_rng(0)
    tensors = {}
    for name in DTYPES:
        values = tercel.from_numpy(rng.integers(0, 2, (3, 5)).astype(np.float32))
        tensors[name] = values.to(getattr(tercel, name))
    tensors["empty"] = tercel.zeros((2, 0, 3), dtype=tercel.float32)
    tensors["scalar"] = tercel.tensor(2.5)
    tensors["odd bytes"] = tercel.tensor([1, 2, 3], dtype=tercel.int8)
    return tensors


def same(a: tercel.Tensor, b: tercel.Tensor) -> bool:
    return a.dtype == b.dtype and tuple(a.shape) == tuple(b.shape) and bits(a) == bits(b)


def build(header, data: bytes = b"", raw: bytes | None = None) -> bytes:
    text = raw if raw is not None else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(tmp_path, mmap):
    path = tmp_path / "x.safetensors"
    tensors = example()
    io.save_file(tensors, path, {"author": "someone"})
    loaded = io.load_file(path, mmap=mmap)
    assert set(loaded) == set(tensors)
    for name, t in tensors.items():
        assert same(t, loaded[name]), name
    assert io.read_header(path)[1] == {"author": "someone"}
    loaded["float32"].zero_()  # private: the file keeps its values
    assert same(io.load_file(path)["float32"], tensors["float32"])


def test_strided_tensors_are_stored_contiguous(tmp_path):
    base = tercel.from_numpy(np.arange(24, dtype=np.float32).reshape(4, 6))
    tensors = {"t": base.t(), "slice": base[:, 1:5:2], "expanded": base[:1].expand(3, 6)}
    io.save_file(tensors, tmp_path / "x")
    for name, t in io.load_file(tmp_path / "x").items():
        assert t.is_contiguous()
        assert same(t, tensors[name].contiguous())


def test_reference_package_reads_ours(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    path = tmp_path / "x.safetensors"
    tensors = {k: v for k, v in example().items() if "float8" not in k and k != "bfloat16"}
    io.save_file(tensors, path, {"k": "v"})
    with safetensors.safe_open(path, framework="numpy") as f:
        assert f.metadata() == {"k": "v"}
        for name in f.keys():
            assert np.array_equal(f.get_tensor(name), to_float64(tensors[name])), name


def test_we_read_the_reference_package(tmp_path):
    st_numpy = pytest.importorskip("safetensors.numpy")
    arrays = {
        "a": np.arange(7, dtype=np.int8),
        "b": np.random.default_rng(0).standard_normal((3, 4)),
        "c": np.float16([[1.5]]),
        "d": np.array([True, False]),
    }
    st_numpy.save_file(arrays, str(tmp_path / "x"))
    for name, t in io.load_file(tmp_path / "x").items():
        assert np.array_equal(t.numpy(), arrays[name])


def test_any_header_length_is_read():
    """A header of 128 bytes starts like a pickle file."""
    for extra in range(64, 200, 8):
        data = io.dumps({"a" * extra: tercel.tensor([1.0])})
        assert io.loads(data)["a" * extra].item() == 1.0


def test_misaligned_data_is_read():
    header = {"a": entry("U8", (1,), (0, 1)), "b": entry("F64", (1,), (1, 9))}
    loaded = io.loads(build(header, b"\x07" + struct.pack("<d", 2.5)))
    assert loaded["a"].tolist() == [7]
    assert loaded["b"].tolist() == [2.5]


HUGE = 2**62
HOSTILE = {
    "no bytes": b"",
    "short prefix": b"\0\0\0",
    "header longer than the file": struct.pack("<Q", 100) + b"{}",
    "header length 2^64-1": struct.pack("<Q", 2**64 - 1) + b"{}",
    "header over 100 MB": struct.pack("<Q", 100_000_001) + b"{}",
    "no header": struct.pack("<Q", 0),
    "not an object": build(None, raw=b"[]"),
    "leading space": build(None, raw=b' {"a":1}'),
    "byte order mark": build(None, raw=b"\xef\xbb\xbf{}"),
    "newline at the end": build(None, raw=b"{}\n"),
    "not UTF-8": build(None, raw=b'{"\xff":1}'),
    "lone surrogate": build(
        None, raw=b'{"\\ud800": {"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    ),
    "truncated JSON": build(None, raw=b'{"a": {"dtype": "F32"}'[:-1] + b"}"),
    "two values": build(None, raw=b"{}{}"),
    "deep nesting": build(None, raw=b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "NaN": build(None, raw=b'{"a": NaN}'),
    "long integer": build(None, raw=b'{"a": ' + b"9" * 5000 + b"}"),
    "duplicate tensor": build(
        None,
        bytes(8),
        raw=b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":'
        b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    ),
    "duplicate field": build(
        None, bytes(8), raw=b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    ),
    "tensor is a number": build({"a": 1}),
    "tensor is a list": build({"a": []}),
    "missing field": build({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "extra field": build({"a": {**entry(), "x": 1}}, bytes(8)),
    "dtype is a number": build({"a": entry(dtype=3)}, bytes(8)),
    "unknown dtype": build({"a": entry(dtype="F128")}, bytes(8)),
    "dtype of another world": build({"a": entry(dtype="C64", shape=(1,))}, bytes(8)),
    "shape is a string": build({"a": {**entry(), "shape": "2"}}, bytes(8)),
    "negative size": build({"a": entry(shape=(-2,))}, bytes(8)),
    "two negative sizes": build({"a": entry(shape=(-1, -2))}, bytes(8)),
    "size is a float": build({"a": entry(shape=(2.0,))}, bytes(8)),
    "size is a bool": build({"a": entry(shape=(True, 2))}, bytes(8)),
    "sizes overflow": build({"a": entry(shape=(HUGE, 4, 2))}, bytes(8)),
    "sizes wrap to 8 bytes": build({"a": entry(shape=(2**61, 8, 2))}, bytes(8)),
    "zero times overflow": build({"a": entry(shape=(0, HUGE, HUGE), offsets=(0, 0))}),
    "size over int64": build({"a": entry(shape=(0, 2**63), offsets=(0, 0))}),
    "thousand dimensions": build({"a": entry(shape=(1,) * 1000, offsets=(0, 4))}, bytes(4)),
    "offsets too few": build({"a": entry(offsets=(0,))}, bytes(8)),
    "offsets reversed": build({"a": entry(offsets=(8, 0))}, bytes(8)),
    "offsets negative": build({"a": entry(offsets=(-8, 0))}, bytes(8)),
    "offsets past the end": build({"a": entry(shape=(4,), offsets=(0, 16))}, bytes(8)),
    "offsets huge": build({"a": entry(offsets=(2**63, 2**63 + 8))}, bytes(8)),
    "offsets too long for shape": build({"a": entry(shape=(1,))}, bytes(8)),
    "offsets too short for shape": build({"a": entry(shape=(3,))}, bytes(8)),
    "hole at the start": build({"a": entry(offsets=(8, 16))}, bytes(16)),
    "hole between": build({"a": entry(), "b": entry(offsets=(16, 24))}, bytes(24)),
    "overlap": build({"a": entry(), "b": entry(offsets=(4, 12))}, bytes(12)),
    "same place twice": build({"a": entry(), "b": entry()}, bytes(8)),
    "bytes after the data": build({"a": entry()}, bytes(9)),
    "data missing": build({"a": entry()}, bytes(7)),
    "data without tensors": build({}, bytes(1)),
    "metadata is a list": build({"__metadata__": []}),
    "metadata of numbers": build({"__metadata__": {"a": 1}}),
    "bool byte 2": build({"a": entry("BOOL", (3,), (0, 3))}, b"\0\2\1"),
    "pickle": b"\x80\x04\x95" + bytes(40),
    "zip": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(HOSTILE[name])
    for read in (
        lambda: io.load_file(path),
        lambda: io.load_file(path, mmap=True),
        lambda: io.loads(HOSTILE[name]),
        lambda: tercel.load(path),
    ):
        with pytest.raises((ValueError, NotImplementedError)) as error:
            read()
        assert len(str(error.value)) > 10


@given(data=st.data())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_damaged_files_never_crash(data):
    good = io.dumps({"a": tercel.tensor([1.0, 2.0]), "b": tercel.tensor([True, False])}, {"m": "x"})
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(broken) - 1))
        broken[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    for candidate in (bytes(broken), bytes(broken[:cut])):
        try:
            for t in io.loads(candidate).values():
                t.tolist()
        except (ValueError, NotImplementedError):
            pass


def test_saving_is_atomic(tmp_path):
    path = tmp_path / "x"
    tercel.save({"a": tercel.tensor([1.0])}, path)
    with pytest.raises(TypeError):
        tercel.save({"a": tercel.tensor([2.0]), "b": [object()]}, path)
    assert tercel.load(path)["a"].tolist() == [1.0]
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(OSError):
        tercel.save({"a": tercel.tensor([1.0])}, tmp_path / "no" / "such" / "folder")


def test_nested_state(tmp_path):
    t = tercel.tensor([1.0, 2.0])
    state = {
        "model": {"w": t, "again": t},
        "optimizer": {
            "state": {0: {"step": 3}, 1: {"m": tercel.ones(2, 2)}},
            "groups": [{"lr": 0.1}],
        },
        "betas": (0.9, 0.999),
        "limits": [math.inf, -math.inf],
        "text": "grüße",
        "none": None,
        "flag": True,
        "big": 2**70,
        "dtype": tercel.bfloat16,
        "empty": [{}, [], ()],
    }
    tercel.save(state, tmp_path / "x")
    loaded = tercel.load(tmp_path / "x")
    assert loaded["model"]["w"].tolist() == [1.0, 2.0]
    assert loaded["model"]["w"] is loaded["model"]["again"]
    assert loaded["optimizer"]["state"][1]["m"].tolist() == [[1, 1], [1, 1]]
    for key in ("betas", "limits", "text", "none", "flag", "big", "dtype", "empty"):
        assert loaded[key] == state[key], key
    assert list(loaded) == list(state)


def test_a_tensor_alone_and_a_flat_dict(tmp_path):
    tercel.save(tercel.tensor(3.0), tmp_path / "one")
    assert tercel.load(tmp_path / "one").item() == 3.0
    tercel.save({"w": tercel.tensor([1.0])}, tmp_path / "flat")
    assert io.read_header(tmp_path / "flat")[1] == {}
    # the order of a dict is kept, whatever the order of the data
    state = {"b": tercel.ones(1), "a": tercel.ones(1), "c": tercel.ones(1, dtype=tercel.float64)}
    tercel.save(state, tmp_path / "flat")
    assert list(tercel.load(tmp_path / "flat")) == ["b", "a", "c"]


@pytest.mark.parametrize(
    "order", ["", "3", '["a"]', '["a", "a"]', '["a", 3]', '["a", "x"]', "[" * 100_000]
)
def test_hostile_order(tmp_path, order):
    """A list that does not name the tensors says nothing about their order."""
    tensors = {"b": tercel.ones(1), "a": tercel.zeros(1)}
    io.save_file(tensors, tmp_path / "x", {serialization.ORDER: order})
    assert list(tercel.load(tmp_path / "x")) == ["a", "b"]


@pytest.mark.parametrize(
    "structure",
    ["", "[", "[]", "{}", '{"tensor": "none"}', '{"tensor": 3}', '{"dict": [1]}', '{"dict": 1}', '{"x": 1}',
     '{"dict": [[{"list": []}, 1]]}', '{"float": "1"}', '{"dtype": "x"}', '{"list": [' * 150 + "]}" * 150,
     "[" * 100_000],
)  # fmt: skip
def test_hostile_structure(tmp_path, structure):
    io.save_file({}, tmp_path / "x", {serialization.STRUCTURE: structure})
    with pytest.raises(ValueError):
        tercel.load(tmp_path / "x")


def test_bad_arguments(tmp_path):
    loop: list = []
    loop.append(loop)
    for bad, error in [
        (loop, ValueError),
        (object(), TypeError),
        ({(1, 2): 1}, TypeError),
        (1j, TypeError),
    ]:
        with pytest.raises(error):
            tercel.save(bad, tmp_path / "x")
    for tensors in [None, [1], {"a": 1}, {1: tercel.tensor(1.0)}]:
        with pytest.raises(TypeError):
            io.save_file(tensors, tmp_path / "x")
    with pytest.raises(ValueError):
        io.save_file({"__metadata__": tercel.tensor(1.0)}, tmp_path / "x")
    with pytest.raises(OSError):
        io.load_file(tmp_path / "missing")
    with pytest.raises(OSError):
        io.load_file(tmp_path)


def test_loading_keeps_no_file_open_and_leaks_nothing(tmp_path, no_leak):
    io.save_file({"a": tercel.ones(1000)}, tmp_path / "x")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        for mmap in (False, True):
            t = io.load_file(tmp_path / "x", mmap=mmap)["a"]
            assert t[999].item() == 1
            del t
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_open_files_and_map_location(tmp_path):
    import io as files

    state = {"model": {"w": tercel.arange(6).view(2, 3)}, "epoch": 3}
    buffer = files.BytesIO()
    tercel.save(state, buffer)
    buffer.seek(0)
    again = tercel.load(buffer, map_location="cpu", weights_only=True)
    assert again["epoch"] == 3 and tercel.equal(again["model"]["w"], state["model"]["w"])
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as f:
        tercel.save(state["model"], f)
    assert tercel.load(path, tercel.device("cpu"))["w"].shape == (2, 3)
    for bad in (lambda storage, where: storage, {"cuda:0": "cpu"}):
        with pytest.raises(TypeError, match="map_location"):
            tercel.load(path, bad)
    for f in (tercel.load, lambda f: tercel.save(state, f)):
        with pytest.raises(TypeError, match="expected a path or a file"):
            f(3)
