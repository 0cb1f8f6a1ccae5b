"""Parameters computed from others: ``module.weight`` becomes ``parametrization(original)``.

The originals live in ``module.parametrizations.weight.original`` (``original0``, ... when
``right_inverse`` splits it), and ``module.weight`` is a property that computes the value on each use,
or once within ``cached()``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ... import no_grad
from ..._core import Tensor
from ..containers import ModuleDict, ModuleList
from ..module import Module
from ..parameter import Parameter

_cache_depth = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Within the block every parametrized tensor is computed once and reused."""
    global _cache_depth
    _cache_depth += 1
    try:
        yield
    finally:
        _cache_depth -= 1
        if _cache_depth == 0:
            _cache.clear()


def _make_member(original: Tensor, like: Tensor) -> Tensor:
    return Parameter(original, like.requires_grad) if isinstance(like, Parameter) else original


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, together with the tensors they start from."""

    original: Tensor
    unsafe: bool

    def __init__(self, modules: Any, original: Tensor, unsafe: bool = False) -> None:
        modules = list(modules)
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        dtype, shape = original.dtype, original.shape
        with no_grad():
            value: Any = original
            for module in reversed(modules):
                if hasattr(module, "right_inverse"):
                    try:
                        value = module.right_inverse(value)
                    except NotImplementedError:
                        break
        self.is_tensor = isinstance(value, Tensor)
        self.ntensors = 1 if self.is_tensor else len(value)
        if self.is_tensor:
            if not unsafe and value.dtype != dtype:
                raise ValueError(
                    f"When `right_inverse` outputs one tensor, it must have the dtype of the original: "
                    f"got {value.dtype}, expected {dtype}"
                )
            if isinstance(original, Parameter):
                original.data = value.detach()
                self.original = original
            else:
                self.register_buffer("original", value)
        else:
            for i, item in enumerate(value):
                if not isinstance(item, Tensor):
                    raise ValueError(
                        f"right_inverse must return a Tensor or a sequence of tensors, got {type(item).__name__}"
                    )
                if isinstance(original, Parameter):
                    self.register_parameter(
                        f"original{i}", Parameter(item.detach(), original.requires_grad)
                    )
                else:
                    self.register_buffer(f"original{i}", item)
        if not unsafe:
            result = self()
            if not isinstance(result, Tensor):
                raise ValueError(
                    f"A parametrization must return a tensor. Got {type(result).__name__}."
                )
            if result.dtype != dtype or result.shape != shape:
                raise ValueError(
                    "Registering a parametrization may not change dtype or shape of the tensor, unless the `unsafe` "
                    f"flag is enabled: had {dtype} {list(shape)}, got {result.dtype} {list(result.shape)}"
                )

    def right_inverse(self, value: Tensor) -> None:
        """Sets the originals so that the parametrized tensor becomes ``value``."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse: "
                        "the tensor cannot be assigned"
                    )
                value = module.right_inverse(value)
            values = [value] if self.is_tensor else list(value)
            if len(values) != self.ntensors:
                raise ValueError(
                    f"right_inverse must return {self.ntensors} tensors, got {len(values)}"
                )
            for name, item in zip(self._names(), values):
                original = getattr(self, name)
                if original.dtype != item.dtype:
                    raise ValueError(
                        f"right_inverse: {name} has dtype {original.dtype}, got {item.dtype}"
                    )
                original.data = item.detach()

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def forward(self) -> Tensor:
        modules = iter(self)
        value = next(modules)(*(getattr(self, name) for name in self._names()))
        for module in modules:
            value = module(value)
        return value


def _make_class(module: Module) -> None:
    """Gives `module` its own class, to which the properties are added."""
    base = type(module)

    def copy_of(self: Any, memo: dict) -> Any:
        # The class is per module, so that a copy gets properties of its own.
        new = self.__new__(type(self))
        memo[id(self)] = new
        new.__setstate__({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items()})
        return new

    module.__class__ = type(
        f"Parametrized{base.__name__}",
        (base,),
        {"__deepcopy__": copy_of, "__module__": base.__module__, "parametrized_base": base},
    )


def _inject_property(module: Module, name: str) -> None:
    def get(self: Module) -> Tensor:
        if _cache_depth == 0:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def set(self: Module, value: Tensor) -> None:
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, set))


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Makes ``module.tensor_name`` the output of ``parametrization``; a second call stacks on the first.

    If the parametrization has ``right_inverse``, the tensor may be assigned, and starts at its present
    value. Dtype and shape must be preserved unless ``unsafe``.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        present = getattr(module, tensor_name)
        if not unsafe:
            result = parametrization(present)
            if (
                not isinstance(result, Tensor)
                or result.dtype != present.dtype
                or result.shape != present.shape
            ):
                raise ValueError(
                    "Registering a parametrization may not change dtype or shape of the tensor, "
                    "unless the `unsafe` flag is enabled"
                )
        stack = module.parametrizations[tensor_name]
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                inverse = parametrization.right_inverse(present)
            if not isinstance(inverse, Tensor):
                raise ValueError("right_inverse of a second parametrization must return one tensor")
            setattr(module, tensor_name, inverse)
        stack.append(parametrization)
        stack.unsafe |= unsafe
    elif tensor_name in module._parameters or tensor_name in module._buffers:
        original = getattr(module, tensor_name)
        if original is None:
            raise ValueError(
                f"Module '{type(module).__name__}': '{tensor_name}' is None and cannot be parametrized"
            )
        stack = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _make_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = stack
    else:
        raise ValueError(
            f"Module '{type(module).__name__}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module (or this tensor of it) is parametrized."""
    stacks = module._modules.get("parametrizations")
    if not isinstance(stacks, ModuleDict):
        return False
    return len(stacks) > 0 if tensor_name is None else tensor_name in stacks


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Undoes register_parametrization: the tensor keeps its parametrized value, or becomes the original again."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(
            f"Module '{type(module).__name__}' does not have a parametrization on {tensor_name}"
        )
    stack = module.parametrizations[tensor_name]
    if leave_parametrized:
        with no_grad():
            value = getattr(module, tensor_name).detach().clone()
        first = getattr(stack, stack._names()[0])
        if isinstance(first, Parameter):
            if stack.is_tensor:
                first.data = value
                value = first
            else:
                value = Parameter(value, first.requires_grad)
    else:
        if not stack.is_tensor:
            raise ValueError(
                "Cannot leave unparametrized (`leave_parametrized=False`) a tensor of several originals"
            )
        value = stack.original
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if isinstance(value, Parameter):
        module.register_parameter(tensor_name, value)
    else:
        module.register_buffer(tensor_name, value)
    if not is_parametrized(module):
        delattr(module, "parametrizations")
        module.__class__ = type(module).parametrized_base
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of the module before it was parametrized."""
    return type(module).parametrized_base if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Gives ``to_module`` copies of the parametrizations (and originals) of ``from_module``."""
    if not is_parametrized(from_module):
        return to_module
    names = [tensor_name] if tensor_name is not None else list(from_module.parametrizations)
    for name in names:
        stack = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for parametrization in stack:
            register_parametrization(to_module, name, copy.deepcopy(parametrization), unsafe=True)
        for original in stack._names():
            getattr(to_module.parametrizations[name], original).data = (
                getattr(stack, original).detach().clone()
            )
    return to_module
