"""Calling a module with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..._core import Tensor
from ..module import Module


@contextmanager
def _swapped(module: Module, tensors: Mapping[str, Tensor], strict: bool) -> Iterator[None]:
    saved: list[tuple[Module, str, Any]] = []
    try:
        used = set()
        for name, value in tensors.items():
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"functional_call: {name} must be a Tensor, got {type(value).__name__}"
                )
            path, _, leaf = name.rpartition(".")
            owner = module.get_submodule(path)
            if leaf not in owner._parameters and leaf not in owner._buffers:
                raise ValueError(
                    f"functional_call: {type(module).__name__} has no parameter or buffer '{name}'"
                )
            saved.append((owner, leaf, owner.__dict__[leaf]))
            # Only the attribute is replaced: the registries keep the module's own tensors.
            owner.__dict__[leaf] = value
            used.add(name)
        if strict:
            own = {n for n, _ in module.named_parameters()} | {n for n, _ in module.named_buffers()}
            if own - used:
                raise RuntimeError(f"functional_call: missing keys {sorted(own - used)}")
        yield
    finally:
        for owner, leaf, value in reversed(saved):
            owner.__dict__[leaf] = value


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor]
    | tuple[Mapping[str, Tensor], ...]
    | list[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the named parameters and buffers replaced by the given tensors.

    The module is left as it was. With ``strict`` all of its tensors must be given.
    With ``tie_weights`` a tensor that the module uses under several names is replaced under all of them.
    """
    dicts = parameter_and_buffer_dicts
    tensors: dict[str, Tensor] = {}
    for d in [dicts] if isinstance(dicts, Mapping) else dicts:
        tensors.update(d)
    if tie_weights:
        names: dict[int, list[str]] = {}
        for name, t in module.named_parameters(remove_duplicate=False):
            names.setdefault(id(t), []).append(name)
        for same in names.values():
            given = [n for n in same if n in tensors]
            if given:
                for name in same:
                    tensors.setdefault(name, tensors[given[0]])
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(module, tensors, strict):
        return module(*args, **(kwargs or {}))
