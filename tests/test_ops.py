"""Every test that can be derived from an OpCase (tests/op_cases): values against the float64 oracle in each
dtype, ISA level and memory layout; gradients of first and second order; the same bits for any number of
threads, on both vector levels and in any batch; in-place twins; behaviour under bad input."""

from __future__ import annotations

import numpy as np
import pytest

import tercel
from bad_input import check_bad_input
from op_cases import Sampler, load_all
from op_runner import (
    GRADCHECK_RTOL,
    GRADCHECK_STEP,
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
    transposed,
)
from tercel.testing import GRAD, Tolerance, assert_close, bits, to_float64

CASES = load_all()
DIFFERENTIABLE = {n: c for n, c in CASES.items() if c.grad is not False}
MANTISSA = {"float32": 23, "float64": 52, "bfloat16": 7, "float16": 10}


def sampler(name: str) -> Sampler:
    return Sampler(seed_of(name))


def names(cases) -> list[str]:
    return sorted(cases)


def compare(case, actual, wanted, scales, what):
    assert len(actual) == len(wanted), f"{what}: {len(actual)} outputs, expected {len(wanted)}"
    for i, (a, w) in enumerate(zip(actual, wanted)):
        if w is None:
            continue
        scale = scales[min(i, len(scales) - 1)] if scales else None
        assert_close(a, w, case.tol, scale=scale, what=what if len(wanted) == 1 else f"{what}[{i}]")


@pytest.mark.parametrize("name,dtype", [(n, d) for n in names(CASES) for d in CASES[n].dtypes])
def test_values(name, dtype, isa_levels):
    case = CASES[name]
    for index, sample in enumerate(case.samples(sampler(name))):
        for constant in (False, True) if case.layouts else (False,):
            values, was_float = prepare(sample, dtype, constant)
            wanted, scales = expected(case, values), scale_of(case, values)
            if constant:
                layouts = {"expanded": expanded}
            else:
                layouts = {"contiguous": contiguous, **LAYOUTS}
                layouts["mixed"] = [LAYOUTS["sliced"], LAYOUTS["transposed"]]
            if not case.layouts:
                layouts = {"contiguous": contiguous}
            for level in isa_levels:
                tercel.set_isa(level)
                for label, layout in layouts.items():
                    actual = call(case, tensors(values, was_float, dtype, layout))
                    what = f"{name} sample {index} {label} {level}"
                    compare(case, actual, wanted, scales, what)


@pytest.mark.parametrize("name", names(c for c in CASES if CASES[c].inplace))
def test_inplace(name):
    case = CASES[name]
    for sample in case.samples(sampler(name)):
        values, was_float = prepare(sample, "float32")
        first = call(case, tensors(values, was_float, "float32", contiguous))[0]
        if tuple(first.shape) != tuple(np.shape(values.args[0])):
            continue  # the result would not fit
        ready = tensors(values, was_float, "float32", contiguous)
        target = ready.args[0]
        version = target._version
        result = getattr(target, case.inplace)(*ready.args[1:], **ready.kwargs)
        assert result is target
        assert target._version > version
        assert bits(target) == bits(first)


def dot(tensor_list, arrays) -> float:
    return float(sum((to_float64(t) * a).sum() for t, a in zip(tensor_list, arrays)))


def close_numbers(a: float, b: float, magnitude: float, what: str) -> None:
    assert abs(a - b) <= GRADCHECK_RTOL * max(1.0, abs(a), abs(b), magnitude), (
        f"{what}: analytic {a!r}, central difference {b!r}"
    )


def directions(rng, values):
    """Perturbations to try: single elements of small inputs, random directions of every input."""
    for k, value in enumerate(values):
        if value.size == 0:
            continue
        if value.size <= 12:
            for i in range(value.size):
                unit = np.zeros(value.size)
                unit[i] = 1.0
                yield k, unit.reshape(value.shape)
        for _ in range(2):
            yield k, rng.standard_normal(value.shape)


def small(sample, limit: int = 400) -> bool:
    sizes = [np.size(a) for a in sample.args if isinstance(a, np.ndarray)]
    return sum(sizes) <= limit


def central_difference(function, values, k, direction, weights) -> float:
    total = 0.0
    for sign in (1.0, -1.0):
        moved = list(values)
        moved[k] = np.asarray(values[k] + sign * GRADCHECK_STEP * direction)
        total += sign * dot(function(moved), weights)
    return total / (2 * GRADCHECK_STEP)


