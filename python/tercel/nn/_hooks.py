"""Hooks of a Module: before and after forward, before and after backward, and their global forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import _core
from ..utils.hooks import HookDict, RemovableHandle

if TYPE_CHECKING:
    from .module import Module

_global_forward_pre = HookDict()
_global_forward = HookDict()
_global_backward_pre = HookDict()
_global_backward = HookDict()
_global_with_kwargs: set[int] = set()
_global_always: set[int] = set()
CALL_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_in_use: set[int] = (
    set()
)  # ids of all forward and backward hooks; while empty, calls do not look for hooks


class _CallHandle(RemovableHandle):
    """Handle of a hook that calls have to look for."""

    __slots__ = ()

    def remove(self) -> None:
        super().remove()
        _in_use.discard(self.id)
        _core._use_module_hooks(bool(_in_use))


def keep_looking() -> None:
    """For copies of modules with hooks, which no handle removes: calls look for hooks from now on."""
    _in_use.add(-1)
    _core._use_module_hooks(True)


def _add_call_hook(
    hooks: HookDict, hook: Callable, prepend: bool, flags: list[set]
) -> RemovableHandle:
    if not callable(hook):
        raise TypeError(f"hook must be callable, got {type(hook).__name__}")
    handle = hooks.add(hook, prepend, tuple(flags), _CallHandle)
    _in_use.add(handle.id)
    _core._use_module_hooks(True)
    return handle


def _register_global(hooks: HookDict, hook: Callable, *flags: set) -> RemovableHandle:
    return _add_call_hook(hooks, hook, False, list(flags))


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, args)`` runs before every module's forward and may return changed arguments."""
    return _register_global(_global_forward_pre, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """``hook(module, args, output)`` runs after every module's forward and may return a changed output."""
    flags = ([_global_with_kwargs] if with_kwargs else []) + (
        [_global_always] if always_call else []
    )
    return _register_global(_global_forward, hook, *flags)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, grad_output)`` runs before every module's backward."""
    return _register_global(_global_backward_pre, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """``hook(module, grad_input, grad_output)`` runs after every module's backward."""
    return _register_global(_global_backward, hook)


class ModuleHooks:
    """The hook registries of a Module and the call path used while any of them is in use."""

    def _init_hooks(self, d: dict[str, Any]) -> None:
        for name in (
            *CALL_HOOKS,
            "_state_dict_pre_hooks",
            "_state_dict_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            d[name] = HookDict()
        d["_hooks_with_kwargs"] = set()
        d["_hooks_always_called"] = set()

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """``hook(module, args) -> None | args`` runs before forward; with ``with_kwargs``,
        ``hook(module, args, kwargs) -> None | (args, kwargs)``."""
        flags = [self._hooks_with_kwargs] if with_kwargs else []
        return _add_call_hook(self._forward_pre_hooks, hook, prepend, flags)

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """``hook(module, args, output) -> None | output`` runs after forward; with ``with_kwargs``,
        ``hook(module, args, kwargs, output)``; with ``always_call`` also when forward raised (output None)."""
        flags = ([self._hooks_with_kwargs] if with_kwargs else []) + (
            [self._hooks_always_called] if always_call else []
        )
        return _add_call_hook(self._forward_hooks, hook, prepend, flags)

    def register_full_backward_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """``hook(module, grad_output) -> None | grad_output`` runs before the module's backward."""
        return _add_call_hook(self._backward_pre_hooks, hook, prepend, [])

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """``hook(module, grad_input, grad_output) -> None | grad_input`` runs when the gradients of the
        module's tensor inputs are known. In-place changes of the module's inputs or outputs are not allowed."""
        return _add_call_hook(self._backward_hooks, hook, prepend, [])

    register_backward_hook = register_full_backward_hook

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, prefix, keep_vars)`` runs before state_dict collects this module."""
        return self._state_dict_pre_hooks.add(hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata)`` runs after state_dict collected this module."""
        return self._state_dict_hooks.add(hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)`` runs before this module loads."""
        return self._load_state_dict_pre_hooks.add(hook)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable, with_module: bool = False
    ) -> RemovableHandle:
        if with_module:
            return self.register_load_state_dict_pre_hook(hook)
        return self._load_state_dict_pre_hooks.add(lambda module, *args: hook(*args))

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """``hook(module, incompatible_keys)`` runs after loading; it may edit the key lists in place."""
        return self._load_state_dict_post_hooks.add(hook)

    # ---- calls with hooks ----------------------------------------------------------------------

    def _call_with_hooks(self: Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        if not (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_pre_hooks
            or self._backward_hooks
            or _global_forward_pre
            or _global_forward
            or _global_backward_pre
            or _global_backward
        ):
            return self.forward(*args, **kwargs)
        always = self._hooks_always_called | _global_always
        if not always:
            return self._run_hooks(args, kwargs, set())
        called: set[int] = set()
        try:
            return self._run_hooks(args, kwargs, called)
        except Exception:
            # Hooks registered with always_call still see the failed call; the first error is the one raised.
            for hooks, kw in (
                (_global_forward, _global_with_kwargs),
                (self._forward_hooks, self._hooks_with_kwargs),
            ):
                for id, hook in list(hooks.items()):
                    if id in always and id not in called:
                        try:
                            hook(self, args, kwargs, None) if id in kw else hook(self, args, None)
                        except Exception:
                            continue
            raise

    def _run_hooks(self: Module, args: tuple, kwargs: dict[str, Any], called: set[int]) -> Any:
        for hooks in (_global_forward_pre, self._forward_pre_hooks):
            for id, hook in list(hooks.items()):
                if id in self._hooks_with_kwargs:
                    result = hook(self, args, kwargs)
                    if result is not None:
                        if not (isinstance(result, tuple) and len(result) == 2):
                            raise RuntimeError(
                                f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {result}."
                            )
                        args, kwargs = result
                else:
                    result = hook(self, args)
                    if result is not None:
                        args = result if isinstance(result, tuple) else (result,)
        backward = None
        pre = [*_global_backward_pre.values(), *self._backward_pre_hooks.values()]
        post = [*_global_backward.values(), *self._backward_hooks.values()]
        if pre or post:
            from ._backward_hooks import BackwardHooks

            backward = BackwardHooks(self, pre, post)
            args = backward.wrap_inputs(args)
        output = self.forward(*args, **kwargs)
        for hooks, kw in (
            (_global_forward, _global_with_kwargs),
            (self._forward_hooks, self._hooks_with_kwargs),
        ):
            for id, hook in list(hooks.items()):
                called.add(id)
                result = hook(self, args, kwargs, output) if id in kw else hook(self, args, output)
                if result is not None:
                    output = result
        if backward is not None:
            output = backward.wrap_outputs(output)
        return output
