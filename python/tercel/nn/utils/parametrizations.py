"""Ready-made parametrizations: weight norm, spectral norm, orthogonal matrices."""

from __future__ import annotations

import math

from ... import _core, no_grad
from ..._core import Tensor
from .. import functional as F
from ..init import _orthonormal_columns
from ..module import Module
from . import parametrize


def _norm_except(v: Tensor, dim: int | None) -> Tensor:
    """2-norm over all dimensions but `dim` (None: over all), kept as size-1 dimensions."""
    if dim is None or dim == -1:
        return v.norm()
    dim %= v.dim()
    others = [d for d in range(v.dim()) if d != dim]
    return v.norm(2, others, keepdim=True) if others else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / _norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return _norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """``weight = g v / |v|``, norm over all dimensions but ``dim`` (Salimans and Kingma 2016).

    The originals are g (``original0``) and v (``original1``).
    """
    return parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """Divides a matrix by its largest singular value, found by power iteration."""

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.dim()}, {weight.dim() - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % weight.dim()
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.dim() > 1:
            matrix = self._matrix(weight).detach()
            h, w = matrix.shape
            u = weight.new_empty(h).detach().normal_(0, 1)
            v = weight.new_empty(w).detach().normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._iterate(matrix, 15)  # a start close to the singular vectors

    def _matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.movedim(self.dim, 0)
        return weight.flatten(1)

    def _iterate(self, matrix: Tensor, n: int) -> None:
        with no_grad():
            for _ in range(n):
                self._u.copy_(F.normalize(matrix @ self._v, dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.t() @ self._u, dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix.detach(), self.n_power_iterations)
        # Copies: the buffers change in place at the next call, before this one is differentiated.
        u, v = self._u.clone(), self._v.clone()
        return weight / _core.dot(u, matrix @ v)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divides the weight by its largest singular value (Miyato et al. 2018).

    The weight is seen as a matrix with rows along ``dim`` (default 0, 1 for transposed convolutions).
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"Module '{type(module).__name__}' has no parameter or buffer with name '{name}'"
        )
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return parametrize.register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )


def _matrix_exp(a: Tensor) -> Tensor:
    """exp(a) of a square matrix: Taylor series of a / 2^s with norm <= 1/2, squared s times.

    18 terms leave an error below 0.5^19 / 19!, about 1e-23.
    """
    norm = a.detach().abs().sum(-1).max().item()
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 and math.isfinite(norm) else 0
    x = a * 0.5**squarings
    eye = _core.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    result = eye
    for k in range(18, 0, -1):
        result = eye + (x @ result) * (1.0 / k)
    for _ in range(squarings):
        result = result @ result
    return result


class _Orthogonal(Module):
    """Q = base @ exp(A) (first k columns), A skew-symmetric from the lower triangle of the original.

    ``base`` [n, n] is orthogonal; the original starts at zero, where Q is the orthonormalised weight.
    Wide matrices are handled transposed.
    """

    base: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        n = max(weight.shape)
        self.register_buffer("base", _core.eye(n, dtype=weight.dtype, device=weight.device))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] < x.shape[1]:
            return self.forward(x.t()).t()
        n, k = x.shape
        lower = x.tril(-1)
        if k < n:
            lower = _core.cat([lower, x.new_zeros((n, n - k))], 1)
        return (self.base @ _matrix_exp(lower - lower.t()))[:, :k]

    def right_inverse(self, value: Tensor) -> Tensor:
        tall = value.t() if value.shape[0] < value.shape[1] else value
        n, k = tall.shape
        with no_grad():
            full = value.new_empty((n, n)).detach().normal_(0, 1)
            full[:, :k] = tall
            self.base.copy_(_orthonormal_columns(full))
        return value.new_zeros(tuple(value.shape))


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keeps a weight matrix [n, k] orthogonal: Q^T Q = I (n >= k) or Q Q^T = I (Lezcano-Casado 2019).

    Starts from the present weight, orthonormalised. The map is ``matrix_exp`` with trivialization;
    PyTorch's other maps raise NotImplementedError.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"Module '{type(module).__name__}' has no parameter or buffer with name '{name}'"
        )
    if weight.dim() != 2:
        raise ValueError(
            f"orthogonal: expected a matrix, got a tensor with {weight.dim()} dimensions"
        )
    if orthogonal_map not in (None, "matrix_exp", "cayley", "householder"):
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    if orthogonal_map not in (None, "matrix_exp") or not use_trivialization:
        raise NotImplementedError(
            "orthogonal: available is orthogonal_map='matrix_exp' with use_trivialization=True"
        )
    return parametrize.register_parametrization(module, name, _Orthogonal(weight), unsafe=True)
