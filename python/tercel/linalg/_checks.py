"""Argument checks and the way to NumPy's LAPACK, shared by the files of tercel.linalg.

Every function computes in float64 and rounds once to the dtype of its argument, forward and backward: `double`
opens that bracket, `done` closes it. LAPACK is reached through numpy.linalg, matrix by matrix, so a result
does not depend on the rest of the batch.
"""

from __future__ import annotations

import numpy as np

from .. import _core
from .._core import DTypeError, ShapeError, Tensor
from .._numpy import from_numpy


class LinAlgError(RuntimeError):
    """A matrix has no such inverse, factor or decomposition."""


def check(op: str, x, rank: int = 2, name: str = "input") -> None:
    """Raises unless x is a float32 or float64 tensor of at least `rank` dimensions."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{op}: expected {name} to be a Tensor, got {type(x).__name__}")
    if x.dtype not in (_core.float32, _core.float64):
        raise DTypeError(f"{op}: expected {name} of float32 or float64, got {x.dtype}")
    if x.dim() < rank:
        raise ShapeError(
            f"{op}: expected {name} with at least {rank} dimensions, got shape {tuple(x.shape)}"
        )


def check_square(op: str, x, name: str = "input") -> None:
    """Raises unless x is a tensor [..., N, N] of float32 or float64."""
    check(op, x, 2, name)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"{op}: expected {name} of square matrices [..., N, N], got shape {tuple(x.shape)}"
        )


def check_pair(op: str, a, b) -> None:
    """Raises unless both operands are of one dtype and on one device."""
    if a.dtype is not b.dtype:
        raise DTypeError(f"{op}: expected operands of one dtype, got {a.dtype} and {b.dtype}")
    if a.device != b.device:
        raise RuntimeError(f"{op}: expected operands on one device, got {a.device} and {b.device}")


def check_flag(op: str, **flags) -> None:
    """Raises unless every keyword is a bool."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{op}: expected {name} to be a bool, got {value!r}")


def double(x: Tensor) -> Tensor:
    """x in float64, where the computation happens."""
    return x.to(_core.float64)


def done(op: str, result: Tensor, like: Tensor, out: Tensor | None = None) -> Tensor:
    """The float64 result rounded to the dtype of `like`; copied into out if that is given."""
    result = result.to(like.dtype)
    return result if out is None else _core._into_out(result, out, op)


def several(op: str, kind, results, like: Tensor, out=None):
    """The named tuple `kind` of done(...) of every result; out: a tuple of as many tensors."""
    if out is None:
        return kind(*(done(op, r, like) for r in results))
    if not isinstance(out, (tuple, list)) or len(out) != len(results):
        raise TypeError(f"{op}: expected out to be a tuple of {len(results)} tensors, got {out!r}")
    return kind(*(done(op, r, like, o) for r, o in zip(results, out, strict=True)))


def lapack(op: str, why: str, f, *tensors: Tensor):
    """f of the tensors' arrays, as tensors on their device. Where LAPACK gives up: LinAlgError that says `why`
    and which matrix of the batch it was."""
    arrays = [np.asarray(t.detach().cpu().numpy()) for t in tensors]
    device = tensors[0].device

    def tensor(array):
        t = from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
        return t if device.type == "cpu" else t.to(device)

    try:
        with np.errstate(all="ignore"):
            result = f(*arrays)
    except np.linalg.LinAlgError:
        raise LinAlgError(f"{op}: {_culprit(f, arrays)} {why}") from None
    return tuple(tensor(r) for r in result) if isinstance(result, tuple) else tensor(result)


def finite(a):
    """a; LinAlgError if a value is not finite: LAPACK's iterations may not end, or return anything."""
    if not np.isfinite(a).all():
        raise np.linalg.LinAlgError
    return a


def _culprit(f, arrays) -> str:
    """Which matrix of a batch makes f fail."""
    matrices, *rest = arrays
    for place in np.ndindex(matrices.shape[:-2]):
        try:
            with np.errstate(all="ignore"):
                f(matrices[place], *(r[place] for r in rest))
        except np.linalg.LinAlgError:
            return (
                f"matrix {place if len(place) > 1 else place[0]} of the batch"
                if place
                else "the matrix"
            )
    return "a matrix"


def gap_inverse(values: Tensor) -> Tensor:
    """F[i, j] = 1 / (v[j] - v[i]) for values [..., K]; 0 on the diagonal and where two values agree up to their
    rounding error: vectors of equal values are an arbitrary basis, on which no result may depend."""
    gap = values.unsqueeze(-2) - values.unsqueeze(-1)
    scale = values.detach().abs().amax(-1, keepdim=True).unsqueeze(-1) if values.shape[-1] else 1.0
    near = gap.detach().abs() <= scale * (values.shape[-1] * np.finfo(np.float64).eps)
    return (~near).to(gap.dtype) / _core.where(near, 1.0, gap)


def safe_inverse(values: Tensor) -> Tensor:
    """1 / v; 0 where v is 0."""
    zero = values.detach() == 0
    return (~zero).to(values.dtype) / _core.where(zero, 1.0, values)
