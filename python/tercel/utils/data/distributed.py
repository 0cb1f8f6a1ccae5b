"""DistributedSampler: the share of one process of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from itertools import cycle, islice

from ... import _core
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Indices rank, rank + num_replicas, ... of an order on which all processes agree; every process gets as many.

    The order is shuffled with `seed` plus the epoch of set_epoch(). Where the number of samples is no multiple of
    `num_replicas` the first ones come again, or with `drop_last` the last ones are left out. There are no groups of
    processes here that could tell `num_replicas` and `rank`: give both. Raises ValueError for a rank outside
    [0, num_replicas).
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError(
                "DistributedSampler: tercel trains in one process; give num_replicas and rank"
            )
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"DistributedSampler: rank must be in [0, {num_replicas - 1}], got {rank}"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        more = 0 if drop_last else num_replicas - 1
        self.num_samples = (len(dataset) + more) // num_replicas
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.dataset)))
        if self.shuffle:
            generator = _core.Generator().manual_seed(self.seed + self.epoch)
            order = _core.randperm(len(order), generator=generator).tolist()
        return islice(cycle(order), self.rank, self.total_size, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order the next iteration takes."""
        self.epoch = epoch
