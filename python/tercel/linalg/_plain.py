"""PyTorch's plain names, `tercel.det` and others, for what is in tercel.linalg; also methods of Tensor."""

from __future__ import annotations

from .. import _core
from ._checks import check, check_flag
from ._factor import cholesky as _cholesky
from ._factor import qr as _qr
from ._factor import svd as _svd
from ._factor import svdvals as _svdvals
from ._matrix import matrix_exp
from ._solve import (
    cholesky_inverse,
    cholesky_solve,
    logdet,
)
from ._solve import (
    det as _det,
)
from ._solve import (
    inv as _inv,
)
from ._solve import (
    pinv as _pinv,
)
from ._solve import (
    slogdet as _slogdet,
)

__all__ = ["cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "matrix_exp", "pinverse",
           "qr", "slogdet", "svd"]  # fmt: skip

SVDPlain = _core._result_tuple("svd", "U S V")


def cholesky(input, upper=False, *, out=None):
    """linalg.cholesky with upper by position."""
    return _cholesky(input, upper=upper, out=out)


def det(input):
    """linalg.det."""
    return _det(input)


def inverse(input, *, out=None):
    """linalg.inv."""
    return _inv(input, out=out)


def slogdet(input):
    """linalg.slogdet."""
    return _slogdet(input)


def pinverse(input, rcond=1e-15):
    """linalg.pinv: singular values up to rcond times the largest count as zero."""
    return _pinv(input, rtol=rcond)


def qr(input, some=True, *, out=None):
    """linalg.qr with mode 'reduced', or 'complete' if not some."""
    check_flag("qr", some=some)
    return _qr(input, "reduced" if some else "complete", out=out)


def svd(input, some=True, compute_uv=True, *, out=None):
    """(U, S, V) with input = U diag(S) V^T; linalg.svd returns V^T. some: reduced; compute_uv=False: zeros for U, V."""
    check_flag("svd", some=some, compute_uv=compute_uv)
    check("svd", input)
    if compute_uv:
        U, S, Vh = _svd(input, not some)
        result = SVDPlain(U, S, Vh.mT)
    else:
        m, n = input.shape[-2:]
        batch = tuple(input.shape[:-2])
        result = SVDPlain(
            input.new_zeros((*batch, m, m)), _svdvals(input), input.new_zeros((*batch, n, n))
        )
    if out is None:
        return result
    from ._checks import several

    return several("svd", SVDPlain, result, input, out)
