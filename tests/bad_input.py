"""Corner values for every argument of an op (promise P2): the outcome is a result or one of the documented
exceptions, never a crash, a hang or an internal error. Runs in a forked child with limited memory."""

from __future__ import annotations

import math
import os
import resource
import select
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np

import tercel
from op_cases import OpCase, Sample
from op_runner import as_tuple, contiguous, prepare, tensors

DOCUMENTED = (ValueError, TypeError, IndexError, RuntimeError, OverflowError, MemoryError, KeyError,
              BufferError, OSError)  # fmt: skip
INTERNAL = ("std::", "_M_", "bad_alloc", "basic_string", "pybind11::", "vector<", "map::at")
SECONDS_PER_CALL = 10
EXTRA_BYTES = 3 << 30

INTEGERS = [
    0,
    1,
    -1,
    -2,
    7,
    2**31,
    2**62,
    2**63 - 1,
    -(2**63),
    2**64,
    None,
    "x",
    1.5,
    math.nan,
    [],
    (),
]
NUMBERS = [0.0, -1.0, 1, math.nan, math.inf, -math.inf, 1e308, 2**70, None, "x", [], (1, 2)]
SEQUENCES = [(), (0,), (0, 0), (-1,), (-1, -1), (1, 1, 1), (2**62, 2**62), (2**31, 2**31, 2**31), (1,) * 70,
             (-(2**63),), (2**64,), ("x",), (1.5, 2.5), None, "x", 0, -3, 2**62]  # fmt: skip
TEXTS = ["", "nonsense", None, 3, ()]
FLAGS = [None, "x", 2, (), 1.5]


def tensor_corners(t: tercel.Tensor) -> Iterator[tuple[str, Any]]:
    yield "None", None
    yield "text", "x"
    yield "list", []
    yield "object", object()
    yield "float", -1.5
    shape = tuple(t.shape)
    yield "empty", tercel.zeros((0,), dtype=t.dtype)
    yield "empty, same rank", tercel.zeros(tuple(0 for _ in shape), dtype=t.dtype)
    yield "0-d", tercel.zeros((), dtype=t.dtype)
    yield "one more dimension", tercel.zeros((1, *shape), dtype=t.dtype)
    if shape:
        yield "one dimension less", tercel.zeros(shape[1:], dtype=t.dtype)
        yield "one element more", tercel.zeros((*shape[:-1], shape[-1] + 1), dtype=t.dtype)
        yield "one element less", tercel.zeros((*shape[:-1], max(shape[-1] - 1, 0)), dtype=t.dtype)
        yield "first dimension longer", tercel.zeros((shape[0] + 1, *shape[1:]), dtype=t.dtype)
        yield "expanded", tercel.zeros((), dtype=t.dtype).expand(shape)
    yield "deep", tercel.zeros((1,) * 7, dtype=t.dtype)
    for dtype in (
        tercel.bool,
        tercel.int64,
        tercel.uint8,
        tercel.float64,
        tercel.bfloat16,
        tercel.float8_e4m3fn,
    ):
        yield str(dtype), tercel.zeros(shape, dtype=dtype)
    if t.dtype.is_floating_point:
        yield "NaN", tercel.full(shape, math.nan, dtype=t.dtype)
        yield "inf", tercel.full(shape, math.inf, dtype=t.dtype)
    else:
        yield (
            "huge values",
            tercel.full(shape, 100 if t.dtype == tercel.uint8 else 2**30, dtype=t.dtype)
            if t.dtype != tercel.bool
            else t,
        )
        yield (
            "negative values",
            tercel.full(shape, -1 if t.dtype != tercel.uint8 else 255, dtype=t.dtype)
            if t.dtype != tercel.bool
            else t,
        )


def corners(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, tercel.Tensor):
        yield from tensor_corners(value)
        return
    if isinstance(value, list) and value and isinstance(value[0], tercel.Tensor):
        yield from [
            ("no tensors", []),
            ("None in it", [None]),
            ("text in it", ["x"]),
            ("None", None),
        ]
        for label, corner in tensor_corners(value[-1]):
            yield f"last is {label}", [*value[:-1], corner]
        return
    if isinstance(value, bool):
        choices = FLAGS
    elif isinstance(value, int):
        choices = INTEGERS
    elif isinstance(value, float):
        choices = NUMBERS
    elif isinstance(value, str):
        choices = TEXTS
    elif isinstance(value, (tuple, list)):
        choices = SEQUENCES
    else:
        choices = [*INTEGERS, *TEXTS, (2**62,)]
    for choice in choices:
        yield repr(choice)[:40], choice


