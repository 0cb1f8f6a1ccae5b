"""Products, powers and the exponential of matrices, and operations under the names of linalg."""

from __future__ import annotations

import numpy as np

from .. import _core
from .._core import ShapeError
from ..autograd import Function
from ._checks import check_square, done, double, lapack
from ._solve import Inverse

# Higham 2005, "The scaling and squaring method for the matrix exponential revisited": the [13/13] Pade
# approximant has full accuracy in float64 up to this 1-norm.
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0,
    129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0,
    40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_PADE_LIMIT = 5.371920351148152


def _expm_one(a):
    """exp of one float64 matrix."""
    norm = np.abs(a).sum(0).max()
    if not np.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, int(np.ceil(np.log2(norm / _PADE_LIMIT)))) if norm > _PADE_LIMIT else 0
    a = np.ldexp(a, -squarings)
    unit, b = np.eye(len(a)), _PADE
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = (
        a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * unit
    )
    even = (
        a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * unit
    )
    odd = a @ odd
    r = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        r = r @ r
    return r


def _expm(a):
    result = np.empty(a.shape)
    for place in np.ndindex(a.shape[:-2]):
        result[place] = _expm_one(a[place]) if a.shape[-1] else a[place]
    return result


class Exponential(Function):
    @staticmethod
    def forward(ctx, A):
        ctx.save_for_backward(A)
        return lapack("linalg.matrix_exp", "has no exponential", _expm, A)

    @staticmethod
    def backward(ctx, g):
        # Mathias 1996: exp of [[A, E], [0, A]] has the derivative of exp at A along E in its upper right block.
        (A,) = ctx.saved_tensors
        n = A.shape[-1]
        top, bottom = _core.cat([A.mT, g], -1), _core.cat([_core.zeros_like(A), A.mT], -1)
        return Exponential.apply(_core.cat([top, bottom], -2))[..., :n, n:]


def matrix_exp(A):
    """Exponential sum_k A^k / k! of square matrices [..., N, N], by scaling, squaring and a Pade approximant.

    Higham 2005, "The scaling and squaring method for the matrix exponential revisited".
    """
    check_square("linalg.matrix_exp", A, "A")
    return done("linalg.matrix_exp", Exponential.apply(double(A)), A)


def matrix_power(A, n, *, out=None):
    """n-th power of square matrices [..., N, N] by repeated squaring; n = 0 is the identity, n < 0 powers of the
    inverse (float32, float64)."""
    if isinstance(n, int) and not isinstance(n, bool) and n < 0:
        check_square("linalg.matrix_power", A, "A")
        result = done("linalg.matrix_power", _core.matrix_power(Inverse.apply(double(A)), -n), A)
    else:
        result = _core.matrix_power(A, n)
    return result if out is None else _core._into_out(result, out, "linalg.matrix_power")


def multi_dot(tensors, *, out=None):
    """Product of two or more matrices in the order that needs the fewest flops; the first and last may be vectors."""
    return _core.multi_dot(tensors, out=out)


def matmul(input, other, *, out=None):
    """tercel.matmul."""
    return _core.matmul(input, other, out=out)


def cross(input, other, *, dim=-1, out=None):
    """Product of 3-vectors along dim; the operands broadcast."""
    return _core.cross(input, other, dim, out=out)


def vecdot(x, y, *, dim=-1, out=None):
    """Sum of x * y along dim; the operands broadcast."""
    if not isinstance(x, _core.Tensor) or not isinstance(y, _core.Tensor):
        raise TypeError(
            f"linalg.vecdot: expected tensors, got {type(x).__name__} and {type(y).__name__}"
        )
    x, y = _core.broadcast_tensors(x, y)
    if x.dim() == 0:
        raise ShapeError("linalg.vecdot: expected at least one dimension, got 0-d tensors")
    result = (
        (x.movedim(dim, -1).unsqueeze(-2) @ y.movedim(dim, -1).unsqueeze(-1))
        .squeeze(-1)
        .squeeze(-1)
    )
    return result if out is None else _core._into_out(result, out, "linalg.vecdot")


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """View of the diagonals of the matrices in dim1 and dim2."""
    return _core.diagonal(A, offset, dim1, dim2)


def vander(x, N=None):
    """Vandermonde matrices [..., R, N] of x [..., R]: column j is x ** j; N defaults to R."""
    if not isinstance(x, _core.Tensor):
        raise TypeError(f"linalg.vander: expected a Tensor, got {type(x).__name__}")
    if x.dim() < 1:
        raise ShapeError("linalg.vander: expected at least one dimension, got a 0-d tensor")
    n = x.shape[-1] if N is None else N
    if isinstance(n, bool) or not isinstance(n, int) or n < (0 if N is None else 1):
        raise ValueError(f"linalg.vander: expected N to be a positive int, got {N!r}")
    ones = _core.ones_like(x).unsqueeze(-1)[..., : min(n, 1)]
    if n <= 1:
        return ones
    powers = x.unsqueeze(-1).expand(*x.shape, n - 1).cumprod(-1)
    return _core.cat([ones, powers.to(x.dtype)], -1)
