"""Linear algebra on batches of matrices [..., M, N] in float32 and float64, with gradients of any order.

LAPACK is reached through NumPy. Everything is computed in float64 and rounded once to the dtype of the argument, so
float32 results are as accurate as that dtype allows; a matrix does not depend on the rest of its batch. Tensors on a
GPU are computed on the host and brought back.

Not provided: eig and eigvals (complex numbers), lu, ldl.
"""

from ._checks import LinAlgError
from ._factor import cholesky, eigh, eigvalsh, qr, solve_triangular, svd, svdvals
from ._matrix import (
    cross,
    diagonal,
    matmul,
    matrix_exp,
    matrix_power,
    multi_dot,
    vander,
    vecdot,
)
from ._norm import cond, matrix_norm, norm, vector_norm
from ._solve import det, inv, lstsq, matrix_rank, pinv, slogdet, solve

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vander",
    "vecdot",
    "vector_norm",
]