@pytest.mark.parametrize("name", names(DIFFERENTIABLE))
def test_gradient(name):
    """Analytic gradients in float64 against central differences of the op itself."""
    case, rng, tried = CASES[name], np.random.default_rng(1), 0
    for sample in case.samples(sampler(name)):
        f = Differentiable(case, sample)
        if not f.indices or not small(sample):
            continue
        values = f.values()
        _, outputs = f.run()
        if not outputs:
            continue
        tried += 1
        cotangents = [rng.standard_normal(tuple(o.shape)) for o in outputs]
        analytic = f.gradients(None, cotangents)
        for x, g in zip(values, analytic):
            assert tuple(g.shape) == x.shape
        for layout in (transposed, LAYOUTS["sliced"]) if case.layouts else ():
            for g, h in zip(f.gradients(None, cotangents, layout), analytic):
                assert_close(
                    h, to_float64(g), GRAD, what=f"{name}: gradient of a {layout.__name__} input"
                )

        def forward(moved, f=f):
            return f.run(moved)[1]

        for k, direction in directions(rng, values):
            got = float((to_float64(analytic[k]) * direction).sum())
            want = central_difference(forward, values, k, direction, cotangents)
            magnitude = float(np.abs(to_float64(analytic[k]) * direction).sum())
            close_numbers(got, want, magnitude, f"{name}: d/d(arg {f.indices[k]})")
    assert tried, f"{name}: no sample is differentiable"


@pytest.mark.parametrize("name", names(DIFFERENTIABLE))
def test_gradient_through_a_result_written_in_place(name):
    """y.mul_(2) doubles the gradient, whatever memory the op took y from; or writing y is an error."""
    case, rng = CASES[name], np.random.default_rng(5)
    for sample in case.samples(sampler(name)):
        f = Differentiable(case, sample)
        _, outputs = f.run() if f.indices and small(sample) else ((), ())
        if not outputs:
            continue
        cotangents = [rng.standard_normal(tuple(o.shape)) for o in outputs]
        doubled = f.gradients(None, [2 * v for v in cotangents])
        inputs, outputs = f.run()
        try:
            for y in outputs:
                y.mul_(2.0)
            found = tercel.autograd.grad(
                outputs, inputs, [make(v, "float64") for v in cotangents], allow_unused=True
            )
        except RuntimeError:  # a view of a leaf, shared memory, or values kept for backward
            continue
        for g, want in zip(found, doubled):
            g = np.zeros(tuple(want.shape)) if g is None else g
            assert_close(g, to_float64(want), GRAD, what=f"{name}: gradient of a result times 2")


@pytest.mark.parametrize(
    "name", names(n for n, c in DIFFERENTIABLE.items() if c.grad2 is not False)
)
def test_second_order(name):
    """Gradients of gradients, with respect to inputs and to the incoming gradient."""
    case, rng, done = CASES[name], np.random.default_rng(2), 0
    for sample in case.samples(sampler(name)):
        f = Differentiable(case, sample)
        if not f.indices or not small(sample, 120) or done >= 6:
            continue
        values = f.values()
        inputs, outputs = f.run()
        if not outputs or not all(np.size(v) for v in values):
            continue
        done += 1
        cotangents = [rng.standard_normal(tuple(o.shape)) for o in outputs]
        vs = [make(v, "float64").requires_grad_(True) for v in cotangents]
        first = tercel.autograd.grad(
            outputs, inputs, grad_outputs=vs, create_graph=True, allow_unused=True
        )
        kept = [(i, g) for i, g in enumerate(first) if g is not None and g.requires_grad]
        if not kept:
            continue
        weights = [rng.standard_normal(values[i].shape) for i, _ in kept]
        second = tercel.autograd.grad(
            [g for _, g in kept],
            inputs + vs,
            grad_outputs=[make(w, "float64") for w in weights],
            allow_unused=True,
        )

        def first_order(moved, f=f, kept=kept):
            count = len(f.values())
            found = f.gradients(moved[:count], moved[count:])
            return [found[i] for i, _ in kept]

        everything = values + cotangents
        for k, direction in directions(rng, everything):
            g = second[k]
            product = to_float64(g) * direction if g is not None else np.zeros(1)
            want = central_difference(first_order, everything, k, direction, weights)
            close_numbers(
                float(product.sum()),
                want,
                float(np.abs(product).sum()),
                f"{name}: second order, input {k}",
            )


