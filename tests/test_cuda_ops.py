"""CUDA: every op case at small sizes, on a GPU or in the emulator.

`pytest tests/test_ops.py --device cuda` checks the kernels with everything the op cases have.
"""

from __future__ import annotations

import numpy as np
import pytest

import op_runner
from conftest import cuda_only
from op_cases import Sampler, load_all
from op_runner import (
    LAYOUTS,
    Differentiable,
    call,
    contiguous,
    expanded,
    expected,
    make,
    prepare,
    scale_of,
    seed_of,
    tensors,
)
from tercel.testing import GRAD, assert_close, to_float64

SAMPLE = [
    "add",
    "exp",
    "sum",
    "softmax",
    "layer_norm",
    "matmul",
    "where",
    "cumsum",
    "argmax",
    "gelu_none",
    "cat",
    "tril",
    "sort",
    "topk",
    "masked_select",
    "searchsorted",
    "scatter_add",
    "embedding_bag sum",
    "interpolate",
    "batch_norm train",
    "cross_entropy",
    "conv2d",
    "max_pool2d",
]
CASES = load_all()


def chosen_samples(name: str) -> list:
    """Of the ops in SAMPLE the last six; of the others up to eight small ones, the highest ranks first."""
    samples = list(CASES[name].samples(Sampler(seed_of(name))))
    if name in SAMPLE:
        return samples[-6:]

    def arrays(sample):
        return [a for a in sample.args if isinstance(a, np.ndarray)]

    small = [s for s in samples if sum(a.size for a in arrays(s)) <= 400] or samples[:1]
    small.sort(key=lambda s: -max((a.ndim for a in arrays(s)), default=0))
    return [small[i] for i in sorted({i * len(small) // 8 for i in range(8)})]


def check_values(case, sample, dtype, layout):
    """The outputs on the GPU against the oracle."""
    values, was_float = prepare(sample, dtype, constant=layout is expanded)
    wanted, scales = expected(case, values), scale_of(case, values)
    actual = call(case, tensors(values, was_float, dtype, layout))
    for i, (a, w) in enumerate(zip(actual, wanted, strict=True)):
        assert a.is_cuda
        if w is not None:
            scale = scales[min(i, len(scales) - 1)] if scales else None
            assert_close(a, w, case.tol, scale=scale, what=f"{case.name} {dtype}")


def check_gradients(case, sample, monkeypatch):
    """Gradients on the GPU in float32 against those of the CPU in float64."""
    f = Differentiable(case, sample, "float32")
    if not f.indices:
        return
    _, outputs = f.run()
    rng = np.random.default_rng(1)
    cotangents = [to_float64(make(rng.standard_normal(o.shape), "float32")) for o in outputs]
    if not outputs:
        return
    found = f.gradients(None, cotangents)
    assert all(g.is_cuda for g in found)
    with monkeypatch.context() as m:
        m.setattr(op_runner, "DEVICE", "cpu")
        exact = Differentiable(case, f.sample, "float64").gradients(None, cotangents)
    for g, w in zip(found, exact, strict=True):
        assert_close(g, to_float64(w), GRAD, what=f"{case.name} gradient")


def check_op(name, monkeypatch):
    case = CASES[name]
    monkeypatch.setattr(op_runner, "DEVICE", "cuda")
    main = "float32" if "float32" in case.dtypes else case.dtypes[0]
    for i, sample in enumerate(chosen_samples(name)):
        check_values(case, sample, main, contiguous)
        if i == 0:
            for dtype in set(case.dtypes) - {main}:
                check_values(case, sample, dtype, contiguous)
            for layout in (*LAYOUTS.values(), expanded) if case.layouts else ():
                check_values(case, sample, main, layout)
        if case.grad is not False and main == "float32":
            check_gradients(case, sample, monkeypatch)


@cuda_only
@pytest.mark.parametrize("name", SAMPLE)
def test_op_case(name, monkeypatch):
    """One op of each kind of kernel; tools/gpu/check.sh runs these under compute-sanitizer, too."""
    check_op(name, monkeypatch)


@cuda_only
@pytest.mark.parametrize("name", sorted(set(CASES) - set(SAMPLE)))
def test_every_op(name, monkeypatch):
    """No op lacks a kernel: values in each dtype and layout, gradients. The whole is test_ops.py --device cuda."""
    check_op(name, monkeypatch)
