"""Recipes and switch of float8 training (Micikevicius et al. 2022, "FP8 Formats for Deep Learning").

    model = tercel.quantization.convert_to_fp8_training(model)     # nn.Linear -> Fp8Linear, parameters stay float32
    with tercel.amp.fp8_autocast(recipe=tercel.amp.DelayedScaling()):
        loss = criterion(model(x), y)
    loss.backward()

Each operand of a product has one float32 factor, chosen so that its largest magnitude falls on the largest finite
value of the format: e4m3fn (448) for inputs and weights, e5m2 (57344) for gradients.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import _core

_FORMATS = ("E4M3", "E5M2", "HYBRID")
_LARGEST = {_core.float8_e4m3fn: 448.0, _core.float8_e5m2: 57344.0}


@dataclass(frozen=True)
class CurrentScaling:
    """The factor of a tensor comes from its own largest magnitude: one more pass over it, never out of range.

    margin: the factor leaves 2**margin of room. fp8_format: "HYBRID" (forward e4m3fn, gradients e5m2), "E4M3" or
    "E5M2" for all.
    """

    margin: int = 0
    fp8_format: str = "HYBRID"

    def __post_init__(self) -> None:
        if self.fp8_format not in _FORMATS:
            raise ValueError(
                f"fp8_format must be one of {', '.join(_FORMATS)}, got {self.fp8_format!r}"
            )

    def dtype(self, gradient: bool) -> _core.dtype:
        """The format of inputs and weights, or of gradients."""
        wide = self.fp8_format == "E5M2" or (gradient and self.fp8_format == "HYBRID")
        return _core.float8_e5m2 if wide else _core.float8_e4m3fn

    def amax(self, history: list[float], current: float) -> float:
        """The magnitude that falls on the largest value of the format."""
        return current

    def record(self, history: list[float], current: float) -> None:
        """Notes the largest magnitude of a tensor; newest last."""

    def scale(self, amax: float, dtype: _core.dtype) -> float:
        """value = code * scale. 1 for amax = 0; NaN for a tensor with an infinity or NaN, whose products become NaN."""
        if not amax < float("inf"):
            return float("nan")
        return max(amax * 2.0**self.margin / _LARGEST[dtype], 2.0**-126) if amax > 0 else 1.0


@dataclass(frozen=True)
class DelayedScaling(CurrentScaling):
    """The factor of a tensor comes from the largest magnitudes of the steps before; what exceeds them saturates.

    amax_history_len: steps that are remembered. amax_compute_algo: "max" over them or "most_recent". The first step
    has no history and uses current scaling.
    """

    amax_history_len: int = 1024
    amax_compute_algo: str = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.amax_history_len < 1:
            raise ValueError(f"amax_history_len must be at least 1, got {self.amax_history_len}")
        if self.amax_compute_algo not in ("max", "most_recent"):
            raise ValueError(
                f"amax_compute_algo must be 'max' or 'most_recent', got {self.amax_compute_algo!r}"
            )

    def amax(self, history: list[float], current: float) -> float:
        if not history or not current < float("inf"):
            return current
        past = max(history) if self.amax_compute_algo == "max" else history[-1]
        return past or current

    def record(self, history: list[float], current: float) -> None:
        if current < float("inf"):
            history.append(current)
        del history[: -self.amax_history_len]


_state = threading.local()


def fp8_recipe() -> CurrentScaling | None:
    """The recipe in force in this thread, None outside fp8_autocast."""
    return getattr(_state, "recipe", None)


class fp8_autocast:
    """Context manager and decorator: `quantization.Fp8Linear` layers multiply in float8; regions nest.

    enabled=False makes an inner region multiply in the dtype of the tensors. recipe: DelayedScaling() (default) or
    CurrentScaling(). Call backward outside; it follows the recipe of its forward. Other ops are not changed, and
    `amp.autocast` may be on at the same time: it then chooses the dtype of the results.
    """

    def __init__(self, enabled: bool = True, recipe: CurrentScaling | None = None):
        if recipe is not None and not isinstance(recipe, CurrentScaling):
            raise TypeError(
                f"fp8_autocast: recipe must be CurrentScaling or DelayedScaling, got {type(recipe).__name__}"
            )
        self._recipe = (recipe or DelayedScaling()) if enabled else None
        self._before: list[CurrentScaling | None] = []

    def __enter__(self) -> fp8_autocast:
        self._before.append(fp8_recipe())
        _state.recipe = self._recipe
        return self

    def __exit__(self, *exc: Any) -> None:
        _state.recipe = self._before.pop()

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with fp8_autocast(self._recipe is not None, self._recipe):
                return function(*args, **kwargs)

        return wrapped
