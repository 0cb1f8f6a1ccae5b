"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_range, refuse


class SGD(Optimizer):
    """``g += weight_decay p;  v = momentum v + (1 - dampening) g;  p -= lr v`` (v starts as g).

    ``nesterov``: uses ``g + momentum v`` for v in the last line. ``maximize``: ascends.
    ``foreach`` and ``fused`` are accepted and have no effect: there is one multi-tensor kernel.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_range("learning rate", lr)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        refuse("SGD", differentiable=differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._loss(closure)
        state = self.state
        for group in self.param_groups:
            params, grads, buffers, first = [], [], [], []
            momentum = group["momentum"]
            any_first = False
            for p in group["params"]:
                g = p.grad
                if g is None:
                    continue
                params.append(p)
                grads.append(g)
                if momentum:
                    s = state[p]
                    buffer = s.get("momentum_buffer")
                    new = buffer is None
                    if new:
                        buffer = s["momentum_buffer"] = _core.zeros_like(p, requires_grad=False)
                        any_first = True
                    buffers.append(buffer)
                    first.append(new)
            if params:
                _core._sgd_step(
                    params,
                    grads,
                    buffers,
                    first if any_first else [],
                    float(group["lr"]),
                    group["weight_decay"],
                    momentum,
                    group["dampening"],
                    group["nesterov"],
                    group["maximize"],
                )
        return loss