@pytest.mark.parametrize("name", names(DIFFERENTIABLE))
def test_gradient_dtypes(name, isa_levels):
    """Gradients in the narrower dtypes, at every level, against those in float64 of the same values."""
    case, rng = CASES[name], np.random.default_rng(3)
    for dtype in case.dtypes:
        if dtype not in ("float32", "bfloat16", "float16"):
            continue
        for sample in case.samples(sampler(name)):
            f = Differentiable(case, sample, dtype)
            if not f.indices:
                continue
            exact = Differentiable(case, f.sample, "float64")
            exact.was_float = f.was_float
            _, outputs = exact.run()
            if not outputs:
                continue
            cotangents = [
                to_float64(make(rng.standard_normal(tuple(o.shape)), dtype)) for o in outputs
            ]
            wanted = exact.gradients(None, cotangents)
            # an op of several steps rounds in between: a few units of the narrow dtype at the largest value
            allowed = Tolerance(
                "grad", GRAD.ulps, GRAD.scale_eps * 2.0 ** (23 - MANTISSA[dtype]) / 8
            )
            if dtype == "float32":
                allowed = GRAD
            for level in isa_levels:
                tercel.set_isa(level)
                for i, (g, w) in enumerate(zip(f.gradients(None, cotangents), wanted)):
                    assert g.dtype == getattr(tercel, dtype), f"{name}: gradient dtype {g.dtype}"
                    assert_close(
                        g, to_float64(w), allowed, what=f"{name} {dtype} {level} gradient {i}"
                    )


def forward_and_backward(case, sample, dtype) -> list[bytes]:
    """The bytes of every output and gradient."""
    f = Differentiable(case, sample, dtype)
    if case.grad is False or not f.indices or "float" not in dtype:
        return [bits(o) for o in call(case, tensors(f.sample, f.was_float, dtype, contiguous))]
    _, plain = f.run(track=False)
    inputs, outputs = f.run()
    rng = np.random.default_rng(4)
    vs = [make(rng.standard_normal(tuple(o.shape)), dtype) for o in outputs]
    grads = (
        tercel.autograd.grad(outputs, inputs, grad_outputs=vs, allow_unused=True) if outputs else ()
    )
    return [bits(t) for t in [*plain, *outputs, *grads] if t is not None]


@pytest.mark.parametrize("name", names(n for n, c in CASES.items() if c.large))
def test_threads_do_not_change_bits(name, threads):
    case = CASES[name]
    for dtype in [d for d in ("float32", "bfloat16", "int32") if d in case.dtypes]:
        sample = case.large(sampler(name))
        threads(1)
        one = forward_and_backward(case, sample, dtype)
        for n in (2, 3, 8):
            threads(n)
            assert forward_and_backward(case, sample, dtype) == one, (
                f"{name} {dtype}: 1 and {n} threads"
            )


@pytest.mark.parametrize("name", names(n for n, c in CASES.items() if c.isa_bits))
def test_vector_levels_give_the_same_bits(name, isa_levels):
    case = CASES[name]
    if not {"avx2", "avx512"} <= set(isa_levels):
        pytest.skip("needs avx2 and avx512")
    if "float32" not in case.dtypes:
        pytest.skip("no float32")
    samples = list(case.samples(sampler(name)))
    if case.large:
        samples.append(case.large(sampler(name)))
    for index, sample in enumerate(samples):
        tercel.set_isa("avx2")
        narrow = forward_and_backward(case, sample, "float32")
        tercel.set_isa("avx512")
        assert forward_and_backward(case, sample, "float32") == narrow, f"{name}: sample {index}"


@pytest.mark.parametrize("name", names(n for n, c in CASES.items() if c.batch))
def test_batch_does_not_change_bits(name):
    case = CASES[name]
    samples = list(case.samples(sampler(name)))
    if case.large:
        samples.append(case.large(sampler(name)))
    for dtype in [d for d in ("float32", "bfloat16") if d in case.dtypes]:
        for sample in samples:
            sizes = {np.shape(sample.args[i])[0] for i in case.batch if np.ndim(sample.args[i])}
            if len(sizes) != 1 or (n := sizes.pop()) < 2:
                continue
            values, was_float = prepare(sample, dtype)
            ready = tensors(values, was_float, dtype, contiguous)
            whole = call(case, ready)
            for begin, end in {(0, 1), (n - 1, n), (n // 3, n // 3 + max(1, n // 2))}:
                args = [a[begin:end] if i in case.batch else a for i, a in enumerate(ready.args)]
                part = case.function()(*args, **ready.kwargs)
                part = part if isinstance(part, tuple) else (part,)
                for a, b in zip(whole, part):
                    assert bits(a[begin:end]) == bits(b), (
                        f"{name} {dtype}: rows {begin}:{end} of {n}"
                    )


@pytest.mark.parametrize("name", names(n for n, c in CASES.items() if c.bad))
def test_bad_input(name):
    check_bad_input(CASES[name], next(iter(bad_input_samples(name))))


def bad_input_samples(name):
    """Samples that are neither empty nor 0-d first: corner values bite there."""
    samples = list(CASES[name].samples(sampler(name)))

    def interest(sample):
        arrays = [a for a in sample.args if isinstance(a, np.ndarray)]
        rank = max((a.ndim for a in arrays), default=0)
        return -(all(a.size for a in arrays) * (1 + rank))

    return sorted(samples, key=interest)
