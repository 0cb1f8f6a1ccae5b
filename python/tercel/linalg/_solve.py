"""Linear systems, inverses, determinants, least squares, matrix functions.

Gradients: Giles 2008 ("Collected matrix derivative results"); Golub and Pereyra 1973 for the pseudo-inverse;
Mathias 1996 ("A chain rule for matrix functions") for the exponential. Written with public operations.
"""

from __future__ import annotations

import numpy as np

from .. import _core
from .._core import ShapeError, Tensor
from ..autograd import Function
from ._checks import (
    check,
    check_flag,
    check_pair,
    check_square,
    done,
    double,
    finite,
    lapack,
    several,
)
from ._factor import SingularValues, SymmetricEigen, Triangular

Slogdet = _core._result_tuple("linalg_slogdet", "sign logabsdet")
Lstsq = _core._result_tuple("linalg_lstsq", "solution residuals rank singular_values")


class Inverse(Function):
    @staticmethod
    def forward(ctx, A):
        Y = lapack("linalg.inv", "is singular", np.linalg.inv, A)
        ctx.save_for_backward(Y)
        return Y

    @staticmethod
    def backward(ctx, g):
        (Y,) = ctx.saved_tensors
        return -(Y.mT @ g @ Y.mT)


class Solve(Function):
    """A^-1 B, batch dimensions equal."""

    @staticmethod
    def forward(ctx, A, B):
        X = lapack("linalg.solve", "is singular", np.linalg.solve, A, B)
        ctx.save_for_backward(A, X)
        return X

    @staticmethod
    def backward(ctx, g):
        A, X = ctx.saved_tensors
        gB = Solve.apply(A.mT, g)
        return -(gB @ X.mT), gB


class Determinant(Function):
    @staticmethod
    def forward(ctx, A):
        d = lapack("linalg.det", "", np.linalg.det, A)
        ctx.save_for_backward(A, d)
        return d

    @staticmethod
    def backward(ctx, g):
        A, d = ctx.saved_tensors
        if A.shape[-1] == 0:
            return _core.zeros_like(A)
        if not (d.detach() == 0).any().item():
            return (g * d)[..., None, None] * Inverse.apply(A).mT
        # The cofactors, which stay finite where A is singular: det(U Vh) U diag(prod of the other s) Vh.
        U, S, Vh = SingularValues.apply(A, False)
        n = S.shape[-1]
        others = _core.where(_core.eye(n, dtype=_core.bool, device=A.device), 1.0, S.unsqueeze(-2))
        sign = (Determinant.apply(U) * Determinant.apply(Vh)).detach().round()
        cofactors = (U * others.prod(-1).unsqueeze(-2)) @ Vh
        return (g * sign)[..., None, None] * cofactors


class LogDeterminant(Function):
    @staticmethod
    def forward(ctx, A):
        sign, value = lapack("linalg.slogdet", "", lambda a: tuple(np.linalg.slogdet(a)), A)
        ctx.save_for_backward(A)
        ctx.mark_non_differentiable(sign)
        return sign, value

    @staticmethod
    def backward(ctx, _, g):
        (A,) = ctx.saved_tensors
        return g[..., None, None] * Inverse.apply(A).mT


class PseudoInverse(Function):
    """P [N, M]; singular values (hermitian: absolute eigenvalues) up to max(atol, rtol s_max) count as zero."""

    @staticmethod
    def forward(ctx, A, atol, rtol, hermitian):
        def f(a, atol, rtol):
            if a.size == 0:
                return np.zeros(a.shape[:-2] + (a.shape[-1], a.shape[-2]))
            if hermitian:
                s, v = np.linalg.eigh(finite(a))
                u, vh = v, np.swapaxes(v, -1, -2)
            else:
                u, s, vh = np.linalg.svd(finite(a), full_matrices=False)
            limit = np.maximum(atol, rtol * np.abs(s).max(-1))[..., None]
            kept = np.abs(s) > limit
            inverse = np.where(kept, 1.0 / np.where(kept, s, 1.0), 0.0)
            return np.swapaxes(vh, -1, -2) @ (inverse[..., None] * np.swapaxes(u, -1, -2))

        P = lapack(
            "linalg.pinv",
            "has values that are not finite, or its singular values did not converge",
            f, A, atol, rtol,
        )  # fmt: skip
        ctx.save_for_backward(A, P)
        return P

    @staticmethod
    def backward(ctx, g):
        A, P = ctx.saved_tensors
        return pinv_gradient(A, P, g), None, None, None


def pinv_gradient(A, P, g):
    """Golub and Pereyra: dP = -P dA P + P P^T dA^T (1 - A P) + (1 - P A) dA^T P^T P."""
    Pt, gt = P.mT, g.mT
    left, right = gt @ (P @ Pt), (Pt @ P) @ gt
    return left - A @ (P @ left) + right - (right @ P) @ A - Pt @ g @ Pt


