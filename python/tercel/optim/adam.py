"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import _core
from .optimizer import Optimizer, check_range, refuse


class Adam(Optimizer):
    """``p -= lr m^ / (sqrt(v^) + eps)`` with m, v running means of g and g^2, bias-corrected (Kingma and Ba 2014).

    ``weight_decay`` is added to the gradient as ``weight_decay p`` or, with ``decoupled_weight_decay``, applied
    as ``p *= 1 - lr weight_decay``. ``amsgrad``: uses the largest v^ so far. ``maximize``: ascends.
    ``foreach``, ``fused`` and ``capturable`` are accepted and have no effect: there is one multi-tensor kernel.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        if len(betas) != 2:
            raise ValueError(f"Invalid betas: expected 2 values, got {betas}")
        check_range("beta parameter at index 0", betas[0], below=1.0)
        check_range("beta parameter at index 1", betas[1], below=1.0)
        check_range("weight_decay value", weight_decay)
        refuse(type(self).__name__, differentiable=differentiable)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _init_state(self, p: Any, amsgrad: bool) -> dict[str, Any]:
        state = self.state[p]
        state["step"] = _core.zeros((), dtype=_core.float32)
        state["exp_avg"] = _core.zeros_like(p, requires_grad=False)
        state["exp_avg_sq"] = _core.zeros_like(p, requires_grad=False)
        if amsgrad:
            state["max_exp_avg_sq"] = _core.zeros_like(p, requires_grad=False)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for entry in self.state.values():
            # Old files hold the step count as a number.
            if "step" in entry and not isinstance(entry["step"], _core.Tensor):
                entry["step"] = _core.tensor(float(entry["step"]), dtype=_core.float32)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = self._loss(closure)
        state = self.state
        for group in self.param_groups:
            params, grads, avgs, squares, maxima, steps = [], [], [], [], [], []
            amsgrad = group["amsgrad"]
            for p in group["params"]:
                g = p.grad
                if g is None:
                    continue
                s = state[p] or self._init_state(p, amsgrad)
                params.append(p)
                grads.append(g)
                avgs.append(s["exp_avg"])
                squares.append(s["exp_avg_sq"])
                steps.append(s["step"])
                if amsgrad:
                    maxima.append(s["max_exp_avg_sq"])
            if not params:
                continue
            beta1, beta2 = group["betas"]
            _core._adam_step(
                params,
                grads,
                avgs,
                squares,
                maxima,
                steps,
                float(group["lr"]),
                float(beta1),
                float(beta2),
                group["eps"],
                group["weight_decay"],
                amsgrad,
                group["decoupled_weight_decay"],
                group["maximize"],
            )
        return loss


class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay (Loshchilov and Hutter 2017)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
