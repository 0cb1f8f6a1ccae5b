"""Nested lists, tuples, dicts and their kin as a flat list of leaves and back, under the names of `torch.utils._pytree`
that programs import. Anything else, None included, is a leaf."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class TreeSpec(NamedTuple):
    """How a tree is put together again; type None stands for a leaf."""

    type: Any
    context: Any
    children_specs: tuple[TreeSpec, ...]

    @property
    def num_leaves(self) -> int:
        return 1 if self.type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None


_LEAF = TreeSpec(None, None, ())


def _open(tree: Any) -> tuple[Any, list[Any]] | None:
    """(context, children) of a container, None for a leaf. The context of a mapping has its keys."""
    kind = type(tree)
    if kind in (dict, OrderedDict):
        return list(tree), list(tree.values())
    if kind is defaultdict:
        return (tree.default_factory, list(tree)), list(tree.values())
    if kind is deque:
        return tree.maxlen, list(tree)
    if kind in (list, tuple) or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        return None, list(tree)
    return None


def _close(spec: TreeSpec, children: list[Any]) -> Any:
    if spec.type in (dict, OrderedDict):
        return spec.type(zip(spec.context, children))
    if spec.type is defaultdict:
        return defaultdict(spec.context[0], zip(spec.context[1], children))
    if spec.type is deque:
        return deque(children, maxlen=spec.context)
    return spec.type(*children) if hasattr(spec.type, "_fields") else spec.type(children)


def tree_flatten(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """The leaves of a tree from left to right, and what tree_unflatten needs to build it again."""
    opened = None if is_leaf is not None and is_leaf(tree) else _open(tree)
    if opened is None:
        return [tree], _LEAF
    leaves: list[Any] = []
    specs = []
    for child in opened[1]:
        below, spec = tree_flatten(child, is_leaf)
        leaves += below
        specs.append(spec)
    return leaves, TreeSpec(type(tree), opened[0], tuple(specs))


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of a spec with these leaves. Raises ValueError if their number differs."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten: expected {treespec.num_leaves} leaves, got {len(leaves)}"
        )

    rest = iter(leaves)

    def build(spec: TreeSpec) -> Any:
        if spec.is_leaf():
            return next(rest)
        return _close(spec, [build(child) for child in spec.children_specs])

    return build(treespec)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves of a tree from left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_map(
    func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """A tree like `tree` of func(leaf, ...), with the leaves of trees of the same form as further arguments.

    Raises ValueError if one of `rests` has another form.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    others = []
    for other in rests:
        below, form = tree_flatten(other, is_leaf)
        if form != spec:
            raise ValueError(f"tree_map: expected trees of one form, got {tree!r} and {other!r}")
        others.append(below)
    return tree_unflatten(map(func, leaves, *others), spec)


def tree_map_only(
    type_or_types: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:
    """tree_map of the leaves that are of the given types; the others stay as they are."""
    return tree_map(
        lambda leaf: func(leaf) if isinstance(leaf, type_or_types) else leaf, tree, is_leaf=is_leaf
    )