def spread(op, A, B, left=True, vector=False):
    """(A, B, like) in float64 with common batch dimensions. B: matrices, [..., N, K] (left=False: [..., K, N])."""
    check_square(op, A, "A")
    check(op, B, 1 if vector else 2, "B")
    check_pair(op, A, B)
    if vector:
        B = B.unsqueeze(-1)
    n, rows = A.shape[-1], B.shape[-2 if left else -1]
    if rows != n:
        raise ShapeError(
            f"{op}: expected B with {n} {'rows' if left else 'columns'} for A of shape {tuple(A.shape)}, "
            f"got {tuple(B.shape)}"
        )
    batch = _core.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    wide_a, wide_b = double(A).expand(*batch, n, n), double(B).expand(*batch, *B.shape[-2:])
    return wide_a, wide_b, A


def inv(A, *, out=None):
    """Inverse of square matrices [..., N, N]. Raises LinAlgError, naming the matrix of the batch, if one is singular.

    To solve systems use solve: it is faster and more accurate.
    """
    check_square("linalg.inv", A, "A")
    return done("linalg.inv", Inverse.apply(double(A)), A, out)


def _is_vector(A, B):
    return B.dim() == 1 or (B.dim() == A.dim() - 1 and tuple(B.shape) == tuple(A.shape[:-1]))


def solve(A, B, *, left=True, out=None):
    """X with A X = B (left=False: X A = B), by LU factors with row exchanges.

    A: [..., N, N]. B: [..., N, K] (left=False: [..., K, N]), or vectors [N] or [..., N] of exactly A's batch; batch
    dimensions broadcast. Raises LinAlgError, naming the matrix of the batch, if one is singular.
    """
    op = "linalg.solve"
    check_square(op, A, "A")
    check(op, B, 1, "B")
    check_flag(op, left=left)
    vector = _is_vector(A, B)
    if vector and not left:
        raise ShapeError(f"{op}: left=False expects B of matrices, got shape {tuple(B.shape)}")
    A, B, like = spread(op, A, B, left, vector)
    X = Solve.apply(A, B) if left else Solve.apply(A.mT, B.mT).mT
    return done(op, X.squeeze(-1) if vector else X, like, out)


def det(A, *, out=None):
    """Determinants [...] of square matrices [..., N, N]; 1 for N = 0. The gradient holds for singular matrices too."""
    check_square("linalg.det", A, "A")
    return done("linalg.det", Determinant.apply(double(A)), A, out)


def slogdet(A, *, out=None):
    """(sign, log|det|) of square matrices [..., N, N], which neither overflow nor underflow; (0, -inf) if singular.

    Differentiating log|det| of a singular matrix raises LinAlgError.
    """
    check_square("linalg.slogdet", A, "A")
    return several("linalg.slogdet", Slogdet, LogDeterminant.apply(double(A)), A, out)


def logdet(input):
    """Logarithm of the determinants of square matrices [..., N, N]: -inf for zero, NaN for negative ones."""
    check_square("logdet", input)
    sign, value = LogDeterminant.apply(double(input))
    return done("logdet", _core.where(sign < 0, float("nan"), value), input)


def cholesky_solve(B, L, upper=False, *, out=None):
    """X with L L^T X = B (upper=True: L^T L X = B) for the factor L of cholesky. B: [..., N, K], L: [..., N, N]."""
    check_flag("cholesky_solve", upper=upper)
    L, B, like = spread("cholesky_solve", L, B)
    first, second = (L.mT, L) if upper else (L, L.mT)
    X = Triangular.apply(second, Triangular.apply(first, B, False, False), True, False)
    return done("cholesky_solve", X, like, out)


def cholesky_inverse(L, upper=False, *, out=None):
    """(L L^T)^-1 (upper=True: (L^T L)^-1) for the factor L [..., N, N] of cholesky."""
    check_square("cholesky_inverse", L, "L")
    check_flag("cholesky_inverse", upper=upper)
    unit = _core.eye(L.shape[-1], dtype=_core.float64, device=L.device).expand(L.shape)
    X = double(L)
    R = Triangular.apply(X.mT if upper else X, unit, False, False)
    return done("cholesky_inverse", R.mT @ R, L, out)


