"""Other layers in the place of the Linear layers of a model."""

from __future__ import annotations

from collections.abc import Callable

from ..linear import Linear
from ..module import Module


def replace_linear_(
    model: Module,
    twin: Callable[[Linear], Linear],
    filter_fn: Callable[[Module, str], bool] | None,
    done: type[Linear] | tuple[type[Linear], ...],
) -> Module:
    """Puts twin(linear) in the place of the Linear layers that filter_fn(module, name) wants and that are not `done`
    already; a shared layer stays shared. Returns the model, or the twin of a model that is a Linear."""

    def wanted(module: Module, name: str) -> bool:
        if not isinstance(module, Linear) or isinstance(module, done):
            return False
        return filter_fn is None or filter_fn(module, name)

    if wanted(model, ""):
        return twin(model)  # type: ignore[arg-type]
    twins: dict[int, Linear] = {}
    for parent_name, parent in list(model.named_modules()):
        for child_name, child in list(parent._modules.items()):
            name = f"{parent_name}.{child_name}" if parent_name else child_name
            if child is not None and wanted(child, name):
                if id(child) not in twins:
                    twins[id(child)] = twin(child)  # type: ignore[arg-type]
                setattr(parent, child_name, twins[id(child)])
    return model
