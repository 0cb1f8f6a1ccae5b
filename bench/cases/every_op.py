"""Every op of tests/op_cases that has no row of its own, on the largest sample of its op case: mostly the cost
of a call. Rows of the other families have the shapes that matter."""

import functools
import sys
from pathlib import Path

import numpy as np

from . import CASES, case

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from op_cases import Sample, Sampler, load_all
from op_runner import map_arrays


def arrays_of(sample: Sample) -> list[np.ndarray]:
    arrays: list[np.ndarray] = []
    map_arrays(sample, lambda array, _: arrays.append(array))
    return arrays


def add(op) -> None:
    samples = [op.large(Sampler())] if op.large else list(op.samples(Sampler()))
    sample = max(samples, key=lambda s: sum(a.size for a in arrays_of(s)))
    arrays = arrays_of(sample)

    def inputs(_):
        return [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]

    def run(L, *tensors):
        call = op.fn
        if isinstance(call, str):
            call = functools.reduce(getattr, call.split("."), L)
        s = map_arrays(sample, lambda _, position: tensors[position])
        return call(*s.args, **s.kwargs)

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
