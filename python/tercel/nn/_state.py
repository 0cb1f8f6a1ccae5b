"""state_dict and load_state_dict of a Module, with PyTorch's keys, hooks and messages."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import no_grad
from .._core import Tensor
from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

_EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What load_state_dict returns: the keys that were missing and those that had no place."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class ModuleState:
    """Saving and loading for Module."""

    def get_extra_state(self) -> Any:
        """Override together with set_extra_state to keep more than tensors in state_dict."""
        raise RuntimeError("get_extra_state is not implemented by this module")

    def set_extra_state(self, state: Any) -> None:
        raise RuntimeError("set_extra_state is not implemented by this module")

    def _save_to_state_dict(self: Module, destination: dict, prefix: str, keep_vars: bool) -> None:
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not ModuleState.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def state_dict(
        self: Module, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> OrderedDict[str, Any]:
        """Ordered map from dotted names to the parameters and persistent buffers (sharing their memory)."""
        if args:
            destination, prefix, keep_vars = (
                *args,
                *(destination, prefix, keep_vars)[len(args) :],
            )[:3]
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(
                    destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars
                )
        for hook in self._state_dict_hooks.values():
            result = hook(self, destination, prefix, local_metadata)
            if result is not None:
                destination = result
        return destination

    def _load_from_state_dict(
        self: Module,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Loads this module only (not its children); problems are appended to the three lists."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                self,
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        assign = local_metadata.get("assign_to_params_buffers", False)
        members = {**self._parameters}
        members.update(
            (n, b) for n, b in self._buffers.items() if n not in self._non_persistent_buffers_set
        )
        for name, member in members.items():
            if member is None:
                continue
            key = prefix + name
            if key in state_dict:
                error = self._load_member(name, member, key, state_dict[key], assign)
                if error:
                    error_msgs.append(error)
            elif strict:
                missing_keys.append(key)
        extra_key = prefix + _EXTRA_STATE
        if type(self).set_extra_state is not ModuleState.set_extra_state:
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)
        if strict:
            known = {k for k, v in members.items() if v is not None}
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    head, _, tail = key[len(prefix) :].partition(".")
                    if (head not in self._modules or not tail) and head not in known:
                        unexpected_keys.append(key)

    def _load_member(
        self: Module, name: str, member: Tensor, key: str, value: Any, assign: bool
    ) -> str | None:
        if not isinstance(value, Tensor):
            return (
                f'While copying the parameter named "{key}", expected tercel.Tensor or Tensor-like object from '
                f"checkpoint but received {type(value)}"
            )
        if member.dim() == 0 and tuple(value.shape) == (1,):
            value = value[0]  # scalars of old files
        if value.shape != member.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                f"the shape in current model is {member.shape}."
            )
        try:
            with no_grad():
                if not assign:
                    member.copy_(value)
                elif name in self._parameters:
                    if not isinstance(value, Parameter):
                        value = Parameter(value, requires_grad=member.requires_grad)
                    else:
                        value.requires_grad_(member.requires_grad)
                    self._parameters[name] = value
                else:
                    self._buffers[name] = value
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are {member.shape} and '
                f"whose dimensions in the checkpoint are {value.shape}, an exception occurred : {error.args}."
            )
        return None

    def load_state_dict(
        self: Module, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copies ``state_dict`` into this module's parameters and buffers.

        With ``strict`` (default) the keys must match exactly. ``assign=True`` takes the given tensors over
        (with their dtype and device) instead of copying into the present ones.
        Raises TypeError if ``state_dict`` is no mapping, RuntimeError listing every key that does not fit.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)

        def load(module: Module, local: dict[str, Any], prefix: str = "") -> None:
            local_metadata = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
            if assign:
                local_metadata["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                local, prefix, local_metadata, True, missing, unexpected, errors
            )
            for name, child in module._modules.items():
                if child is not None:
                    child_prefix = prefix + name + "."
                    load(
                        child,
                        {k: v for k, v in local.items() if k.startswith(child_prefix)},
                        child_prefix,
                    )
            incompatible = _IncompatibleKeys(missing, unexpected)
            for hook in module._load_state_dict_post_hooks.values():
                if hook(module, incompatible) is not None:
                    raise RuntimeError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                        "values, if incompatible_keys need to be modified, it should be done inplace."
                    )

        load(self, state_dict)
        if strict:
            if unexpected:
                keys = ", ".join(f'"{k}"' for k in unexpected)
                errors.insert(0, f"Unexpected key(s) in state_dict: {keys}. ")
            if missing:
                keys = ", ".join(f'"{k}"' for k in missing)
                errors.insert(0, f"Missing key(s) in state_dict: {keys}. ")
        if errors:
            detail = "\n\t".join(errors)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{detail}"
            )
        return _IncompatibleKeys(missing, unexpected)
