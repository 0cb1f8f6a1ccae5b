"""ONNX Runtime as a peer for quantised linear layers; only where the package onnxruntime is installed.

Models are one node, written as protobuf messages by hand: field numbers from onnx.proto, operators of the domain
com.microsoft (DynamicQuantizeMatMul, MatMulNBits).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

AVAILABLE = importlib.util.find_spec("onnxruntime") is not None
_TYPES = {"float32": 1, "uint8": 2, "int8": 3}


def _varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _initializer(name: str, array: np.ndarray) -> bytes:
    dims = b"".join(_field(1, n) for n in array.shape)
    return dims + _field(2, _TYPES[array.dtype.name]) + _field(8, name) + _field(9, array.tobytes())


def _float_matrix(name: str, rows: int, columns: int) -> bytes:
    shape = b"".join(_field(1, _field(1, n)) for n in (rows, columns))
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _session(op: str, constants: dict[str, np.ndarray], attributes: dict[str, int], m: int, k: int, n: int, threads: int):  # fmt: skip
    import onnxruntime

    node = b"".join(_field(1, name) for name in ("x", *constants)) + _field(2, "y") + _field(4, op)
    for name, value in attributes.items():
        node += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
    graph = _field(1, node + _field(7, "com.microsoft")) + _field(2, "linear")
    graph += b"".join(_field(5, _initializer(name, a)) for name, a in constants.items() if name)
    graph += _field(11, _float_matrix("x", m, k)) + _field(12, _float_matrix("y", m, n))
    opset = _field(1, "com.microsoft") + _field(2, 1)
    model = (
        _field(1, 8)
        + _field(7, graph)
        + _field(8, opset)
        + _field(8, _field(1, "") + _field(2, 17))
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # its threads go to sleep after a run instead of taking the processors from the other side
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def dynamic_int8(x: np.ndarray, w: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """x w^T with int8 weights (a scale per output channel) and activations rounded on the fly."""
    scale = np.maximum(np.abs(w).max(1), 1e-30).astype(np.float32) / np.float32(127)
    codes = np.ascontiguousarray(np.rint(w / scale[:, None]).astype(np.int8).T)
    constants = {"w": codes, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
    session = _session("DynamicQuantizeMatMul", constants, {}, *x.shape, len(w), threads)
    return lambda: session.run(None, {"x": x})[0]


def int4(x: np.ndarray, w: np.ndarray, group: int, threads: int) -> Callable[[], np.ndarray]:
    """x w^T with 4-bit weights: codes 0..15 around 8, a scale per group of a row."""
    n, k = w.shape
    groups = w.reshape(n, k // group, group)
    scale = np.maximum(np.abs(groups).max(2), 1e-30).astype(np.float32) / np.float32(7)
    codes = np.clip(np.rint(groups / scale[:, :, None]) + 8, 0, 15).astype(np.uint8)
    packed = codes[:, :, ::2] | codes[:, :, 1::2] << 4
    attributes = {"K": k, "N": n, "bits": 4, "block_size": group, "accuracy_level": 1}
    session = _session("MatMulNBits", {"w": packed, "scale": scale.reshape(-1)}, attributes, len(x), k, n, threads)  # fmt: skip
    return lambda: session.run(None, {"x": x})[0]
