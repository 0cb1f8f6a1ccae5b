"""Python's multiprocessing under PyTorch's name. Tensors that are sent to another process arrive as copies: memory is
not shared, so that share_memory_() does not exist."""

from __future__ import annotations

import multiprocessing as _multiprocessing
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from typing import Any

_strategy = "file_system"


def spawn(
    fn: Callable[..., Any],
    args: tuple = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> Any:
    """Runs fn(i, *args) in nprocs new processes. With join waits for them, and raises RuntimeError if one failed;
    otherwise returns the processes."""
    context = _multiprocessing.get_context(start_method)
    processes = [
        context.Process(target=fn, args=(i, *args), daemon=daemon)  # type: ignore[attr-defined]
        for i in range(nprocs)
    ]
    for process in processes:
        process.start()
    if not join:
        return processes
    for process in processes:
        process.join()
    for i, process in enumerate(processes):
        if process.exitcode != 0:
            raise RuntimeError(f"spawn: process {i} ended with exit code {process.exitcode}")
    return None


def get_all_sharing_strategies() -> set[str]:
    """PyTorch's names on Linux."""
    return {"file_descriptor", "file_system"}


def get_sharing_strategy() -> str:
    """What set_sharing_strategy was given last."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Kept without effect: tensors are copied. Raises ValueError for an unknown name."""
    global _strategy
    if new_strategy not in get_all_sharing_strategies():
        raise ValueError(
            f"set_sharing_strategy: expected one of {sorted(get_all_sharing_strategies())}, got {new_strategy!r}"
        )
    _strategy = new_strategy
