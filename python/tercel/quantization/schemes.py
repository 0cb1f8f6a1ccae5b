"""Schemes: how a weight is quantised, by a name such as "int4-g64-zp"."""

from __future__ import annotations

from dataclasses import dataclass, replace

# name -> (format of the codes, block along the last dim: 0 = the whole row, e8m0 scales)
_BASE = {
    "int8": ("int8", 0, False),
    "int4": ("int4", 128, False),
    "nf4": ("nf4", 64, False),
    "fp8": ("float8_e4m3fn", 0, False),
    "fp8_e5m2": ("float8_e5m2", 0, False),
    "mxfp8": ("float8_e4m3fn", 32, True),
    "mxfp4": ("float4_e2m1", 32, True),
}
_INTEGER = ("int8", "int4")


@dataclass(frozen=True)
class Scheme:
    """One way to quantise a matrix [out, in].

    name: int8, int4, nf4, fp8 (e4m3fn), fp8_e5m2, mxfp8, mxfp4.
    group: consecutive elements of a row that share a scale; 0: the whole row. mx formats: 32.
    zero_point: int8 and int4 only; maps [min, max] of the group instead of [-max, max].
    dynamic: int8 with whole rows only; activations are rounded to int8 per token and products are integer.
    method: how the range is found: "absmax", "percentile" (99.9) or "mse".
    """

    name: str
    group: int = 0
    zero_point: bool = False
    dynamic: bool = False
    method: str = "absmax"

    def __post_init__(self) -> None:
        if self.name not in _BASE:
            raise ValueError(f"unknown scheme {self.name!r}; there are {', '.join(_BASE)}")
        if self.group < 0:
            raise ValueError(
                f"{self.name}: group must be positive, or 0 for whole rows, got {self.group}"
            )
        if self.name.startswith("mx") and self.group != 32:
            raise ValueError(f"{self.name}: the group is 32, got {self.group}")
        if self.zero_point and self.name not in _INTEGER:
            raise ValueError(
                f"{self.name}: zero points exist for {', '.join(_INTEGER)}, not for {self.name}"
            )
        if self.dynamic and (self.name != "int8" or self.group or self.zero_point):
            raise ValueError(
                "dynamic activations exist for int8 with whole rows and no zero point, "
                f"not for {replace(self, dynamic=False)}"
            )
        if self.method not in ("absmax", "percentile", "mse"):
            raise ValueError(f"unknown method {self.method!r}; there are absmax, percentile, mse")

    @property
    def format(self) -> str:
        """Name of the codes' format, as quantize_affine takes it."""
        if self.zero_point and self.name == "int4":
            return "uint4"
        return _BASE[self.name][0]

    @property
    def power_of_two(self) -> bool:
        """Scales are e8m0 exponents."""
        return _BASE[self.name][2]

    def __str__(self) -> str:
        text = self.name
        if self.group != _BASE[self.name][1]:
            text += f"-g{self.group}"
        text += "-zp" * self.zero_point + "-dynamic" * self.dynamic
        return text + (f"-{self.method}" if self.method != "absmax" else "")


def parse(text: str | Scheme) -> Scheme:
    """The scheme of a name: base name, then -gN (group), -zp, -dynamic, -percentile or -mse.

    >>> parse("int4-g32-zp")
    Scheme(name='int4', group=32, zero_point=True, dynamic=False, method='absmax')
    """
    if isinstance(text, Scheme):
        return text
    if not isinstance(text, str):
        raise TypeError(f"scheme must be a name or a Scheme, got {type(text).__name__}")
    name, *options = text.split("-")
    if name not in _BASE:
        raise ValueError(f"unknown scheme {text!r}; there are {', '.join(schemes())}")
    fields: dict = {"group": _BASE[name][1]}
    for option in options:
        if option[:1] == "g" and option[1:].isdecimal() and len(option) < 12:
            fields["group"] = int(option[1:])
        elif option == "zp":
            fields["zero_point"] = True
        elif option == "dynamic":
            fields["dynamic"] = True
        elif option in ("percentile", "mse"):
            fields["method"] = option
        else:
            raise ValueError(
                f"unknown option {option!r} in scheme {text!r}; there are gN (group of N), zp, dynamic, "
                "percentile, mse"
            )
    return Scheme(name, **fields)


def schemes() -> list[str]:
    """Names of the usual schemes; groups (-gN), zero points (-zp) and scale searches combine further."""
    return [
        "int8", "int8-zp", "int8-g128", "int8-dynamic", "int4", "int4-g32", "int4-g64", "int4-zp",
        "int4-g32-zp", "int4-g64-zp", "nf4", "fp8", "fp8_e5m2", "mxfp8", "mxfp4",
    ]  # fmt: skip
