"""The process that fetches batches, and the errors it reports."""

from __future__ import annotations

import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ... import _core, manual_seed
from . import _transport
from .dataset import IterableDataset, batch_getter

END = "end"  # an iterable dataset is exhausted in this worker


@dataclass(frozen=True)
class WorkerInfo:
    """What get_worker_info returns in a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """id, num_workers, seed and dataset of the present DataLoader worker; None in the main process."""
    return _info


class WorkerError:
    """An exception with its traceback as text, to be raised again in the main process."""

    def __init__(self, worker: int) -> None:
        kind, _, _ = sys.exc_info()
        self.kind: Any = kind
        self.text = (
            f"Caught {kind.__name__ if kind else 'error'} in DataLoader worker process {worker}.\n"
            f"Original {traceback.format_exc()}"
        )

    def raise_again(self) -> None:
        if self.kind is KeyError:
            raise KeyError(_Verbatim(self.text))
        try:
            error = self.kind(self.text)
        except Exception:  # exceptions whose constructor takes other arguments
            error = RuntimeError(self.text)
        raise error


class _Verbatim(str):
    """KeyError prints repr(argument): keep the line breaks."""

    def __repr__(self) -> str:
        return str(self)


class Fetcher:
    """Batches of one dataset: from lists of indices, or from its stream."""

    def __init__(
        self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool
    ) -> None:
        from .collate import default_collate

        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.stream = iter(dataset) if isinstance(dataset, IterableDataset) else None
        self.collated = batch_getter(dataset) if collate_fn is default_collate else None
        self.many = getattr(dataset, "__getitems__", None)

    def fetch(self, indices: Any) -> Any:
        """Raises StopIteration at the end of a stream."""
        if self.stream is not None:
            return self._fetch_stream(indices)
        if not self.auto_collation:
            return self.collate_fn(self.dataset[indices])
        if self.collated is not None and type(indices) is list:
            return self.collated(indices)
        if self.many is not None:
            return self.collate_fn(self.many(indices))
        dataset = self.dataset
        return self.collate_fn([dataset[i] for i in indices])

    def _fetch_stream(self, indices: Any) -> Any:
        assert self.stream is not None
        if not self.auto_collation:
            return self.collate_fn(next(self.stream))
        batch = []
        for _ in indices:
            try:
                batch.append(next(self.stream))
            except StopIteration:
                break
        if not batch or (self.drop_last and len(batch) < len(indices)):
            raise StopIteration
        return self.collate_fn(batch)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    manual_seed(seed)
    np = sys.modules.get("numpy")
    if np is not None:
        np.random.seed(seed % 2**32)


def run(
    sock: socket.socket,
    inherited: list[socket.socket],
    info: WorkerInfo,
    make_fetcher: Callable[[], Fetcher],
    init_fn: Callable[[int], Any] | None,
) -> None:
    """Main loop of a worker: tasks are ("batch", indices) and ("reset", seed); answers come in the same order."""
    global _info
    for other in inherited:  # ends of the main process: it must be the only holder
        other.close()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the main process, which then closes the socket
    _core.set_num_threads(1)
    _info = info
    fetcher: Fetcher | None = None
    problem: WorkerError | None = None
    try:
        seed_everything(info.seed)
        if init_fn is not None:
            init_fn(info.id)
        fetcher = make_fetcher()
    except Exception:
        problem = WorkerError(info.id)
    while True:
        try:
            kind, value = _transport.receive(sock)
        except (EOFError, OSError):
            return
        if kind == "reset":
            try:
                _info = replace(info, seed=value + info.id)
                seed_everything(_info.seed)
                fetcher = make_fetcher()
            except Exception:
                problem = WorkerError(info.id)
            continue
        answer: Any
        if problem is not None or fetcher is None:
            answer = problem
        else:
            try:
                answer = (fetcher.fetch(value),)
            except StopIteration:
                answer = END
            except Exception:
                answer = WorkerError(info.id)
        try:
            _transport.send(sock, answer)
        except OSError:
            return
        except Exception:  # something in the batch cannot be pickled
            _transport.send(sock, WorkerError(info.id))
