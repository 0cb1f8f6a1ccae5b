"""OpCase: one entry per op, from which tests/test_ops.py derives every generic test.

To add an op write, in tests/op_cases/<family>.py (the file is found by itself):

    case("softmax", oracle=lambda x, dim: ..., samples=lambda s: [
        Sample((s.normal(3, 17),), dict(dim=-1)),          # args are float64 arrays or plain values
    ], tol=NORM, dtypes=FLOATS)

`fn` is the name in `tercel` (default: the case's name; "nn.functional.x" works) or a callable taking the
tensors. `oracle` is NumPy in float64, written from the formula: it gets the very values the op gets
(already rounded to the dtype) and the same keyword arguments, and returns an array or a tuple.

Sample(args, kwargs): float arrays become tensors of the dtype under test; integer and bool arrays keep their
dtype (int64, bool); a list or tuple of arrays becomes a list of tensors; everything else is passed as it is.
The sampler `s`: s.normal(*shape), s.uniform(*shape, low=, high=), s.positive(*shape), s.ints(*shape, low=,
high=), s.bools(*shape), s.distinct(*shape) (no ties, gaps > 0.01: for max, sort, relu), s.sizes (0, 1, around
a vector, primes). Same seed, same numbers, always.

Helpers that make the samples of common kinds: `unary(low, high)`, `binary(...)` (with broadcasting).

Fields
  name      test id; unique
  fn, oracle, samples     as above
  dtypes    names; FLOATS, WIDE_FLOATS, INTS, ALL below
  tol       tolerance class from tercel.testing (EXACT, ROUND, ULP1.., SUM, DOT, NORM)
  scale     optional NumPy function like oracle: the a-priori magnitude for SUM / DOT (sum |x|, |A||B|)
  grad      indices of the tensor arguments that have a gradient: True = all float ones, False/() = none
  grad2     second order is checked too (default: whenever grad)
  large     optional like samples, ONE sample big enough for several threads (>= 1e5 elements)
  batch     indices of arguments whose dimension 0 is a batch: rows must not depend on the batch
  layouts   False: the op needs a given layout, skip strided inputs
  isa_bits  False: float32 may differ between avx2 and avx512 (default: equal)
  inplace   name of the Tensor method that does the same in place ("add_"), checked against fn
  bad       False: skip generated bad input (only for ops that must not be called with junk: none so far)
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tercel.testing import (  # noqa: F401  (re-exported for the family files)
    DOT,
    EXACT,
    GRAD,
    NORM,
    ROUND,
    SUM,
    ULP1,
    ULP2,
    ULP4,
    ULP8,
    Tolerance,
)

FLOATS = ("float32", "float64", "bfloat16", "float16")
WIDE_FLOATS = ("float32", "float64")
FP8 = ("float8_e4m3fn", "float8_e5m2")
INTS = ("int8", "uint8", "int16", "int32", "int64")
ALL = FLOATS + INTS + ("bool",)


@dataclass
class Sample:
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)


@dataclass
class OpCase:
    name: str
    fn: Any
    oracle: Callable
    samples: Callable[[Sampler], Iterable[Sample]]
    dtypes: Sequence[str] = FLOATS
    tol: Tolerance = NORM
    scale: Callable | None = None
    grad: Any = True
    grad2: bool | None = None
    large: Callable[[Sampler], Sample] | None = None
    batch: Sequence[int] = ()
    layouts: bool = True
    isa_bits: bool = True
    inplace: str | None = None
    bad: bool = True
    family: str = ""

    def function(self) -> Callable:
        """The op itself, looked up late so that a missing one fails its own tests only."""
        import tercel

        if callable(self.fn):
            return self.fn
        return functools.reduce(getattr, self.fn.split("."), tercel)

    def grad_indices(self, args: Sequence) -> tuple[int, ...]:
        floats = [
            i for i, a in enumerate(args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        ]
        if self.grad is True:
            return tuple(floats)
        return tuple(i for i in (self.grad or ()) if i in floats)


class Sampler:
    """Reproducible inputs."""

    sizes = (0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 127, 257)

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return np.asarray(self.rng.standard_normal(shape) * scale)

    def uniform(self, *shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
        return np.asarray(self.rng.uniform(low, high, shape))

    def positive(self, *shape: int) -> np.ndarray:
        return self.uniform(*shape, low=0.1, high=3.0)

    def ints(self, *shape: int, low: int = -5, high: int = 6) -> np.ndarray:
        return np.asarray(self.rng.integers(low, high, shape, dtype=np.int64))

    def bools(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.integers(0, 2, shape).astype(bool))

    def distinct(self, *shape: int) -> np.ndarray:
        """Values at least 1/64 apart and at least 1/128 away from 0, exact in every float dtype while
        there are fewer than 250 of them."""
        n = int(np.prod(shape))
        return ((self.rng.permutation(n) - n // 2 + 0.5) / 64).reshape(shape)


CASES: dict[str, OpCase] = {}
_family = ""


def case(name: str, oracle: Callable, samples: Callable, fn: Any = None, **fields: Any) -> OpCase:
    if name in CASES:
        raise ValueError(f"op case {name!r} is declared twice")
    CASES[name] = OpCase(
        name=name, fn=fn or name, oracle=oracle, samples=samples, family=_family, **fields
    )
    return CASES[name]


def unary(low: float = -3.0, high: float = 3.0) -> Callable[[Sampler], list[Sample]]:
    """Samples of one float argument in [low, high]: odd sizes, several ranks, 0-d."""

    def samples(s: Sampler) -> list[Sample]:
        shapes = [(n,) for n in s.sizes] + [
            (),
            (3, 5),
            (2, 3, 4),
            (2, 0, 3),
            (5, 1, 7),
            (2, 2, 2, 3),
        ]
        return [Sample((s.uniform(*shape, low=low, high=high),)) for shape in shapes]

    return samples


def binary(
    low: float = -3.0, high: float = 3.0, low2: float | None = None, high2: float | None = None
) -> Callable[[Sampler], list[Sample]]:
    """Samples of two float arguments, with broadcasting; the second in [low2, high2]."""
    low2, high2 = low if low2 is None else low2, high if high2 is None else high2

    def samples(s: Sampler) -> list[Sample]:
        pairs = [((n,), (n,)) for n in s.sizes]
        pairs += [((), ()), ((3, 5), (5,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (4,)), ((2, 0), (1,)),
                  ((1, 33), (2, 33)), ((2, 3, 17), (2, 1, 17))]  # fmt: skip
        return [
            Sample((s.uniform(*a, low=low, high=high), s.uniform(*b, low=low2, high=high2)))
            for a, b in pairs
        ]

    return samples


def load_all() -> dict[str, OpCase]:
    """Imports every family file of this folder once."""
    global _family
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        _family = module
        importlib.import_module(f"{__name__}.{module}")
    return CASES
