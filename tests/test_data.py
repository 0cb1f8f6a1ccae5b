"""Datasets, samplers, collation and the DataLoader with and without workers."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter, namedtuple

import numpy as np
import pytest

import tercel
from tercel.utils.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)

X = tercel.arange(103 * 6, dtype=tercel.float32).reshape(103, 2, 3)
Y = tercel.arange(103)


class Records(Dataset):
    """Samples as dicts of everything that can be collated; sample `bad` raises."""

    def __init__(self, n=53, bad=None):
        self.n = n
        self.bad = bad

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i == self.bad:
            raise KeyError(f"sample {i} is broken")
        return {
            "x": X[i],
            "i": i,
            "name": str(i),
            "pair": (1.5 * i, np.int64(i)),
            "a": np.full(3, i, np.int32),
        }


class Stream(IterableDataset):
    def __init__(self, n=25):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(first, self.n, step))

    def __len__(self):
        return self.n


def equal(a, b):
    if isinstance(a, tercel.Tensor):
        return isinstance(b, tercel.Tensor) and a.dtype == b.dtype and a.tolist() == b.tolist()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    return a == b


# ---- datasets ----------------------------------------------------------------------------------------


def test_datasets():
    d = TensorDataset(X, Y)
    assert len(d) == 103 and d[3][1].item() == 3
    both = d + TensorDataset(X[:5], Y[:5])
    assert isinstance(both, ConcatDataset) and len(both) == 108
    assert both[104][1].item() == 1 and both[-1][1].item() == 4
    with pytest.raises(IndexError):
        both[108]
    s = Subset(d, [5, 7, 9])
    assert len(s) == 3 and s[1][1].item() == 7
    assert list(ChainDataset([Stream(3), Stream(2)])) == [0, 1, 2, 0, 1]
    assert StackDataset(list("ab"), [1, 2])[1] == ("b", 2)
    assert StackDataset(x=list("ab"), y=[1, 2])[0] == {"x": "a", "y": 1}
    with pytest.raises(ValueError, match="size mismatch"):
        TensorDataset(X, Y[:5])
    with pytest.raises(TypeError):
        TensorDataset([1, 2])
    with pytest.raises(ValueError):
        TensorDataset()
    with pytest.raises(ValueError):
        ConcatDataset([])
    with pytest.raises(TypeError):
        ConcatDataset([Stream()])
    with pytest.raises(ValueError):
        StackDataset([1], [1, 2])


def test_random_split():
    parts = random_split(range(10), [7, 3], generator=tercel.Generator().manual_seed(1))
    again = random_split(range(10), [7, 3], generator=tercel.Generator().manual_seed(1))
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(parts[0].indices + parts[1].indices) == list(range(10))
    assert parts[0].indices == again[0].indices
    assert [len(p) for p in random_split(range(10), [0.5, 0.25, 0.25])] == [6, 2, 2]
    with pytest.raises(ValueError):
        random_split(range(10), [5, 6])
    with pytest.raises(ValueError):
        random_split(range(10), [1.5, -0.5])


# ---- samplers ----------------------------------------------------------------------------------------


def test_samplers():
    assert list(SequentialSampler(range(4))) == [0, 1, 2, 3]
    tercel.manual_seed(0)
    first = list(RandomSampler(range(20)))
    assert sorted(first) == list(range(20))
    tercel.manual_seed(0)
    assert list(RandomSampler(range(20))) == first
    assert len(list(RandomSampler(range(5), num_samples=12))) == 12
    drawn = list(RandomSampler(range(3), replacement=True, num_samples=5000))
    assert len(drawn) == 5000 and set(drawn) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([3, 9])) == [3, 9]
    counts = Counter(WeightedRandomSampler([1.0, 0.0, 3.0], 4000))
    assert counts[1] == 0 and abs(counts[2] / 4000 - 0.75) < 0.05
    assert sorted(WeightedRandomSampler([1.0, 0.5, 3.0], 3, replacement=False)) == [0, 1, 2]
    b = BatchSampler(SequentialSampler(range(7)), 3, False)
    assert list(b) == [[0, 1, 2], [3, 4, 5], [6]] and len(b) == 3
    b = BatchSampler(SequentialSampler(range(7)), 3, True)
    assert len(list(b)) == len(b) == 2
    for call in (
        lambda: BatchSampler(range(3), 0, False),
        lambda: BatchSampler(range(3), 2, 1),
        lambda: RandomSampler(range(3), num_samples=0),
        lambda: WeightedRandomSampler([1.0], -1),
        lambda: WeightedRandomSampler([[1.0]], 1),
        lambda: list(RandomSampler([], num_samples=3)),
    ):
        with pytest.raises(ValueError):
            call()


# ---- collation ---------------------------------------------------------------------------------------


def test_default_collate():
    out = default_collate([Records()[1], Records()[2]])
    assert out["x"].shape == (2, 2, 3) and out["i"].tolist() == [1, 2] and out["name"] == ["1", "2"]
    assert out["pair"][0].dtype == tercel.float64 and out["pair"][1].dtype == tercel.int64
    assert out["a"].dtype == tercel.int32 and out["a"].shape == (2, 3)
    Point = namedtuple("Point", "x y")
    p = default_collate([Point(1, 2.0), Point(3, 4.0)])
    assert isinstance(p, Point) and p.x.tolist() == [1, 3]
    assert default_collate([True, False]).dtype == tercel.bool
    assert default_collate([[1, 2], [3, 4]])[1].tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [3]])
    with pytest.raises(TypeError, match="default_collate"):
        default_collate([object()])
    with pytest.raises((ValueError, RuntimeError)):
        default_collate([tercel.zeros(2), tercel.zeros(3)])
    assert default_convert({"a": np.zeros(2)})["a"].shape == (2,)
    assert default_convert("text") == "text"


# ---- DataLoader --------------------------------------------------------------------------------------


def epoch(dataset, workers, **options):
    tercel.manual_seed(3)
    loader = DataLoader(dataset, batch_size=10, shuffle=True, num_workers=workers, **options)
    batches = list(loader)
    return batches, tercel.rand(1)


@pytest.mark.parametrize(
    "dataset", [TensorDataset(X, Y), Records(), Subset(TensorDataset(X, Y), range(50, 80))]
)
def test_same_batches_for_any_number_of_workers(dataset):
    reference, after = epoch(dataset, 0)
    for workers in (1, 2, 3):
        batches, rest = epoch(dataset, workers)
        assert equal(batches, reference)
        assert rest.item() == after.item()  # and the same random numbers afterwards
    assert equal(epoch(dataset, 0)[0], reference)


def test_tensor_dataset_shortcut_equals_collation():
    class Plain(TensorDataset):
        def __getitem__(self, i):
            return super().__getitem__(i)

    a = list(DataLoader(TensorDataset(X, Y), batch_size=8))
    b = list(DataLoader(Plain(X, Y), batch_size=8))
    assert equal(a, b) and len(a) == 13


def test_lengths_and_drop_last():
    d = TensorDataset(X, Y)
    assert (
        len(DataLoader(d, batch_size=10)) == 11
        and len(DataLoader(d, batch_size=10, drop_last=True)) == 10
    )
    assert len(list(DataLoader(d, batch_size=10, drop_last=True))) == 10
    assert len(DataLoader(Stream(), batch_size=4)) == 7
    assert len(DataLoader(d, batch_size=None)) == 103
    assert next(iter(DataLoader(d, batch_size=None)))[0].shape == (2, 3)
    assert [len(b[0]) for b in DataLoader(d, batch_sampler=[[0, 1], [5]])] == [2, 1]
    assert list(DataLoader([3, 4], collate_fn=lambda s: s)) == [[3], [4]]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_iterable_dataset(workers):
    batches = [b.tolist() for b in DataLoader(Stream(), batch_size=4, num_workers=workers)]
    assert sorted(i for b in batches for i in b) == list(range(25))
    if workers < 2:
        assert batches[0] == [0, 1, 2, 3]
    else:
        assert batches[:2] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    dropped = list(DataLoader(Stream(), batch_size=4, num_workers=workers, drop_last=True))
    assert all(len(b) == 4 for b in dropped)


def test_worker_errors_carry_the_traceback():
    loader = DataLoader(Records(bad=17), batch_size=5, num_workers=2)
    it = iter(loader)
    good = 0
    with pytest.raises(KeyError) as error:
        while True:
            next(it)
            good += 1
    text = str(error.value)
    assert good == 3 and "DataLoader worker process" in text and "sample 17 is broken" in text
    assert "__getitem__" in text
    assert len(list(it)) == 7  # the batches after it are still delivered
    with pytest.raises(KeyError, match="sample 17"):
        list(DataLoader(Records(bad=17), batch_size=5))


class Dies(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        if i == 3:
            os._exit(7)
        if i == 6:
            time.sleep(30)
        return i


def test_dead_and_slow_workers():
    with pytest.raises(RuntimeError, match="exited unexpectedly with exit code 7"):
        list(DataLoader(Dies(), num_workers=2))
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"timed out after 0\.3 seconds"):
        list(DataLoader(Subset(Dies(), [0, 1, 6]), num_workers=1, timeout=0.3))
    assert time.monotonic() - start < 10


def test_persistent_workers_and_early_exit():
    loader = DataLoader(
        Records(), batch_size=4, num_workers=2, persistent_workers=True, shuffle=True
    )
    it = iter(loader)
    pids = [p.pid for p in it.processes]
    next(it)  # the epoch is left early
    assert len(list(loader)) == 14 and [p.pid for p in loader._kept.processes] == pids
    tercel.manual_seed(1)
    first = list(loader)
    tercel.manual_seed(1)
    assert equal(list(loader), first)
    stream = DataLoader(Stream(), batch_size=4, num_workers=2, persistent_workers=True)
    assert len(list(stream)) == len(list(stream)) == 7
    processes = loader._kept.processes
    del it, loader
    gc.collect()
    assert not any(p.is_alive() for p in processes)


def test_worker_info_init_and_seeds():
    class Info(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            info = get_worker_info()
            return (
                info.id,
                info.num_workers,
                len(info.dataset),
                tercel.get_num_threads(),
                int(os.environ["MARK"]),
            )

    def mark(worker):
        os.environ["MARK"] = str(worker * 10)

    rows = [[int(v) for v in b] for b in DataLoader(Info(), num_workers=2, worker_init_fn=mark)]
    assert rows[0] == [0, 2, 8, 1, 0] and rows[1] == [1, 2, 8, 1, 10]
    assert get_worker_info() is None

    class Noise(Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            return tercel.rand(2)

    def noise():
        tercel.manual_seed(9)
        return list(DataLoader(Noise(), num_workers=2))

    a, b = noise(), noise()
    assert equal(a, b) and not equal(a[0], a[1])


def test_failing_worker_init():
    def bad(worker):
        raise ValueError("no licence")

    with pytest.raises(ValueError, match="no licence"):
        list(DataLoader(Records(), num_workers=1, worker_init_fn=bad))


def test_batches_of_workers_are_ordinary_tensors():
    big = tercel.randn(64, 3, 64, 64)
    loader = DataLoader(TensorDataset(big, Y[:64].to(tercel.int8)), batch_size=32, num_workers=2)
    batches = list(loader)
    gc.collect()  # the loader's processes are gone; the memory stays
    for i, (x, y) in enumerate(batches):
        assert tercel.equal(x, big[32 * i : 32 * i + 32]) and y.dtype == tercel.int8
        x.add_(1)  # writable
    w = tercel.randn(3, requires_grad=True)
    (batches[0][0].sum((0, 2, 3)) * w).sum().backward()
    assert w.grad is not None


def test_transport_of_other_dtypes_and_empty_tensors():
    tensors = [
        tercel.zeros(0, 3),
        tercel.tensor(2.5),
        tercel.tensor([True, False]),
        tercel.tensor([1.0, -2.0], dtype=tercel.bfloat16),
        tercel.tensor([1.0, 2.0], dtype=tercel.float16),
        X.transpose(0, 1),
    ]
    out = next(iter(DataLoader([0], batch_size=None, num_workers=1, collate_fn=lambda i: tensors)))
    for a, b in zip(tensors, out):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()


def test_unpicklable_batch_is_reported():
    loader = DataLoader([0], num_workers=1, collate_fn=lambda s: lambda: 0)
    with pytest.raises(Exception, match=r"pickle|local object"):
        list(loader)


def test_option_errors():
    d = TensorDataset(X, Y)
    for options in (
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"num_workers": 1, "prefetch_factor": 0},
        {"persistent_workers": True},
        {"shuffle": True, "sampler": SequentialSampler(d)},
        {"batch_sampler": [[0]], "batch_size": 3},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
    ):
        with pytest.raises(ValueError):
            DataLoader(d, **options)
    with pytest.raises(ValueError, match="IterableDataset"):
        DataLoader(Stream(), shuffle=True)
    with pytest.raises(NotImplementedError):
        DataLoader(d, num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(TypeError):
        len(DataLoader(type("Endless", (IterableDataset,), {"__iter__": lambda self: iter([])})()))


def test_fixed_attributes():
    loader = DataLoader(range(4), batch_size=2)
    with pytest.raises(ValueError, match="batch_size"):
        loader.batch_size = 4
    loader.collate_fn = lambda batch: sum(batch)
    assert list(loader) == [1, 5]
