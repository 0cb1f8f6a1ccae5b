"""Norms of vectors and matrices, condition numbers."""

from __future__ import annotations

import math

from .. import _core
from .._core import DTypeError, ShapeError, Tensor
from ._checks import check, done
from ._solve import _strengths, inv

_ORDERS = ("fro", "nuc", 2, -2, 1, -1, math.inf, -math.inf)


def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None, out=None):
    """(sum |x|^ord)^(1/ord) over dim (int, tuple; None: all elements), any float dtype.

    ord: a number; inf and -inf: largest and smallest |x|; 0: number of nonzeros. dtype: x is converted first.
    """
    return _core.linalg_vector_norm(x, ord, dim, keepdim, dtype=dtype, out=out)


def _converted(op, A, dtype):
    if not isinstance(A, Tensor):
        raise TypeError(f"{op}: expected A to be a Tensor, got {type(A).__name__}")
    if dtype is not None:
        if dtype not in (_core.float32, _core.float64):
            raise DTypeError(f"{op}: expected dtype float32 or float64, got {dtype}")
        A = A.to(dtype)
    check(op, A, 2, "A")
    return A


def _two_dims(op, A, dim):
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise ShapeError(f"{op}: expected dim to be a pair, got {dim!r}")
    found = []
    for d in dim:
        if isinstance(d, bool) or not isinstance(d, int):
            raise TypeError(f"{op}: expected dim to be a pair of ints, got {dim!r}")
        if not -A.dim() <= d < A.dim():
            raise IndexError(f"{op}: dim {d} is out of range for shape {tuple(A.shape)}")
        found.append(d % A.dim())
    if found[0] == found[1]:
        raise ValueError(f"{op}: expected two different dims, got {dim!r}")
    return found


def _order(op, ord):
    if isinstance(ord, bool) or not isinstance(ord, (int, float, str)) or ord not in _ORDERS:
        raise ValueError(f"{op}: expected ord to be one of {_ORDERS}, got {ord!r}")
    return ord


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """Norm of the matrices that A has in its dimensions `dim`.

    ord 'fro': root of the sum of squares; 'nuc': sum of singular values; 2, -2: largest, smallest singular value;
    1, -1: largest, smallest column sum of |A|; inf, -inf: row sum. float32 or float64; dtype: A is converted first.
    """
    op = "linalg.matrix_norm"
    A = _converted(op, A, dtype)
    rows, columns = _two_dims(op, A, dim)
    ord = _order(op, ord)
    if ord == "fro":
        return _core.linalg_vector_norm(A, 2, (rows, columns), bool(keepdim), out=out)
    M = A.movedim((rows, columns), (-2, -1))
    if ord == "nuc" or abs(ord) == 2:
        values = _strengths(op, M, False)
    else:
        values = _core.linalg_vector_norm(M, 1, -2 if abs(ord) == 1 else -1, dtype=_core.float64)
    if ord == "nuc":
        result = values.sum(-1)
    elif values.shape[-1] == 0:
        if ord < 0:
            raise ShapeError(
                f"{op}: ord {ord} of matrices without elements, shape {tuple(A.shape)}"
            )
        result = values.sum(-1)
    else:
        result = values.amax(-1) if ord > 0 else values.amin(-1)
    if keepdim:
        for d in sorted((rows, columns)):
            result = result.unsqueeze(d)
    return done(op, result, A, out)


def norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None):
    """Vector or matrix norm, as numpy.linalg.norm.

    dim: an int: vector norm along it; a pair: matrix norm; None: the 2-norm of all elements if ord is None, else the
    norm of a vector or a matrix (A of 1 or 2 dimensions). ord as in vector_norm and matrix_norm; None: 2, or 'fro'.
    """
    op = "linalg.norm"
    if not isinstance(A, Tensor):
        raise TypeError(f"{op}: expected A to be a Tensor, got {type(A).__name__}")
    if ord is not None and dim is None and A.dim() not in (1, 2):
        raise ShapeError(
            f"{op}: with ord but no dim, expected 1 or 2 dimensions, got shape {tuple(A.shape)}"
        )
    pair = isinstance(dim, (tuple, list)) and len(dim) == 2
    if ord is not None and (pair or (dim is None and A.dim() == 2)):
        return matrix_norm(A, ord, tuple(dim) if pair else (-2, -1), keepdim, dtype=dtype, out=out)
    if isinstance(ord, str):
        raise ValueError(f"{op}: ord {ord!r} is a norm of matrices, got dim {dim!r}")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


def cond(A, p=None, *, out=None):
    """Condition number [...] of A [..., M, N] in the norm p: |A| |A^-1|; inf for singular matrices.

    p None, 2, -2: from singular values, of any shape; 'fro', 'nuc', inf, -inf, 1, -1: square matrices. p -2 is the
    reciprocal of p 2.
    """
    op = "linalg.cond"
    check(op, A, 2, "A")
    p = 2 if p is None else _order(op, p)
    if p in (2, -2):
        s = _strengths(op, A, False)
        if s.shape[-1] == 0:
            return done(op, s.sum(-1), A, out)
        high, low = s.amax(-1), s.amin(-1)
        return done(op, high / low if p == 2 else low / high, A, out)
    if A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"{op}: p {p!r} expects square matrices, got shape {tuple(A.shape)}")
    X = A.to(_core.float64)
    singular = (_strengths(op, X.detach(), False) == 0).any(-1)
    unit = _core.eye(A.shape[-1], dtype=_core.float64, device=A.device)
    Y = inv(_core.where(singular[..., None, None], unit, X))
    result = matrix_norm(X, p) * matrix_norm(Y, p)
    return done(op, _core.where(singular, math.inf, result), A, out)
