"""Dynamic loss scaling for float16 (Micikevicius et al. 2018)."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from ..autograd import no_grad
from .autocast_mode import without_device


class GradScaler:
    """Multiplies the loss so that small float16 gradients do not vanish, and skips steps that overflowed.

    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)            # optional: to clip true gradients
    scaler.step(optimizer)                # skipped if a gradient is infinite or NaN
    scaler.update()                       # scale: * backoff_factor after a skip, * growth_factor after
                                          # growth_interval steps without one

    With enabled=False, or for 'cuda' without a CUDA device, every call passes through. bfloat16 has float32's range and needs no scaler.
    """

    def __init__(
        self,
        device: str = "cpu",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if device not in ("cpu", "cuda"):
            raise ValueError(f"GradScaler: device must be 'cpu' or 'cuda', got {device!r}")
        if enabled and not growth_factor > 1.0:
            raise ValueError(f"GradScaler: growth_factor must be > 1, got {growth_factor}")
        if enabled and not 0.0 < backoff_factor < 1.0:
            raise ValueError(f"GradScaler: backoff_factor must be in (0, 1), got {backoff_factor}")
        self._enabled = bool(enabled) and not without_device(device, enabled, "GradScaler('cuda')")
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._found: dict[int, bool] = {}  # optimizers unscaled since the last update: overflow?
        self._stepped: set[int] = set()

    def is_enabled(self) -> bool:
        return self._enabled

    def get_scale(self) -> float:
        """The factor in force; 1.0 when disabled."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """`outputs` (a tensor, or lists and tuples of them) times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, _core.Tensor):
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(o) for o in outputs)
        raise TypeError(
            f"GradScaler.scale: expected tensors or lists of them, got {type(outputs).__name__}"
        )

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of the optimizer's parameters by the factor, once per step."""
        if not self._enabled:
            return
        if id(optimizer) in self._found:
            raise RuntimeError(
                "GradScaler.unscale_: already called for this optimizer since update()"
            )
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.unscale_: called after step()")
        self._found[id(optimizer)] = self._unscale(optimizer)

    def _unscale(self, optimizer: Any) -> bool:
        inverse, overflow = 1.0 / self._scale, False
        with no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    grad = parameter.grad
                    if grad is None:
                        continue
                    if grad.dtype == _core.float16:
                        raise ValueError(
                            "GradScaler.unscale_: float16 gradients lose what scaling gained; keep"
                            " parameters in float32"
                        )
                    grad.mul_(inverse)
                    largest = float(grad.abs().max()) if grad.numel() else 0.0
                    overflow |= not math.isfinite(largest)
        return overflow

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(*args, **kwargs), unless a gradient overflowed (then None)."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("GradScaler.step: closures are not supported")
        if id(optimizer) in self._stepped:
            raise RuntimeError("GradScaler.step: already called since update()")
        if id(optimizer) not in self._found:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return None if self._found[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | None = None) -> None:
        """Adapts the factor to what the steps found, or sets it."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._found:
            raise RuntimeError("GradScaler.update: no step or unscale_ since the last update()")
        elif any(self._found.values()):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                if math.isfinite(self._scale * self._growth_factor):
                    self._scale *= self._growth_factor
                self._growth_tracker = 0
        self._found.clear()
        self._stepped.clear()

    def state_dict(self) -> dict[str, Any]:
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not self._enabled:
            return
        missing = set(self.state_dict()) - set(state_dict)
        if missing:
            raise KeyError(f"GradScaler.load_state_dict: missing {sorted(missing)}")
        self._scale = float(state_dict["scale"])
        self._growth_factor = float(state_dict["growth_factor"])
        self._backoff_factor = float(state_dict["backoff_factor"])
        self._growth_interval = int(state_dict["growth_interval"])
        self._growth_tracker = int(state_dict["_growth_tracker"])