def tolerances(op, A, atol, rtol):
    """atol and rtol as float64 tensors that broadcast to the batch; rtol: eps max(M, N) unless one is given."""
    if rtol is None:
        eps = 2.0**-23 if A.dtype is _core.float32 else 2.0**-52
        default = eps * max(A.shape[-2:])
        positive = atol is not None and (
            (double(atol) > 0).all().item() if isinstance(atol, Tensor) else atol > 0
        )
        rtol = 0.0 if positive else default
    found = []
    for name, value in (("atol", 0.0 if atol is None else atol), ("rtol", rtol)):
        if isinstance(value, bool) or not isinstance(value, (int, float, Tensor)):
            raise TypeError(f"{op}: expected {name} to be a number or a Tensor, got {value!r}")
        if not isinstance(value, Tensor):
            value = _core.tensor(float(value), dtype=_core.float64)
        found.append(double(value.detach()).to(A.device).expand(A.shape[:-2]))
    return found


def pinv(A, *, atol=None, rtol=None, hermitian=False, out=None):
    """Pseudo-inverse [..., N, M] of A [..., M, N] (Moore 1920, Penrose 1955).

    Singular values up to max(atol, rtol * largest) count as zero; atol defaults to 0, rtol to eps * max(M, N), or to
    0 when atol is positive. hermitian=True: A is symmetric, its eigenvalues are used. The gradient holds where the
    rank does not change.
    """
    check("linalg.pinv", A, 2, "A")
    check_flag("linalg.pinv", hermitian=hermitian)
    if hermitian:
        check_square("linalg.pinv", A, "A")
    limits = tolerances("linalg.pinv", A, atol, rtol)
    return done("linalg.pinv", PseudoInverse.apply(double(A), *limits, hermitian), A, out)


def _strengths(op, A, hermitian):
    """Singular values, or absolute eigenvalues, in float64."""
    if hermitian:
        check_square(op, A, "A")
        return SymmetricEigen.apply(double(A), "L")[0].abs()
    return SingularValues.apply(double(A), False)[1]


def matrix_rank(A, *, atol=None, rtol=None, hermitian=False, out=None):
    """Number of singular values above max(atol, rtol * largest), int64 [...]; defaults as in pinv."""
    op = "linalg.matrix_rank"
    check(op, A, 2, "A")
    check_flag(op, hermitian=hermitian)
    atol, rtol = tolerances(op, A, atol, rtol)
    s = _strengths(op, A.detach(), hermitian)
    if s.shape[-1] == 0:
        rank = _core.zeros(tuple(A.shape[:-2]), dtype=_core.int64, device=A.device)
    else:
        limit = _core.maximum(atol, rtol * s.amax(-1))
        rank = (s > limit.unsqueeze(-1)).sum(-1)
    return rank if out is None else _core._into_out(rank, out, op)


def lstsq(A, B, rcond=None, *, driver=None):
    """The shortest X that minimises |A X - B|, column by column.

    A: [..., M, N]. B: [..., M, K], or vectors [M] or [..., M] of exactly A's batch; batch dimensions broadcast.
    rcond: singular values up to rcond * largest count as zero (None: eps * max(M, N)). driver: 'gelsy', 'gels',
    'gelsd', 'gelss' or None; all use singular values.
    Returns (solution [..., N, K]; residuals [..., K], the squared lengths of A X - B where M > N and every rank is N,
    else empty; rank [...]; singular_values [..., K], empty for 'gels' and 'gelsy' or None).
    """
    op = "linalg.lstsq"
    check(op, A, 2, "A")
    check(op, B, 1, "B")
    check_pair(op, A, B)
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ValueError(
            f"{op}: expected driver 'gels', 'gelsy', 'gelsd' or 'gelss', got {driver!r}"
        )
    if rcond is not None and (isinstance(rcond, bool) or not isinstance(rcond, (int, float))):
        raise TypeError(f"{op}: expected rcond to be a number, got {rcond!r}")
    vector = _is_vector(A, B)
    right = B.unsqueeze(-1) if vector else B
    m, n = A.shape[-2:]
    if right.dim() < 2 or right.shape[-2] != m:
        raise ShapeError(
            f"{op}: expected B with {m} rows for A of shape {tuple(A.shape)}, got {tuple(B.shape)}"
        )
    batch = _core.broadcast_shapes(A.shape[:-2], right.shape[:-2])
    A64 = double(A).expand(*batch, m, n)
    limits = tolerances(op, A64.to(A.dtype), None, rcond)
    X = PseudoInverse.apply(A64, *limits, False) @ double(right)
    s = _strengths(op, A.detach(), False)
    rank = matrix_rank(A, rtol=rcond)
    if m > n and bool((rank == n).all().item()):
        residuals = ((A64 @ X - double(right)) ** 2).sum(-2)
    else:
        residuals = A64.new_empty((0,))
    if vector:
        X, residuals = X.squeeze(-1), residuals
    shown = s if driver in ("gelsd", "gelss") else s.new_empty((0,))
    return Lstsq(done(op, X, A), done(op, residuals, A), rank, done(op, shown, A))
