"""Comparing results against a float64 oracle, with tolerances that are named, never typed in.

A test says what kind of computation it checks (`EXACT`, `ULP1`, `SUM`, ...) and the bound follows
from the dtype. See `Tolerance` for what each class allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import tercel

__all__ = [
    "DOT",
    "EXACT",
    "GRAD",
    "NORM",
    "ROUND",
    "SUM",
    "ULP1",
    "ULP2",
    "ULP4",
    "ULP8",
    "Tolerance",
    "assert_close",
    "bits",
    "eps",
    "to_float64",
    "ulp",
]

# dtype name -> (mantissa bits without the hidden one, smallest normal exponent, largest finite value)
_FORMATS = {
    "float64": (52, -1022, float(np.finfo(np.float64).max)),
    "float32": (23, -126, float(np.finfo(np.float32).max)),
    "float16": (10, -14, 65504.0),
    "bfloat16": (7, -126, 3.3895313892515355e38),
    "float8_e4m3fn": (3, -6, 448.0),
    "float8_e5m2": (2, -14, 57344.0),
}


@dataclass(frozen=True)
class Tolerance:
    """Allowed error = `ulps` units in the last place of the expected value in the output dtype
    + `scale_eps` * eps(compute dtype) * scale, where scale is what the caller states (for a sum:
    sum|x|; for a product: |A||B|) or else the largest finite |expected|.

    Sixteen-bit and 8-bit floats compute in float32 and round once, so they get half a unit of their
    own dtype and the float32 error on top of it, whatever the class.
    """

    name: str
    ulps: float = 0.0
    scale_eps: float = 0.0
    exact: bool = False


EXACT = Tolerance("exact", exact=True)  # moves, integers, comparisons: the same bits (NaN = NaN)
ROUND = Tolerance("round", ulps=0.5001)  # correctly rounded: + - * / sqrt, casts
ULP1 = Tolerance("ulp1", ulps=1.0)  # contract N2
ULP2 = Tolerance("ulp2", ulps=2.0)  # contract N3
ULP4 = Tolerance("ulp4", ulps=4.0)
ULP8 = Tolerance("ulp8", ulps=8.0)
SUM = Tolerance("sum", ulps=1.0, scale_eps=8.0)  # contract N5; scale = sum |x|
DOT = Tolerance("dot", ulps=1.0, scale_eps=8.0)  # contract N6; scale = |A||B|
NORM = Tolerance("norm", ulps=2.0, scale_eps=16.0)  # a few operations after a reduction
GRAD = Tolerance("grad", ulps=4.0, scale_eps=48.0)  # gradients: three times NORM


def eps(dtype: Any) -> float:
    """Distance from 1 to the next larger number of a float dtype."""
    return 2.0 ** -_FORMATS[_name(dtype)][0]


def ulp(value: np.ndarray, dtype: Any) -> np.ndarray:
    """Unit in the last place at |value| in `dtype` (the smallest denormal below the normal range)."""
    mantissa, low, _ = _FORMATS[_name(dtype)]
    magnitude = np.abs(np.asarray(value, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        _, exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 1.0))
    exponent = np.maximum(exponent - 1, low)
    return np.ldexp(1.0, exponent - mantissa)


def to_float64(value: Any) -> np.ndarray:
    """Tensor (any dtype), array or number as a float64 NumPy array; integers stay integers."""
    if isinstance(value, tercel.Tensor):
        value = value.detach().cpu()
        name = _name(value.dtype)
        if name in _FORMATS:
            return np.array(value.to(tercel.float64).numpy())
        return np.array(value.numpy())
    return np.asarray(value)


def bits(value: tercel.Tensor) -> bytes:
    """The bytes of a tensor in row-major order: equal iff the results are bitwise equal."""
    value = value.detach().cpu().contiguous()
    width = {1: tercel.uint8, 2: tercel.int16, 4: tercel.int32, 8: tercel.int64}
    size = value.element_size()
    if value.dtype == tercel.bool:
        return np.asarray(value.numpy()).tobytes()
    return value.view(width[size]).numpy().tobytes()


def assert_close(
    actual: Any,
    expected: Any,
    tolerance: Tolerance = NORM,
    *,
    dtype: Any = None,
    scale: Any = None,
    what: str = "",
) -> None:
    """Raises AssertionError unless `actual` is within `tolerance` of the float64 array `expected`.

    dtype: the dtype errors are counted in; default that of `actual`. Shapes must be equal. NaN and
    infinities must sit at the same places, except where rounding to a narrow dtype overflows.
    """
    __tracebackhide__ = True
    name = _name(dtype if dtype is not None else getattr(actual, "dtype", np.float64))
    got, want = to_float64(actual), np.asarray(expected)
    label = f"{what}: " if what else ""
    if got.shape != want.shape:
        raise AssertionError(f"{label}shape {got.shape}, expected {want.shape}")
    if got.size == 0:
        return
    if name not in _FORMATS:
        _assert_equal(got, want.astype(got.dtype) if got.dtype != want.dtype else want, label, name)
        return
    want = want.astype(np.float64)
    if tolerance.exact:
        _assert_equal(got, want, label, name)
        return
    allowed = _allowed(want, name, tolerance, scale)
    largest = _FORMATS[name][2]
    with np.errstate(invalid="ignore", over="ignore"):
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        overflow = (np.abs(want) > largest * (1 - eps(name))) & (
            np.abs(got) >= largest * (1 - eps(name))
        )
        overflow &= np.sign(got) == np.sign(want)
        if name == "float8_e4m3fn":  # has no infinity: overflow is NaN or the largest value
            overflow |= np.isnan(got) & (np.abs(want) > largest)
        error = np.abs(got - want)
        good = same | overflow | (error <= allowed)
    if good.all():
        return
    ratio = np.where(
        good, 0.0, np.where(np.isfinite(error), error / np.maximum(allowed, 5e-324), np.inf)
    )
    where = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    place = tuple(int(i) for i in where)
    raise AssertionError(
        f"{label}{name}, class {tolerance.name}: {int((~good).sum())} of {good.size} elements differ; "
        f"worst at {place}: got {got[where]!r}, expected {want[where]!r}, error {error[where]:.3e}, "
        f"allowed {np.broadcast_to(allowed, got.shape)[where]:.3e}"
    )


def _allowed(want: np.ndarray, name: str, tolerance: Tolerance, scale: Any) -> np.ndarray:
    compute = "float64" if name == "float64" else "float32"
    finite = np.where(np.isfinite(want), np.abs(want), 0.0)
    if scale is None:
        magnitude: np.ndarray = np.asarray(finite.max(initial=0.0))
    else:
        magnitude = np.abs(np.asarray(scale, dtype=np.float64))
        magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0)
    allowed = tolerance.ulps * ulp(want, compute) + tolerance.scale_eps * eps(compute) * magnitude
    if name != compute:
        allowed = 0.5001 * ulp(finite + allowed, name) + allowed
    if name == "float64":  # the float64 oracle rounds as well
        allowed = 2 * allowed
    return allowed


def _assert_equal(got: np.ndarray, want: np.ndarray, label: str, name: str) -> None:
    __tracebackhide__ = True
    with np.errstate(invalid="ignore"):
        same = got == want
        if got.dtype.kind == "f":
            same |= np.isnan(got) & np.isnan(want)
    if same.all():
        return
    where = np.unravel_index(int(np.argmin(same)), same.shape)
    place = tuple(int(i) for i in where)
    raise AssertionError(
        f"{label}{name}, class exact: {int((~same).sum())} of {same.size} elements differ; "
        f"first at {place}: got {got[where]!r}, expected {want[where]!r}"
    )


def _name(dtype: Any) -> str:
    """'float32' for tercel.float32, np.float32, 'float32', ..."""
    text = dtype if isinstance(dtype, str) else str(dtype)
    if text.startswith(("tercel.", "torch.")):
        return text.split(".", 1)[1]
    return text if isinstance(dtype, str) else np.dtype(dtype).name
