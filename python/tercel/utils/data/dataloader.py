"""DataLoader: batches of a dataset, fetched here or by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ... import _core
from . import _transport
from ._worker import END, Fetcher, WorkerError, WorkerInfo, run
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler


class _Endless:
    """The sampler of an iterable dataset: there are no indices."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


# What the samplers were made from: a change would have no effect.
_FIXED = ("batch_sampler", "batch_size", "dataset", "drop_last", "persistent_workers", "sampler")


class DataLoader:
    """Iterates over ``dataset`` in batches.

    ``batch_size`` samples per batch (None: the dataset already gives batches), in order, or in random order
    with ``shuffle``, or as ``sampler`` (indices) or ``batch_sampler`` (lists of indices) say; samples are merged
    by ``collate_fn``. ``drop_last`` leaves out a last short batch. ``generator`` drives shuffling and worker seeds.

    ``num_workers`` processes fetch ahead, ``prefetch_factor`` (2) batches each. The order of the batches does
    not depend on their number. An error in a worker is raised here with its traceback; a batch that takes
    longer than ``timeout`` seconds raises RuntimeError. ``persistent_workers`` keeps them between epochs.
    ``pin_memory`` is accepted and has no effect on the CPU.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if not isinstance(num_workers, int) or num_workers < 0:
            raise ValueError(
                f"num_workers option should be non-negative; use num_workers=0 to disable multiprocessing, got {num_workers}"
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing (num_workers > 0)"
            )
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ValueError(f"prefetch_factor option should be positive, got {prefetch_factor}")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if num_workers > 0 and not hasattr(os, "fork"):
            raise NotImplementedError("DataLoader: num_workers > 0 needs a system with fork()")
        method = getattr(multiprocessing_context, "_name", multiprocessing_context)
        if method not in (None, "fork"):
            raise NotImplementedError(
                f"DataLoader: multiprocessing_context must be 'fork', got {method!r}"
            )
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "DataLoader with IterableDataset: expected no shuffle, sampler or batch_sampler option"
            )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
            drop_last = False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
            )
        if sampler is None:
            if iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        self.collate_fn = collate_fn or (
            default_collate if batch_sampler is not None else default_convert
        )
        self._kept: _WorkerIterator | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if "_kept" in self.__dict__ and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after DataLoader is initialized")
        super().__setattr__(name, value)

    @property
    def _index_sampler(self) -> Iterable[Any]:
        return self.batch_sampler if self.batch_sampler is not None else self.sampler  # type: ignore[return-value]

    def _fetcher(self) -> Fetcher:
        return Fetcher(
            self.dataset, self.batch_sampler is not None, self.collate_fn, self.drop_last
        )

    def _draw_seed(self) -> int:
        # Drawn for any number of workers, so that later random numbers do not depend on it.
        return int(_core.randint(2**62, (), generator=self.generator, dtype=_core.int64).item())

    def __iter__(self) -> Iterator[Any]:
        seed = self._draw_seed()
        if self.num_workers == 0:
            return self._iterate_here()
        if not self.persistent_workers:
            return _WorkerIterator(self, seed)
        if self._kept is None or self._kept.closed:
            self._kept = _WorkerIterator(self, seed)
        else:
            self._kept.restart(seed)
        return self._kept

    def _iterate_here(self) -> Iterator[Any]:
        fetcher = self._fetcher()
        for indices in self._index_sampler:
            try:
                batch = fetcher.fetch(indices)
            except StopIteration:
                return
            yield batch

    def __len__(self) -> int:
        """Number of batches. For an iterable dataset this is computed from its ``__len__``."""
        if isinstance(self.dataset, IterableDataset):
            n = len(self.dataset)  # type: ignore[arg-type]
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._index_sampler)  # type: ignore[arg-type]


class _WorkerIterator:
    """One pass over the batches, fetched by worker processes.

    Batch i goes to worker i mod n (of those not exhausted) and every worker answers in order, so the next
    batch is always the next answer of the worker at the head of `pending`.
    """

    def __init__(self, loader: DataLoader, seed: int) -> None:
        self.closed = False
        self.loader = loader
        self.sockets: list[socket.socket] = []
        self.processes: list[Any] = []
        context = multiprocessing.get_context("fork")
        n = loader.num_workers
        try:
            for i in range(n):
                ours, theirs = socket.socketpair()
                self.sockets.append(ours)
                info = WorkerInfo(i, n, seed + i, loader.dataset)
                process = context.Process(
                    target=run,
                    args=(theirs, list(self.sockets), info, loader._fetcher, loader.worker_init_fn),
                    daemon=True,
                    name=f"tercel-data-{i}",
                )
                process.start()
                theirs.close()
                self.processes.append(process)
        except BaseException:
            self.close()
            raise
        self._begin()

    def _begin(self) -> None:
        self.indices = iter(self.loader._index_sampler)
        self.pending: deque[int] = deque()
        self.active = [True] * len(self.sockets)
        self.next_worker = 0
        for _ in range(self.loader.prefetch_factor or 1):
            for _ in self.sockets:
                self._submit()

    def restart(self, seed: int) -> None:
        while self.pending:  # answers of an epoch that was left early
            self._answer(self.pending.popleft())
        for i in range(len(self.sockets)):
            self._send(i, ("reset", seed))
        self._begin()

    def _submit(self) -> None:
        """Gives the next batch to the next worker that is not exhausted."""
        n = len(self.sockets)
        for _ in range(n):
            worker = self.next_worker
            self.next_worker = (worker + 1) % n
            if self.active[worker]:
                break
        else:
            return
        try:
            indices = next(self.indices)
        except StopIteration:
            return
        self._send(worker, ("batch", indices))
        self.pending.append(worker)

    def _send(self, worker: int, task: Any) -> None:
        try:
            _transport.send(self.sockets[worker], task)
        except OSError:
            self._died(worker)

    def _answer(self, worker: int) -> Any:
        sock = self.sockets[worker]
        timeout = self.loader.timeout
        if timeout > 0 and not select.select([sock], [], [], timeout)[0]:
            self.close()
            raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
        try:
            return _transport.receive(sock)
        except (EOFError, OSError):
            self._died(worker)

    def _died(self, worker: int) -> None:
        process = self.processes[worker]
        process.join(1)
        pid, code = process.pid, process.exitcode
        self.close()
        raise RuntimeError(
            f"DataLoader worker (pid {pid}) exited unexpectedly with exit code {code}"
        )

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while self.pending and not self.closed:
            worker = self.pending.popleft()
            answer = self._answer(worker)
            if answer == END:
                self.active[worker] = False
            self._submit()
            if isinstance(answer, WorkerError):
                answer.raise_again()
            elif answer != END:
                return answer[0]
        if not self.loader.persistent_workers:
            self.close()
        raise StopIteration

    def __len__(self) -> int:
        return len(self.loader)

    def close(self) -> None:
        """Ends the workers: they stop at the closed socket, or are terminated after a while."""
        if self.closed:
            return
        self.closed = True
        for sock in self.sockets:
            sock.close()
        for process in self.processes:
            process.join(0.5)
            if process.is_alive():
                process.terminate()
                process.join()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            pass  # the interpreter is shutting down
