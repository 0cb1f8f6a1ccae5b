"""Factorisations: Cholesky, QR, eigenvalues of symmetric matrices, singular values.

Gradients: Murray 2016 (arXiv:1602.07527) for Cholesky; Roberts and Roberts 2020 (arXiv:2009.10071) for QR of
every shape; Giles 2008 ("Collected matrix derivative results") and Townsend 2016 ("Differentiating the singular
value decomposition") for the others. They are written with public operations, so they can be differentiated
again.
"""

from __future__ import annotations

import numpy as np

from .. import _core
from ..autograd import Function
from ._checks import (
    check,
    check_flag,
    check_square,
    done,
    double,
    finite,
    gap_inverse,
    lapack,
    safe_inverse,
    several,
)

QR = _core._result_tuple("linalg_qr", "Q R")
Eigh = _core._result_tuple("linalg_eigh", "eigenvalues eigenvectors")
SVD = _core._result_tuple("linalg_svd", "U S Vh")


class Triangular(Function):
    """A^-1 B for triangular A (the other triangle is not read)."""

    @staticmethod
    def forward(ctx, A, B, upper, unitriangular):
        def solve(a, b):
            a = np.triu(a) if upper else np.tril(a)
            if unitriangular:
                a[..., range(a.shape[-1]), range(a.shape[-1])] = 1
            # Upper triangular matrices need no elimination, so LU leaves them as they are; a lower one is read
            # from its end.
            return np.linalg.solve(a, b) if upper else _flip(np.linalg.solve(_flip2(a), _flip(b)))

        X = lapack("linalg.solve_triangular", "is singular", solve, A, B)
        ctx.save_for_backward(A, X)
        ctx.upper, ctx.unitriangular = upper, unitriangular
        return X

    @staticmethod
    def backward(ctx, g):
        A, X = ctx.saved_tensors
        gB = Triangular.apply(A.mT, g, not ctx.upper, ctx.unitriangular)
        gA = -(gB @ X.mT)
        skip = int(ctx.unitriangular)
        return gA.triu(skip) if ctx.upper else gA.tril(-skip), gB, None, None


def _flip(b):
    return b[..., ::-1, :]


def _flip2(a):
    return a[..., ::-1, ::-1]


class Cholesky(Function):
    """Lower factor; reads the lower triangle only."""

    @staticmethod
    def forward(ctx, A):
        L = lapack("linalg.cholesky", "is not positive definite", np.linalg.cholesky, A)
        ctx.save_for_backward(L)
        return L

    @staticmethod
    def backward(ctx, g):
        (L,) = ctx.saved_tensors
        P = (L.mT @ g.tril()).tril()
        P = P - 0.5 * _core.diag_embed(P.diagonal(0, -2, -1))
        X = Triangular.apply(L.mT, P, True, False)
        S = Triangular.apply(L.mT, X.mT, True, False)  # L^-T P^T L^-1
        return 0.5 * (S + S.mT)


class Reduced(Function):
    """Q [M, K], R [K, N], K = min(M, N)."""

    @staticmethod
    def forward(ctx, A):
        Q, R = lapack("linalg.qr", "has no QR factors", np.linalg.qr, A)
        ctx.save_for_backward(A, Q, R)
        return Q, R

    @staticmethod
    def backward(ctx, gQ, gR):
        A, Q, R = ctx.saved_tensors
        k = Q.shape[-1]
        if A.shape[-1] == k:
            return _qr_backward(Q, R, gQ, gR)
        # A = [X | Y], R = [U | V]: X = Q U and V = Q^T Y.
        gV = gR[..., k:]
        gX = _qr_backward(Q, R[..., :k], gQ + A[..., k:] @ gV.mT, gR[..., :k])
        return _core.cat([gX, Q @ gV], -1)


def _qr_backward(Q, R, gQ, gR):
    """Gradient of a matrix with at least as many rows as columns."""
    M = R @ gR.mT - gQ.mT @ Q
    M = M.tril() + M.tril(-1).mT
    return Triangular.apply(R, (gQ + Q @ M).mT, True, False).mT


class Complete(Function):
    """Q [M, M], R [M, N] of a tall matrix: the last columns of Q are an arbitrary basis, without gradient."""

    @staticmethod
    def forward(ctx, A):
        return lapack(
            "linalg.qr", "has no QR factors", lambda a: np.linalg.qr(a, mode="complete"), A
        )

    @staticmethod
    def backward(ctx, gQ, gR):
        raise RuntimeError(
            "linalg.qr: mode='complete' of a matrix with more rows than columns has no gradient; "
            "use mode='reduced'"
        )


class SymmetricEigen(Function):
    """Eigenvalues and vectors; reads one triangle only."""

    @staticmethod
    def forward(ctx, A, uplo):
        w, V = lapack(
            "linalg.eigh",
            "has values that are not finite, or its eigenvalues did not converge",
            lambda a: tuple(
                np.linalg.eigh(finite(np.tril(a) if uplo == "L" else np.triu(a)), uplo)
            ),
            A,
        )
        ctx.save_for_backward(w, V)
        return w, V

    @staticmethod
    def backward(ctx, gw, gV):
        w, V = ctx.saved_tensors
        inner = _core.diag_embed(gw) + (V.mT @ gV) * gap_inverse(w)
        inner = V @ inner @ V.mT
        return 0.5 * (inner + inner.mT), None


