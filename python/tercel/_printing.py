"""Text form of tensors, as PyTorch prints them."""

from __future__ import annotations

from math import ceil, floor, isfinite

from . import _core

_options = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Options of printing: digits, summarising threshold, items kept at the edges, line width."""
    profiles = {
        "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
        "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
        "full": {"precision": 4, "threshold": float("inf"), "edgeitems": 3, "linewidth": 80},
    }
    if profile is not None:
        if profile not in profiles:
            raise ValueError(
                f"set_printoptions: profile must be one of {sorted(profiles)}, got {profile!r}"
            )
        _options.update(profiles[profile])
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    _options.update({k: v for k, v in given.items() if v is not None})
    _options["sci_mode"] = sci_mode


class _Formatter:
    """Common width and notation for all printed elements."""

    def __init__(self, values, dtype):
        self.floating = dtype.is_floating_point
        self.integral_mode = False
        self.scientific = False
        self.width = 1
        if not self.floating:
            self.width = max((len(str(v)) for v in values), default=1)
            return
        nonzero = [v for v in values if isfinite(v) and v != 0]
        finite = [abs(v) for v in nonzero]
        if finite:
            low, high = min(finite), max(finite)
            self.integral_mode = all(v == ceil(v) for v in finite)
            self.scientific = (
                high / low > 1000.0 or high > 1e8 or (low < 1e-4 and not self.integral_mode)
            )
        else:
            self.integral_mode = True
        if _options["sci_mode"] is not None:
            self.scientific = _options["sci_mode"]
        self.width = max((len(self._text(v)) for v in nonzero), default=1)

    def _text(self, value) -> str:
        if not self.floating:
            return str(value)
        if not isfinite(value):
            return str(value)
        if self.scientific:
            return f"{value:.{_options['precision']}e}"
        if self.integral_mode:
            return f"{value:.0f}."
        return f"{value:.{_options['precision']}f}"

    def __call__(self, value) -> str:
        return self._text(value).rjust(self.width)


def _visible(tensor, summarise):
    """The elements that will be printed, flat."""
    edge = _options["edgeitems"]
    if tensor.dim() == 0:
        return [tensor.item()]
    n = tensor.size(0)
    if tensor.dim() == 1:
        if summarise and n > 2 * edge:
            return tensor[:edge].tolist() + tensor[n - edge :].tolist()
        return tensor.tolist()
    rows = [*range(edge), *range(n - edge, n)] if summarise and n > 2 * edge else range(n)
    return [v for i in rows for v in _visible(tensor[i], summarise)]


def _body(tensor, indent, summarise, fmt) -> str:
    edge = _options["edgeitems"]
    if tensor.dim() == 0:
        return fmt(tensor.item())
    n = tensor.size(0)
    short = summarise and n > 2 * edge
    if tensor.dim() == 1:
        if short:
            items = [
                *map(fmt, tensor[:edge].tolist()),
                " ...",
                *map(fmt, tensor[n - edge :].tolist()),
            ]
        else:
            items = list(map(fmt, tensor.tolist()))
        per_line = max(1, floor((_options["linewidth"] - indent) / (fmt.width + 2)))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)] or [""]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    if short:
        rows = [_body(tensor[i], indent + 1, summarise, fmt) for i in range(edge)]
        rows += ["..."]
        rows += [_body(tensor[i], indent + 1, summarise, fmt) for i in range(n - edge, n)]
    else:
        rows = [_body(tensor[i], indent + 1, summarise, fmt) for i in range(n)]
    return "[" + ("," + "\n" * (tensor.dim() - 1) + " " * (indent + 1)).join(rows) + "]"


def format_tensor(tensor) -> str:
    """What repr(tensor) returns."""
    name = "tensor" if type(tensor) is _core.Tensor else None
    prefix = "tensor("
    plain = tensor.detach().cpu()
    with_grad = tensor.grad_fn
    suffixes = [f"device='{tensor.device}'"] if tensor.is_cuda else []
    if plain.numel() == 0:
        body = "[]"
        if plain.dim() != 1:
            suffixes.append(f"size={tuple(plain.shape)}")
        show_dtype = plain.dtype is not _core.get_default_dtype()
    else:
        summarise = plain.numel() > _options["threshold"]
        fmt = _Formatter(_visible(plain, summarise), plain.dtype)
        body = _body(plain, len(prefix), summarise, fmt)
        show_dtype = plain.dtype not in (_core.get_default_dtype(), _core.int64, _core.bool)
    if show_dtype:
        suffixes.append(f"dtype={plain.dtype}")
    if with_grad is not None:
        suffixes.append(f"grad_fn=<{with_grad.name()}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    text = prefix + body
    width = len(text) - text.rfind("\n") + 1  # PyTorch's count of the last line
    for suffix in suffixes:
        if width + len(suffix) + 2 <= _options["linewidth"]:
            text += ", " + suffix
            width += len(suffix) + 2
        else:
            text += ",\n" + " " * len(prefix) + suffix
            width = len(prefix) + len(suffix)
    text += ")"
    if name is None and type(tensor).__name__ == "Parameter":
        return "Parameter containing:\n" + text
    return text
