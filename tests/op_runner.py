"""What test_ops.py does with an OpCase: values of a dtype, memory layouts, gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tercel
from op_cases import OpCase, Sample
from tercel.testing import to_float64

GRADCHECK_STEP = 1e-5  # float64 central differences: truncation 1e-10, rounding 1e-11
GRADCHECK_RTOL = 1e-5

INT_RANGE = {"uint8": (0, 100)}
DEVICE = "cpu"  # pytest --device


def seed_of(name: str) -> int:
    return sum((i + 1) * ord(c) for i, c in enumerate(name)) % (2**31)


def quantise(array: np.ndarray, dtype: str) -> np.ndarray:
    """The float array of a sample as the values the op sees in `dtype`, for the oracle."""
    if array.dtype.kind != "f":
        return array
    if dtype == "bool":
        return np.asarray(array > 0)
    if dtype in ("int8", "uint8", "int16", "int32", "int64"):
        low, high = INT_RANGE.get(dtype, (-100, 100))
        return np.asarray(np.clip(np.rint(array * 8), low, high), dtype=np.int64)
    return to_float64(make(array, dtype))


def make(array: np.ndarray, dtype: str | None) -> tercel.Tensor:
    """Contiguous tensor with the values of `array`, cast to `dtype` unless None."""
    t = tercel.from_numpy(np.array(array, order="C"))
    t = t if dtype is None else t.to(getattr(tercel, dtype))
    return t if DEVICE == "cpu" else t.to(DEVICE)


# ---- layouts: same values, other memory -----------------------------------------------------------


def contiguous(array: np.ndarray, build: Callable) -> tercel.Tensor:
    return build(array)


def transposed(array: np.ndarray, build: Callable) -> tercel.Tensor:
    order = tuple(reversed(range(array.ndim)))
    return build(array.transpose(order)).permute(order)


def sliced(array: np.ndarray, build: Callable) -> tercel.Tensor:
    """Every second element of a wider buffer, one element after its start."""
    if array.ndim == 0:
        return build(np.stack([array, array]))[1]
    n = array.shape[-1]
    wide = np.ones(array.shape[:-1] + (2 * n + 3,), dtype=array.dtype)
    wide[..., 1 : 1 + 2 * n : 2] = array
    return build(wide)[..., 1 : 1 + 2 * n : 2]


def shifted(array: np.ndarray, build: Callable) -> tercel.Tensor:
    """Contiguous but not aligned to a vector."""
    flat = np.concatenate([np.ones(1, dtype=array.dtype), array.reshape(-1)])
    return build(flat)[1:].view(array.shape)


LAYOUTS = {"transposed": transposed, "sliced": sliced, "shifted": shifted}


def expand_last(array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(array[..., :1], array.shape)


def expanded(array: np.ndarray, build: Callable) -> tercel.Tensor:
    """Zero stride in the last dimension (values must be constant along it: `expand_last`)."""
    if array.ndim == 0 or array.shape[-1] == 0:
        return build(array)
    return build(array[..., :1]).expand(array.shape)


# ---- running a sample -----------------------------------------------------------------------------


def is_array_list(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(isinstance(v, np.ndarray) for v in value)
    )


def map_arrays(sample: Sample, f: Callable[[np.ndarray, int], Any]) -> Sample:
    """The sample with every array (also in lists and keyword arguments) replaced by f(array, position)."""
    position = -1

    def one(value: Any) -> Any:
        nonlocal position
        if isinstance(value, np.ndarray):
            position += 1
            return f(value, position)
        if is_array_list(value):
            return [one(v) for v in value]
        return value

    args = tuple(one(a) for a in sample.args)
    return Sample(args, {k: one(v) for k, v in sample.kwargs.items()})


def prepare(sample: Sample, dtype: str, constant: bool = False) -> tuple[Sample, list[bool]]:
    """The sample with the values of `dtype`, and for each of its arrays whether it was a float one.
    constant: values do not vary along the last dimension (for the `expanded` layout)."""
    was_float: list[bool] = []

    def values(array: np.ndarray, _: int) -> np.ndarray:
        was_float.append(array.dtype.kind == "f")
        if constant and array.ndim and array.shape[-1] > 0:
            array = expand_last(array)
        return quantise(array, dtype)

    return map_arrays(sample, values), was_float


def tensors(
    sample: Sample, was_float: list[bool], dtype: str, layout: Callable | Sequence[Callable]
) -> Sample:
    """Tensors from prepared values; `layout` is one function or several that alternate."""
    layouts = layout if isinstance(layout, (list, tuple)) else [layout]

    def one(array: np.ndarray, position: int) -> tercel.Tensor:
        build = functools.partial(make, dtype=dtype if was_float[position] else None)
        return layouts[position % len(layouts)](array, build)

    return map_arrays(sample, one)


def as_tuple(value: Any) -> tuple:
    if isinstance(value, (tuple, list)):
        return tuple(value)
    return (value,)


def call(case: OpCase, sample: Sample) -> tuple:
    return as_tuple(case.function()(*sample.args, **sample.kwargs))


def expected(case: OpCase, sample: Sample) -> tuple:
    with np.errstate(all="ignore"):
        return as_tuple(case.oracle(*sample.args, **sample.kwargs))


def scale_of(case: OpCase, sample: Sample) -> tuple:
    if case.scale is None:
        return ()
    with np.errstate(all="ignore"):
        return as_tuple(case.scale(*sample.args, **sample.kwargs))


# ---- gradients ------------------------------------------------------------------------------------


class Differentiable:
    """A sample as a function of its differentiable arguments: values in float64 or another dtype."""

    def __init__(self, case: OpCase, sample: Sample, dtype: str = "float64"):
        self.case, self.dtype = case, dtype
        self.sample, self.was_float = prepare(sample, dtype)
        self.indices = self._indices(sample)

    def _indices(self, sample: Sample) -> list[int]:
        """Positions, among all arrays of the sample, of those to differentiate."""
        wanted, position, found = self.case.grad_indices(sample.args), 0, []
        for i, a in enumerate(sample.args):
            group = [a] if isinstance(a, np.ndarray) else list(a) if is_array_list(a) else []
            for array in group:
                listed = self.case.grad is True and is_array_list(a) and array.dtype.kind == "f"
                if i in wanted or listed:
                    found.append(position)
                position += 1
        return found

    def values(self) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        map_arrays(self.sample, lambda a, i: found.append(a) if i in self.indices else None)
        return found

    def run(
        self,
        values: Sequence[np.ndarray] | None = None,
        track: bool = True,
        layout: Callable = contiguous,
    ) -> tuple[list[tercel.Tensor], list[tercel.Tensor]]:
        """(inputs, float outputs) with `values` in the place of the differentiable arguments."""
        replacement = dict(zip(self.indices, values)) if values is not None else {}
        sample = map_arrays(self.sample, lambda a, i: replacement.get(i, a))
        ready = tensors(sample, self.was_float, self.dtype, layout)
        inputs: list[tercel.Tensor] = []
        position = -1

        def visit(value: Any) -> Any:
            nonlocal position
            if isinstance(value, tercel.Tensor):
                position += 1
                if position in self.indices:
                    value = value.detach().requires_grad_(True) if track else value
                    inputs.append(value)
                return value
            if isinstance(value, list) and value and isinstance(value[0], tercel.Tensor):
                return [visit(v) for v in value]
            return value

        args = tuple(visit(a) for a in ready.args)
        kwargs = {k: visit(v) for k, v in ready.kwargs.items()}
        outputs = call(self.case, Sample(args, kwargs))
        outputs = [o for o in outputs if isinstance(o, tercel.Tensor) and o.dtype.is_floating_point]
        if track:
            outputs = [o for o in outputs if o.requires_grad]
        return inputs, outputs

    def gradients(
        self,
        values: Sequence[np.ndarray] | None,
        cotangents: Sequence[np.ndarray],
        layout: Callable = contiguous,
    ) -> list[tercel.Tensor]:
        inputs, outputs = self.run(values, layout=layout)
        vs = [make(v, self.dtype) for v in cotangents]
        found = tercel.autograd.grad(outputs, inputs, grad_outputs=vs, allow_unused=True)
        return [
            g if g is not None else make(np.zeros(tuple(x.shape)), self.dtype)
            for g, x in zip(found, inputs)
        ]
