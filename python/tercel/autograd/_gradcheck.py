"""gradcheck and gradgradcheck: gradients against central differences."""

from __future__ import annotations

from .. import _core
from . import enable_grad, grad, no_grad


def _flat_outputs(result):
    outputs = (result,) if isinstance(result, _core.Tensor) else tuple(result)
    return [o for o in outputs if isinstance(o, _core.Tensor) and o.is_floating_point()]


def gradcheck(
    func,
    inputs,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compares analytic gradients with central differences in float64.

    Every float64 input with requires_grad is perturbed element by element; all float outputs are
    checked; backward is run twice and must return the same bits (`nondet_tol` 0).
    """
    inputs = (inputs,) if isinstance(inputs, _core.Tensor) else tuple(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, _core.Tensor) and x.requires_grad]

    def fail(message):
        if raise_exception:
            raise RuntimeError(f"gradcheck: {message}")
        return False

    if not checked:
        raise ValueError("gradcheck: expected at least one input with requires_grad=True")
    for i in checked:
        if inputs[i].dtype is not _core.float64:
            raise ValueError(f"gradcheck: input {i} must be float64, got {inputs[i].dtype}")

    outputs = _flat_outputs(func(*inputs))
    for k, output in enumerate(outputs):
        columns = output.numel()
        numeric = {i: [] for i in checked}
        with no_grad():
            for i in checked:
                base = inputs[i].detach()
                flat = base.reshape(-1).tolist()
                for j in range(base.numel()):
                    sides = []
                    for step in (eps, -eps):
                        moved = list(flat)
                        moved[j] += step
                        args = list(inputs)
                        args[i] = _core.tensor(moved, dtype=_core.float64).reshape(base.shape)
                        sides.append(_flat_outputs(func(*args))[k].detach().reshape(-1).tolist())
                    numeric[i].append([(a - b) / (2 * eps) for a, b in zip(*sides, strict=True)])
        if not output.requires_grad:
            for i in checked:
                if any(abs(v) > atol for row in numeric[i] for v in row):
                    return fail(f"output {k} does not require grad but depends on input {i}")
            continue
        for c in range(columns):
            seed = [0.0] * columns
            seed[c] = 1.0
            weight = _core.tensor(seed, dtype=output.dtype).reshape(output.shape)
            runs = []
            for _ in range(2 if c == 0 else 1):
                fresh = _flat_outputs(func(*inputs))[k]
                runs.append(grad(fresh, [inputs[i] for i in checked], weight, allow_unused=True))
            for i, g in zip(checked, runs[0], strict=True):
                values = [0.0] * inputs[i].numel() if g is None else g.reshape(-1).tolist()
                if g is not None and g.shape != inputs[i].shape:
                    return fail(
                        f"gradient of input {i} has shape {g.shape}, expected {inputs[i].shape}"
                    )
                for j, value in enumerate(values):
                    expected = numeric[i][j][c]
                    if not abs(value - expected) <= atol + rtol * abs(expected):
                        return fail(
                            f"d output {k}[{c}] / d input {i}[{j}]: analytic {value!r}, numeric {expected!r}"
                        )
            if len(runs) == 2:
                for i, a, b in zip(checked, *runs, strict=True):
                    if a is None:
                        continue
                    for u, v in zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True):
                        if not (abs(u - v) <= nondet_tol or (u != u and v != v)):
                            return fail(f"backward is not deterministic for input {i}")
    return True


def gradgradcheck(
    func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, **_
) -> bool:
    """gradcheck of the gradients of `func`: checks second derivatives."""
    inputs = (inputs,) if isinstance(inputs, _core.Tensor) else tuple(inputs)
    outputs = _flat_outputs(func(*inputs))
    if grad_outputs is None:
        weights = []
        for o in outputs:
            values = [0.5 + ((7 * n) % 11) / 11.0 for n in range(o.numel())]
            weights.append(_core.tensor(values, dtype=o.dtype).reshape(o.shape).requires_grad_())
    else:
        weights = [grad_outputs] if isinstance(grad_outputs, _core.Tensor) else list(grad_outputs)
    positions = [i for i, x in enumerate(inputs) if isinstance(x, _core.Tensor) and x.requires_grad]

    def first(*args):
        args, seeds = args[: len(inputs)], args[len(inputs) :]
        # Gradients with respect to clones, so that perturbed inputs are differentiated as well.
        args = [
            a if i not in positions or a.requires_grad else a.detach().requires_grad_()
            for i, a in enumerate(args)
        ]
        with enable_grad():
            outs = [o for o in _flat_outputs(func(*args)) if o.requires_grad]
            seeds = [
                s for s, o in zip(seeds, _flat_outputs(func(*args)), strict=True) if o.requires_grad
            ]
            grads = grad(
                outs, [args[i] for i in positions], seeds, create_graph=True, allow_unused=True
            )
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        first, (*inputs, *weights), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )
