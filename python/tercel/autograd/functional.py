"""Jacobians and Hessians of functions, and their products with vectors.

Reverse mode throughout: a Jacobian takes one backward pass for each output element, and J v is the derivative of
J^T u with respect to u (two backward passes).
"""

from __future__ import annotations

from .. import _core
from . import enable_grad, grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _tuple(op, what, values):
    """(the tensors as a tuple, whether `values` was one)"""
    many = isinstance(values, (tuple, list))
    values = tuple(values) if many else (values,)
    for i, value in enumerate(values):
        if not isinstance(value, _core.Tensor):
            raise TypeError(f"{op}: {what} {i} must be a Tensor, got {type(value).__name__}")
    return values, many


def _evaluate(op, func, inputs, create_graph):
    """Inputs that are differentiated, and what func makes of them."""
    given, many_in = _tuple(op, "input", inputs)
    # views, so that gradients reach the caller's tensors if a graph of the result is wanted
    leaves = tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in given
    )
    outputs, many_out = _tuple(op, "output of func", func(*leaves))
    return leaves, many_in, outputs, many_out


def _vectors(op, v, like, what):
    """v as a tuple of the shapes of `like`; ones for a single element."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"{op}: v may be left out only if {what} is one tensor of one element"
            )
        return (_core.ones_like(like[0]),)
    v, _ = _tuple(op, "v", v)
    if len(v) != len(like):
        raise RuntimeError(f"{op}: v must have {len(like)} tensors like {what}, got {len(v)}")
    for i, (a, b) in enumerate(zip(v, like)):
        if a.shape != b.shape:
            raise RuntimeError(
                f"{op}: v {i} must have shape {list(b.shape)}, that of {what}, got {list(a.shape)}"
            )
    return v


def _grads(op, outputs, inputs, weights, create_graph, strict):
    """grad with zeros for what does not depend on an input; an error with strict."""
    pairs = [(o, w) for o, w in zip(outputs, weights) if o.requires_grad]
    if strict and len(pairs) < len(outputs):
        raise RuntimeError(f"{op}: an output does not depend on the inputs, and strict=True")
    found = (None,) * len(inputs)
    if pairs:
        outs, ws = zip(*pairs)
        found = grad(outs, inputs, ws, True, create_graph, allow_unused=True)
    if strict and any(g is None for g in found):
        raise RuntimeError(f"{op}: the outputs do not depend on every input, and strict=True")
    return tuple(_core.zeros_like(x) if g is None else g for g, x in zip(found, inputs))


def _finish(values, create_graph):
    return values if create_graph else tuple(x.detach() for x in values)


def _pack(values, many):
    return tuple(values) if many else values[0]


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), J^T v) with J the Jacobian of func; v: tensors like the outputs."""
    with enable_grad():
        leaves, many_in, outputs, many_out = _evaluate("vjp", func, inputs, create_graph)
        v = _vectors("vjp", v, outputs, "the output")
        product = _grads("vjp", outputs, leaves, v, create_graph, strict)
    return (
        _pack(_finish(outputs, create_graph), many_out),
        _pack(_finish(product, create_graph), many_in),
    )


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), J v) with J the Jacobian of func; v: tensors like the inputs."""
    with enable_grad():
        leaves, _, outputs, many_out = _evaluate("jvp", func, inputs, create_graph)
        v = _vectors("jvp", v, leaves, "the input")
        seeds = tuple(_core.zeros_like(o).requires_grad_() for o in outputs)
        back = _grads("jvp", outputs, leaves, seeds, True, strict)
        product = _grads("jvp", back, seeds, v, create_graph, False)
    return (
        _pack(_finish(outputs, create_graph), many_out),
        _pack(_finish(product, create_graph), many_out),
    )


def jacobian(
    func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"
):
    """Jacobian of func: for output y and input x a tensor of shape [*y.shape, *x.shape].

    Tuples of outputs or inputs give tuples, outputs outside. vectorize is accepted and changes nothing.
    """
    if strategy != "reverse-mode":
        raise NotImplementedError(f"jacobian: strategy must be 'reverse-mode', got {strategy!r}")
    with enable_grad():
        leaves, many_in, outputs, many_out = _evaluate("jacobian", func, inputs, create_graph)
        blocks = []
        for y in outputs:
            columns = [[] for _ in leaves]
            flat = y.reshape(-1)
            for k in range(y.numel()):
                one = _core.ones((), dtype=y.dtype, device=y.device)
                row = _grads("jacobian", (flat[k],), leaves, (one,), create_graph, strict)
                for column, g in zip(columns, row):
                    column.append(g)
            rows = [
                _core.stack(c).reshape(*y.shape, *x.shape)
                if c
                else _core.zeros((*y.shape, *x.shape), dtype=x.dtype, device=x.device)
                for c, x in zip(columns, leaves)
            ]
            blocks.append(_pack(_finish(rows, create_graph), many_in))
    return _pack(blocks, many_out)


def _scalar(op, func):
    def checked(*inputs):
        y = func(*inputs)
        if not isinstance(y, _core.Tensor) or y.numel() != 1:
            got = list(y.shape) if isinstance(y, _core.Tensor) else type(y).__name__
            raise RuntimeError(f"{op}: func must return one tensor of one element, got {got}")
        return y.reshape(())

    return checked


def hessian(
    func,
    inputs,
    create_graph=False,
    strict=False,
    vectorize=False,
    outer_jacobian_strategy="reverse-mode",
):
    """Matrix of second derivatives of a function with one output element: the Jacobian of its gradient."""
    many = isinstance(inputs, (tuple, list))

    def gradient(*xs):
        found = jacobian(_scalar("hessian", func), xs, create_graph=True, strict=strict)
        return found if many else found[0]

    return jacobian(gradient, inputs, create_graph, False, vectorize, outer_jacobian_strategy)


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), v^T H) with H the Hessian of a function with one output element."""
    with enable_grad():
        leaves, many, outputs, _ = _evaluate("vhp", _scalar("vhp", func), inputs, create_graph)
        v = _vectors("vhp", v, leaves, "the input")
        first = _grads("vhp", outputs, leaves, (_core.ones_like(outputs[0]),), True, strict)
        product = _grads("vhp", first, leaves, v, create_graph, False)
    return _finish(outputs, create_graph)[0], _pack(_finish(product, create_graph), many)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(*inputs), H v); H is symmetric, so this is vhp."""
    return vhp(func, inputs, v, create_graph, strict)
