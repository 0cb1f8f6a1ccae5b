"""Averages of the weights along training, and the learning-rate schedule that goes with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

from .. import _core, no_grad
from .._core import Tensor
from ..nn.module import Module
from .lr_scheduler import LRScheduler


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """``average <- decay average + (1 - decay) weight``."""
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )
    return lambda average, current, n: decay * average + (1 - decay) * current


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """``average <- average + (weight - average) / (n + 1)``, the mean of all weights seen."""
    return lambda average, current, n: average + (current - average) / (n + 1)


class AveragedModel(Module):
    """A copy of ``model`` (as ``.module``) whose parameters are averages, updated by update_parameters.

    ``avg_fn(average, current, number averaged)`` gives the new average (default: the mean of all).
    ``use_buffers``: averages floating-point buffers too, instead of copying them.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[list[Tensor], list[Tensor], Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ValueError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module.to(device)
        self.register_buffer("n_averaged", _core.zeros((), dtype=_core.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the present parameters of ``model`` into the average."""
        n = int(self.n_averaged.item())
        mine, theirs = list(self.module.parameters()), list(model.parameters())
        own_buffers, buffers = list(self.module.buffers()), list(model.buffers())
        if self.use_buffers:
            mine, theirs = mine + own_buffers, theirs + buffers
        with no_grad():
            averaged = [(a, c) for a, c in zip(mine, theirs) if n > 0 and a.is_floating_point()]
            if self.multi_avg_fn is not None and averaged:
                self.multi_avg_fn(
                    [a for a, _ in averaged], [c.detach() for _, c in averaged], self.n_averaged
                )
            else:
                avg_fn = self.avg_fn or get_swa_avg_fn()
                for a, c in averaged:
                    a.copy_(avg_fn(a.detach(), c.detach(), n))
            for a, c in zip(mine, theirs):
                if n == 0 or not a.is_floating_point():
                    a.copy_(c)
            if not self.use_buffers:
                for a, c in zip(own_buffers, buffers):
                    a.copy_(c)
            self.n_averaged.add_(1)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Recomputes the running statistics of all batch norms of ``model`` as averages over ``loader``."""
    from ..nn.norm import _BatchNorm

    momenta = {m: m.momentum for m in model.modules() if isinstance(m, _BatchNorm)}
    if not momenta:
        return
    for m in momenta:
        m.reset_running_stats()
        m.momentum = None
    was_training = model.training
    model.train()
    try:
        with no_grad():
            for batch in loader:
                if isinstance(batch, (list, tuple)):
                    batch = batch[0]
                model(batch if device is None else batch.to(device))
    finally:
        for m, momentum in momenta.items():
            m.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    """Moves the learning rate of every group to ``swa_lr`` in ``anneal_epochs`` steps (cosine or linear) and keeps it."""

    def __init__(
        self,
        optimizer: Any,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must by one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        n = len(optimizer.param_groups)
        swa_lrs = list(swa_lr) if isinstance(swa_lr, (list, tuple)) else [swa_lr] * n
        if len(swa_lrs) != n:
            raise ValueError(
                f"swa_lr must have the same length as optimizer.param_groups: {len(swa_lrs)} vs. {n}"
            )
        for group, lr in zip(optimizer.param_groups, swa_lrs):
            group["swa_lr"] = lr
        self.anneal_epochs = anneal_epochs
        self._cosine = anneal_strategy == "cos"
        super().__init__(optimizer, last_epoch)

    def _weight(self, t: float) -> float:
        return (1 - math.cos(math.pi * t)) / 2 if self._cosine else t

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        previous = self._weight(max(0.0, min(1.0, (step - 1) / max(1, self.anneal_epochs))))
        alpha = self._weight(max(0.0, min(1.0, step / max(1, self.anneal_epochs))))
        lrs = []
        for group in self.optimizer.param_groups:
            # The start is recovered from the present rate, so that other changes of it are kept.
            lr, swa_lr = group["lr"], group["swa_lr"]
            start = lr if previous == 1 else (lr - previous * swa_lr) / (1 - previous)
            lrs.append(swa_lr * alpha + start * (1 - alpha))
        return lrs
