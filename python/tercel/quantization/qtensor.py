"""Making QTensors, and their form on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping

import tercel
from tercel import io

from .._core import QTensor, Tensor
from .schemes import Scheme, parse

Path = str | os.PathLike


def quantize(weight: Tensor, scheme: str | Scheme = "int8") -> QTensor:
    """Quantises a float tensor [..., in] by a scheme (see `schemes`); groups lie along the last dim.

    Scales come from the scheme's search over each group (NaN and infinities left out, an all-zero group has
    scale 1), rounding is to nearest even. Raises ValueError listing the schemes, DTypeError for integers.
    """
    scheme = parse(scheme)
    if not isinstance(weight, Tensor):
        raise TypeError(f"quantize: expected a Tensor, got {type(weight).__name__}")
    if weight.dim() < 1:
        raise ValueError("quantize: weight must have at least 1 dim, got a 0-d tensor")
    w = weight.detach()
    if w.dtype == tercel.float64:
        w = w.float()
    block = [1] * (w.dim() - 1) + [scheme.group or max(1, w.shape[-1])]
    return pack(w, block, *choose_scales(w, block, scheme), scheme)


def choose_scales(w: Tensor, block: list[int], scheme: Scheme) -> tuple[Tensor, Tensor | None]:
    """Scales and zero points of the blocks by the scheme's search."""
    return tercel.choose_qparams_affine(
        w, block, scheme.format, symmetric=not scheme.zero_point, method=scheme.method,
        power_of_two=scheme.power_of_two,
    )  # fmt: skip


def pack(
    w: Tensor, block: list[int], scale: Tensor, zero: Tensor | None, scheme: Scheme
) -> QTensor:
    """The nearest QTensor with these scales."""
    codes = tercel.quantize_affine(w, block, scale, zero, scheme.format)
    if zero is not None:
        zero = zero.to(tercel.int8 if scheme.format == "int8" else tercel.uint8)
    return QTensor(codes, scale, zero, scheme.format, w.shape, block, scheme.dynamic)


def to_state(q: QTensor, prefix: str = "") -> dict[str, Tensor]:
    """The tensors that describe `q`, for safetensors: values, scales, zero_points if any, and `scheme`, its format,
    shape and block as text in a uint8 tensor."""
    text = "/".join(
        [
            q.format,
            ",".join(map(str, q.shape)),
            ",".join(map(str, q.block_size)),
            "dynamic" if q.dynamic else "",
        ]
    )
    state = {f"{prefix}values": q.values, f"{prefix}scales": q.scales}
    if q.zero_points is not None:
        state[f"{prefix}zero_points"] = q.zero_points
    state[f"{prefix}scheme"] = tercel.tensor(list(text.encode("ascii")), dtype=tercel.uint8)
    return state


def from_state(state: Mapping[str, Tensor], prefix: str = "") -> QTensor:
    """The QTensor that `to_state` described. Everything is checked; raises KeyError or ValueError."""
    for name in ("values", "scales", "scheme"):
        if prefix + name not in state:
            raise KeyError(f"QTensor: the state has no {prefix + name!r}")
    code = state[f"{prefix}scheme"]
    if code.dtype != tercel.uint8 or code.dim() != 1 or code.numel() > 1000:
        raise ValueError(f"QTensor: {prefix}scheme must be a short uint8 vector")
    try:
        form, shape, block, dynamic = bytes(code.tolist()).decode("ascii").split("/")
        sizes = [[int(n) for n in part.split(",")] for part in (shape, block)]
    except ValueError:
        raise ValueError(f"QTensor: {prefix}scheme does not describe a quantised tensor") from None
    return QTensor(
        state[f"{prefix}values"],
        state[f"{prefix}scales"],
        state.get(f"{prefix}zero_points"),
        form,
        sizes[0],
        sizes[1],
        dynamic == "dynamic",
    )


def save(q: QTensor, path: Path) -> None:
    """Writes a QTensor as a safetensors file."""
    io.save_file(to_state(q), path)


def load(path: Path) -> QTensor:
    """Reads what `save` wrote."""
    return from_state(io.load_file(path))