def variations(good: Sample) -> Iterator[tuple[str, Sample]]:
    for i, value in enumerate(good.args):
        for label, corner in corners(value):
            yield (
                f"argument {i} = {label}",
                Sample((*good.args[:i], corner, *good.args[i + 1 :]), good.kwargs),
            )
    for key, value in good.kwargs.items():
        for label, corner in corners(value):
            yield f"{key} = {label}", Sample(good.args, {**good.kwargs, key: corner})
    yield "no arguments", Sample((), {})
    yield "unknown keyword", Sample(good.args, {**good.kwargs, "no_such_keyword": 1})


def judge(case: OpCase, sample: Sample) -> str:
    """Empty if the call behaves, else what is wrong."""
    try:
        results = as_tuple(case.function()(*sample.args, **sample.kwargs))
        for result in results:  # reading it waits for a GPU, which reports a bad index then
            if isinstance(result, tercel.Tensor) and result.numel() <= 4096:
                result.detach().tolist()
    except DOCUMENTED as error:
        text = str(error)
        if not text and not isinstance(error, MemoryError):
            return f"{type(error).__name__} without a message"
        found = [word for word in INTERNAL if word in text and not callable(case.fn)]
        if found and not isinstance(error, TypeError):
            return f"{type(error).__name__} with internal text: {text[:200]}"
        return ""
    except AttributeError:  # a lambda around a method meets an argument that is no tensor
        return "" if callable(case.fn) else "undocumented AttributeError"
    except Exception as error:
        return f"undocumented {type(error).__name__}: {str(error)[:200]}"
    return ""


def limit_memory() -> None:
    with open("/proc/self/statm") as f:
        used = int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + EXTRA_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def child(case: OpCase, sample: Sample, dtype: str, pipe: int) -> None:
    """Writes 'S label' before and 'F text' after each call that misbehaves; 'E' at the end."""

    def say(text: str) -> None:
        os.write(pipe, (text.replace("\n", " ")[:500] + "\n").encode())

    limit_memory()
    values, was_float = prepare(sample, dtype)
    good = tensors(values, was_float, dtype, contiguous)
    grad = [t for t in good.args if isinstance(t, tercel.Tensor) and t.dtype.is_floating_point]
    for track in (False, True) if case.grad is not False else (False,):
        for t in grad:
            t.requires_grad_(track)
        for label, variation in variations(good):
            say(f"S {label}")
            signal.alarm(SECONDS_PER_CALL)
            problem = judge(case, variation)
            signal.alarm(0)
            if problem:
                say(f"F {label}: {problem}")
    say("S the good call again")
    case.function()(*good.args, **good.kwargs)
    say("E")


def check_bad_input(case: OpCase, sample: Sample) -> None:
    case.function()  # a missing op fails here, with its name
    dtype = "float32" if "float32" in case.dtypes else case.dtypes[0]
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            np.seterr(all="ignore")
            child(case, sample, dtype, write)
            status = 0
        except BaseException as error:
            os.write(write, f"F {type(error).__name__}: {error}\n".encode()[:500])
        finally:
            os._exit(status)
    os.close(write)
    chunks = []
    while select.select([read], [], [], 4 * SECONDS_PER_CALL)[0]:
        data = os.read(read, 65536)
        if not data:
            break
        chunks.append(data)
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(read)
    _, status = os.waitpid(pid, 0)
    lines = b"".join(chunks).decode(errors="replace").splitlines()
    failures = [line[2:] for line in lines if line.startswith("F")]
    if "E" not in lines:
        last = next((line[2:] for line in reversed(lines) if line.startswith("S")), "start")
        if os.WIFSIGNALED(status):
            death = signal.Signals(os.WTERMSIG(status)).name
            failures.append(
                f"{last}: ended by {death}" + (" (no answer in time)" if death == "SIGALRM" else "")
            )
        else:
            failures.append(f"{last}: the child ended early")
    assert not failures, f"{case.name}: " + "\n".join(failures[:20])