class SingularValues(Function):
    """U, S, Vh; with `full` their arbitrary further columns and rows, which have no gradient."""

    @staticmethod
    def forward(ctx, A, full):
        U, S, Vh = lapack(
            "linalg.svd",
            "has values that are not finite, or its singular values did not converge",
            lambda a: tuple(np.linalg.svd(finite(a), full_matrices=full)),
            A,
        )
        ctx.save_for_backward(U, S, Vh)
        return U, S, Vh

    @staticmethod
    def backward(ctx, gU, gS, gVh):
        U, S, Vh = ctx.saved_tensors
        m, k, n = U.shape[-2], S.shape[-1], Vh.shape[-1]
        U, gU, Vh, gVh = U[..., :k], gU[..., :k], Vh[..., :k, :], gVh[..., :k, :]
        row, column = S.unsqueeze(-2), S.unsqueeze(-1)
        F = gap_inverse(S) * safe_inverse(row + column)  # 1 / (s_j^2 - s_i^2)
        UgU, VgV = U.mT @ gU, Vh @ gVh.mT
        inner = _core.diag_embed(gS)
        inner = inner + (UgU - UgU.mT) * F * row + column * ((VgV - VgV.mT) * F)
        gA = U @ inner @ Vh
        if m > k:
            gA = gA + ((gU - U @ UgU) * safe_inverse(row)) @ Vh
        if n > k:
            gA = gA + U @ (safe_inverse(column) * (gVh - VgV.mT @ Vh))
        return gA, None


def cholesky(input, *, upper=False, out=None):
    """Cholesky factor of symmetric positive definite matrices: input = L L^T.

    input: [..., N, N], float32 or float64; only the lower triangle is read (upper=True: the upper one).
    Returns L, lower triangular with a positive diagonal (upper=True: L^T).
    Raises LinAlgError, naming the matrix of the batch, unless all are positive definite.
    """
    check_square("linalg.cholesky", input)
    check_flag("linalg.cholesky", upper=upper)
    A = double(input)
    L = Cholesky.apply(A.mT if upper else A)
    return done("linalg.cholesky", L.mT if upper else L, input, out)


def qr(A, mode="reduced", *, out=None):
    """A = Q R with orthonormal columns in Q and upper triangular R (its diagonal may be negative, as in LAPACK).

    A: [..., M, N]. mode 'reduced': Q [..., M, K], R [..., K, N], K = min(M, N); 'complete': Q [..., M, M],
    R [..., M, N]; 'r': R as in 'reduced' and an empty Q.
    Returns (Q, R). Gradients of the first K columns; 'complete' with M > N has none. The first K columns of A must be
    independent for a gradient.
    """
    check("linalg.qr", A, 2, "A")
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"linalg.qr: expected mode 'reduced', 'complete' or 'r', got {mode!r}")
    tall = A.shape[-2] > A.shape[-1]
    Q, R = (Complete if mode == "complete" and tall else Reduced).apply(double(A))
    if mode == "r":
        Q = Q.new_empty((0,))
    return several("linalg.qr", QR, (Q, R), A, out)


def _triangle(op, A, UPLO):
    check_square(op, A, "A")
    if UPLO not in ("L", "U"):
        raise ValueError(f"{op}: expected UPLO 'L' or 'U', got {UPLO!r}")


def eigh(A, UPLO="L", *, out=None):
    """Eigenvalues and eigenvectors of symmetric matrices: A = V diag(w) V^T.

    A: [..., N, N]; only the triangle UPLO is read. Returns (eigenvalues [..., N], ascending; eigenvectors [..., N, N],
    in columns, with orthonormal columns and arbitrary sign).
    The gradient takes A as symmetric. Vectors of equal eigenvalues are an arbitrary basis: their mutual gradient
    counts as zero.
    """
    _triangle("linalg.eigh", A, UPLO)
    return several("linalg.eigh", Eigh, SymmetricEigen.apply(double(A), UPLO), A, out)


def eigvalsh(A, UPLO="L", *, out=None):
    """Eigenvalues [..., N] of symmetric matrices, ascending; see eigh."""
    _triangle("linalg.eigvalsh", A, UPLO)
    return done("linalg.eigvalsh", SymmetricEigen.apply(double(A), UPLO)[0], A, out)


def svd(A, full_matrices=True, *, driver=None, out=None):
    """Singular value decomposition A = U diag(S) Vh.

    A: [..., M, N]. Returns (U [..., M, M], S [..., K], Vh [..., N, N]), K = min(M, N), S descending; with
    full_matrices=False U [..., M, K] and Vh [..., K, N]. driver is accepted for compatibility.
    Vectors have arbitrary signs; those of equal or zero singular values are an arbitrary basis, as are the columns and
    rows beyond K: their gradient counts as zero.
    """
    check("linalg.svd", A, 2, "A")
    check_flag("linalg.svd", full_matrices=full_matrices)
    return several("linalg.svd", SVD, SingularValues.apply(double(A), full_matrices), A, out)


def svdvals(A, *, driver=None, out=None):
    """Singular values [..., K] of A [..., M, N], descending, K = min(M, N); see svd."""
    check("linalg.svdvals", A, 2, "A")
    return done("linalg.svdvals", SingularValues.apply(double(A), False)[1], A, out)


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """X with A X = B (left=False: X A = B) for triangular A, by substitution.

    A: [..., N, N]; the other triangle is not read (unitriangular: nor the diagonal, taken as ones). B: [..., N, K]
    (left=False: [..., K, N]); batch dimensions broadcast. Raises LinAlgError for a zero on the diagonal.
    """
    from ._solve import spread

    check_flag("linalg.solve_triangular", upper=upper, left=left, unitriangular=unitriangular)
    A, B, like = spread("linalg.solve_triangular", A, B, left)
    if left:
        X = Triangular.apply(A, B, upper, unitriangular)
    else:
        X = Triangular.apply(A.mT, B.mT, not upper, unitriangular).mT
    return done("linalg.solve_triangular", X, like, out)
