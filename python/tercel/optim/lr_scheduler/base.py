"""What every schedule shares: counting steps, initial rates, state."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from ..optimizer import Optimizer


def _per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """`value` for each parameter group."""
    n = len(optimizer.param_groups)
    if isinstance(value, (list, tuple)):
        if len(value) != n:
            raise ValueError(
                f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, param_groups has {n}."
            )
        return list(value)
    return [value] * n


class LRScheduler:
    """Base class. A subclass gives the next rates in ``get_lr()``, one per parameter group.

    ``last_epoch=-1`` starts anew; another value resumes, and then every group must have "initial_lr".
    """

    _excluded: tuple[str, ...] = ("optimizer",)  # attributes that do not go into state_dict
    _get_closed_form_lr: Callable[[], list[float]] | None = None

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """All attributes except the optimizer (and functions)."""
        return {k: v for k, v in self.__dict__.items() if k not in self._excluded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what state_dict returned."""
        self.__dict__.update({k: v for k, v in state_dict.items() if k not in self._excluded})

    def get_last_lr(self) -> list[float]:
        """The rates set by the last step, one per parameter group."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        raise NotImplementedError(f"{type(self).__name__} must implement get_lr()")

    def _lrs(self) -> list[float]:
        """Present rates of the groups."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def step(self, epoch: int | None = None) -> None:
        """Goes to the next epoch (or to ``epoch``) and sets the rates."""
        if (
            self._step_count == 1
            and self.optimizer._step_calls == 0
            and hasattr(type(self.optimizer).step, "_hooked")
        ):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: call them in the opposite order, "
                "otherwise the first value of the learning rate schedule is skipped.",
                UserWarning,
                stacklevel=2,
            )
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            values = self.get_lr()
        else:
            self.last_epoch = epoch
            values = (
                self._get_closed_form_lr()
                if self._get_closed_form_lr is not None
                else self.get_lr()
            )
        self._set(values)

    def _set(self, values: Iterable[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values):
            group["lr"] = lr
        self._last_lr = self._lrs()


class _LRScheduler(LRScheduler):
    """The old name of :class:`LRScheduler`."""
