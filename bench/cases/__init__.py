"""BenchCase: one row of the benchmark. Families add theirs in bench/cases/<family>.py (found by itself):

    case("softmax", "8192x1024", inputs=lambda s: [s.normal(8192, 1024)],
         fn=lambda L, x: L.softmax(x, -1), bytes=2 * 4 * 8192 * 1024)

`fn(L, *tensors)` is called with L = tercel and, for the ratio, L = torch: the names are the same. Where they
are not, give `theirs=` (called with torch). Results of both are compared before timing.

Fields
  op, shape   the row's name; shape is free text, a model's layer where there is one ("resnet50/conv3_1")
  inputs      arrays from the sampler s (s.normal, s.uniform, s.ints, ...); floats take the case's dtype
  fn, theirs  what is timed
  prepare     optional: prepare(L, *tensors) -> objects handed to fn instead (a module, an optimizer)
  dtype       "float32" by default
  flops, bytes   work of one call: bytes = those that must move once. With grad=True of forward and backward
  grad        True: time forward + gradients of every float input (adds "fwdbwd" to the shape)
  check       False: results are not comparable (random numbers)
  peer        False: PyTorch has no such op; None: compare if it takes the same arguments
  quick       True: part of the short run that CI smokes and the README shows
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class BenchCase:
    op: str
    shape: str
    inputs: Callable[[Inputs], list]
    fn: Callable
    theirs: Callable | None = None
    prepare: Callable | None = None
    dtype: str = "float32"
    flops: float = 0.0
    bytes: float = 0.0
    grad: bool = False
    check: bool = True
    peer: bool | None = True
    quick: bool = False
    family: str = ""

    @property
    def name(self) -> str:
        return f"{self.op} {self.shape}{' fwdbwd' if self.grad else ''}"


class Inputs:
    """Reproducible inputs."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape, dtype=np.float32)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def ints(self, *shape: int, low: int = 0, high: int = 10) -> np.ndarray:
        return self.rng.integers(low, high, shape, dtype=np.int64)

    def bools(self, *shape: int) -> np.ndarray:
        return self.rng.integers(0, 2, shape).astype(bool)


CASES: list[BenchCase] = []
_family = ""


def case(op: str, shape: str, inputs: Callable, fn: Callable, **fields: Any) -> BenchCase:
    CASES.append(BenchCase(op, shape, inputs, fn, family=_family, **fields))
    return CASES[-1]


def load_all() -> list[BenchCase]:
    global _family
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        _family = module
        importlib.import_module(f"{__name__}.{module}")
    _family = "every_op"
    every_op = importlib.import_module(f"{__name__}.every_op")
    every_op.add_all()
    return CASES
