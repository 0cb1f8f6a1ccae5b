"""Every op of tests/op_cases that has no row of its own, on the largest sample of its op case: mostly the cost
of a call. Rows of the other families have the shapes that matter."""

import functools
import sys
from pathlib import Path

import numpy as np

from . import CASES, case

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from op_cases import Sampler, load_all


def arrays_of(value) -> list:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, (list, tuple)):
        return [a for v in value for a in arrays_of(v)]
    return []


def rebuilt(value, tensors):
    """`value` with every array replaced by the next tensor."""
    if isinstance(value, np.ndarray):
        return next(tensors)
    if isinstance(value, (list, tuple)) and arrays_of(value):
        return [rebuilt(v, tensors) for v in value]
    return value


def add(op) -> None:
    samples = [op.large(Sampler())] if op.large else list(op.samples(Sampler()))
    sample = max(samples, key=lambda s: sum(a.size for a in arrays_of(s.args)))
    arrays = arrays_of(sample.args) + arrays_of(list(sample.kwargs.values()))

    def inputs(_):
        return [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]

    def run(L, *tensors):
        it = iter(tensors)
        call = op.fn
        if isinstance(call, str):
            call = functools.reduce(getattr, call.split("."), L)
        args = [rebuilt(a, it) for a in sample.args]
        return call(*args, **{k: rebuilt(v, it) for k, v in sample.kwargs.items()})

    shape = " ".join("x".join(map(str, a.shape)) or "0-d" for a in arrays) or "no tensor"
    case(
        op.name,
        f"sample {shape}",
        inputs=inputs,
        fn=run,
        check=False,
        peer=None if isinstance(op.fn, str) else False,
    )


def add_all() -> None:
    own = {c.op for c in CASES}
    for op in load_all().values():
        if "float32" in op.dtypes and not {op.name, op.name.rpartition(".")[2]} & own:
            add(op)
