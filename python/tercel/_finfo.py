"""Numeric limits of dtypes."""

from __future__ import annotations

from . import _core

# name: (bits, eps, max, tiny, smallest subnormal)
_FLOATS = {
    "float64": (64, 2.0**-52, 1.7976931348623157e308, 2.0**-1022, 5e-324),
    "float32": (32, 2.0**-23, 3.4028234663852886e38, 2.0**-126, 2.0**-149),
    "float16": (16, 2.0**-10, 65504.0, 2.0**-14, 2.0**-24),
    "bfloat16": (16, 2.0**-7, 3.3895313892515355e38, 2.0**-126, 2.0**-133),
    "float8_e4m3fn": (8, 2.0**-3, 448.0, 2.0**-6, 2.0**-9),
    "float8_e5m2": (8, 2.0**-2, 57344.0, 2.0**-14, 2.0**-16),
}


def _name(dtype) -> str:
    return str(dtype).removeprefix("tercel.")


class finfo:
    """Limits of a float dtype: bits, eps, max, min, tiny, smallest_normal, smallest_subnormal, resolution."""

    def __init__(self, dtype=None):
        self.dtype = _name(_core.get_default_dtype() if dtype is None else dtype)
        if self.dtype not in _FLOATS:
            raise TypeError(f"finfo: expected a float dtype, got {self.dtype}; use iinfo")
        self.bits, self.eps, self.max, self.tiny, self.smallest_subnormal = _FLOATS[self.dtype]
        self.min = -self.max
        self.smallest_normal = self.tiny
        digits = {64: 15, 32: 6, 16: 3 if self.dtype == "float16" else 2, 8: 1}[self.bits]
        self.resolution = 10.0**-digits

    def __repr__(self):
        return f"finfo(max={self.max}, min={self.min}, eps={self.eps}, tiny={self.tiny}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype: bits, max, min."""

    def __init__(self, dtype):
        self.dtype = _name(dtype)
        if self.dtype not in ("int8", "uint8", "int16", "int32", "int64"):
            raise TypeError(f"iinfo: expected an integer dtype, got {self.dtype}; use finfo")
        signed = self.dtype != "uint8"
        self.bits = dtype.itemsize * 8
        self.max = 2 ** (self.bits - signed) - 1
        self.min = -(2 ** (self.bits - 1)) if signed else 0

    def __repr__(self):
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
