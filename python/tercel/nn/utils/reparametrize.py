"""The hook-based weight_norm and spectral_norm: ``weight`` is recomputed before every forward.

Newer code uses parametrizations.weight_norm and parametrizations.spectral_norm; the keys in
state_dict differ (``weight_g``/``weight_v`` and ``weight_orig``/``weight_u`` here).
"""

from __future__ import annotations

from typing import Any

from ... import _core, no_grad
from ..._core import Tensor
from .. import functional as F
from ..module import Module
from ..parameter import Parameter
from .parametrizations import _norm_except


class _WeightNormHook:
    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = dim

    def compute(self, module: Module) -> Tensor:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / _norm_except(v, self.dim))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """``weight = g v / |v|`` with parameters ``weight_g`` and ``weight_v`` (Salimans and Kingma 2016)."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _WeightNormHook) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two weight_norm hooks on the same parameter {name}"
            )
    fn = _WeightNormHook(name, dim)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"weight_norm: parameter '{name}' is None")
    del module._parameters[name]
    with no_grad():
        norm = _norm_except(weight, dim)
    module.register_parameter(name + "_g", Parameter(norm.detach()))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, fn.compute(module))
    module.register_forward_pre_hook(fn)
    return module


def _take_hook(module: Module, kind: type, name: str, what: str) -> Any:
    for id, hook in module._forward_pre_hooks.items():
        if isinstance(hook, kind) and hook.name == name:
            del module._forward_pre_hooks[id]
            return hook
    raise ValueError(f"{what} of '{name}' not found in {module}")


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Makes the present weight an ordinary parameter again."""
    fn = _take_hook(module, _WeightNormHook, name, "weight_norm")
    weight = fn.compute(module)
    delattr(module, name)
    del module._parameters[name + "_g"], module._parameters[name + "_v"]
    setattr(module, name, Parameter(weight.detach()))
    return module


class _SpectralNormHook:
    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        self.name = name
        self.n_power_iterations = n_power_iterations
        self.dim = dim
        self.eps = eps

    def matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.movedim(self.dim, 0)
        return weight.reshape(weight.shape[0], -1)

    def compute(self, module: Module, iterate: bool) -> Tensor:
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.matrix(weight)
        if iterate:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(matrix.t() @ u, dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix @ v, dim=0, eps=self.eps))
            # Copies: the buffers change in place at the next call, before this one is differentiated.
            u, v = u.clone(), v.clone()
        return weight / _core.dot(u, matrix @ v)

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute(module, module.training))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divides the weight by its largest singular value, followed by power iteration (Miyato et al. 2018)."""
    if n_power_iterations <= 0:
        raise ValueError(
            f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
        )
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _SpectralNormHook) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two spectral_norm hooks on the same parameter {name}"
            )
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    fn = _SpectralNormHook(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"spectral_norm: parameter '{name}' is None")
    h, w = fn.matrix(weight.detach()).shape
    u = F.normalize(weight.new_empty(h).detach().normal_(0, 1), dim=0, eps=eps)
    v = F.normalize(weight.new_empty(w).detach().normal_(0, 1), dim=0, eps=eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.detach())  # an attribute, recomputed before each forward
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(fn)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Makes the present weight an ordinary parameter again."""
    fn = _take_hook(module, _SpectralNormHook, name, "spectral_norm")
    with no_grad():
        weight = fn.compute(module, False)
    delattr(module, name)
    delattr(module, name + "_u")
    delattr(module, name + "_v")
    delattr(module, name + "_orig")
    module.register_parameter(name, Parameter(weight.detach()))
    return module
