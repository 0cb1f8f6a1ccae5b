"""Helpers that ordinary PyTorch programs use beside layers: how results print, storages, trees, lists of tensors, padded
sequences, processes."""

from __future__ import annotations

import numpy as np
import pytest

import tercel
from tercel import nn


def test_results_with_names_print_like_pytorchs():
    import copy

    found = tercel.tensor([[1.0, 3.0], [2.0, 0.0]]).max(1)
    text = "tercel.return_types.max(\nvalues=tensor([3., 2.]),\nindices=tensor([1, 0]))"
    assert repr(found) == str(found) == text
    values, indices = copy.deepcopy(found)
    assert tercel.equal(values, found.values) and tercel.equal(indices, found[1])
    assert "return_types.linalg_qr(\nQ=" in repr(tercel.linalg.qr(tercel.eye(2)))
    assert repr(tercel.tensor([1.0]).aminmax()).startswith("tercel.return_types.aminmax(\nmin=")
    keys = nn.Linear(1, 1).load_state_dict({}, strict=False)
    assert repr(keys) == "_IncompatibleKeys(missing_keys=['weight', 'bias'], unexpected_keys=[])"


def test_names_of_backward_nodes():
    class Twice(tercel.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    F = nn.functional
    x = tercel.ones(2, requires_grad=True)
    assert str(x * 2) == "tensor([2., 2.], grad_fn=<MulBackward0>)"
    assert (x * 2).grad_fn.name() == "MulBackward0" and "<MulBackward0>" in repr((x * 2).grad_fn)
    assert "grad_fn=<TwiceBackward>" in str(Twice.apply(x))
    row = tercel.full((5,), 0.1234, requires_grad=True) * -1
    assert "-0.1234], grad_fn=<MulBackward0>)" in repr(row)
    assert "-0.1234],\n       grad_fn=<MulBackward0>)" in repr(row.tile(16)[:16] * 1)
    row = tercel.tensor([-0.0873, -0.0247, 0.0937, -0.1054, 0.0624], requires_grad=True)[None]
    assert "0.0624],\n       grad_fn=<SelectBackward0>)" in repr(row[0])  # 79 columns, as PyTorch
    zero = tercel.zeros(2)
    for loss, name in (
        (F.mse_loss(x, zero), "MseLossBackward0"),
        (F.smooth_l1_loss(x, zero), "SmoothL1LossBackward0"),
        (F.huber_loss(x, zero), "HuberLossBackward0"),
        (F.binary_cross_entropy(x, zero), "BinaryCrossEntropyBackward0"),
        (F.binary_cross_entropy_with_logits(x, zero), "BinaryCrossEntropyWithLogitsBackward0"),
    ):
        assert f"grad_fn=<{name}>" in repr(loss)
    norm = nn.utils.parametrizations.weight_norm(nn.Linear(1, 1))
    assert "(0): _WeightNorm()" in repr(norm)


def test_manual_seed_returns_the_generator():
    g = tercel.Generator()
    assert g.manual_seed(3) is g and tercel.manual_seed(0) is tercel.default_generator


def test_storages():
    import sys

    x = tercel.arange(12, dtype=tercel.int32).reshape(3, 4)
    raw, typed = x[1:].untyped_storage(), x[1:].storage()
    assert raw.data_ptr() == x.data_ptr() == typed.data_ptr() == x[2].untyped_storage().data_ptr()
    assert raw.nbytes() == raw.size() == len(raw) == typed.nbytes() >= 48
    assert typed.size() == len(typed) == typed.nbytes() // 4 and typed.element_size() == 4
    assert typed.dtype is tercel.int32 and raw.device == x.device and not raw.is_cuda
    assert raw == x.untyped_storage() == typed.untyped() and len({raw, x.untyped_storage()}) == 1
    assert raw != x.clone().untyped_storage() and sys.getsizeof(raw) >= 48
    assert tercel.is_storage(raw) and isinstance(typed, tercel.TypedStorage)
    assert isinstance(raw, tercel.UntypedStorage) and not tercel.is_storage(x)


def test_foreach():
    ts = [tercel.ones(2), tercel.full((3,), 2.0)]
    assert tercel._foreach_mul_(ts, 3.0) is None and ts[1].tolist() == [6.0] * 3
    tercel._foreach_lerp_(ts, [tercel.zeros(2), tercel.zeros(3)], 0.5)
    assert ts[0].tolist() == [1.5, 1.5]
    added = tercel._foreach_add(ts, [1.0, 2.0])
    assert [t[0].item() for t in added] == [2.5, 5.0] and ts[0][0] == 1.5
    tercel._foreach_add_(ts, ts, alpha=1)
    assert [n.item() for n in tercel._foreach_norm([tercel.ones(4)])] == [2.0]
    tercel._foreach_copy_(ts, [tercel.zeros(2), tercel.ones(3)])
    assert ts[1].tolist() == [1.0] * 3
    with pytest.raises(ValueError, match="_foreach_add: expected lists of one length, got 2 and 1"):
        tercel._foreach_add(ts, [1.0])
    with pytest.raises(AttributeError, match="_foreach_nonsense"):
        tercel._foreach_nonsense(ts)


def _send(rank, queue, x):
    if queue is None:
        raise SystemExit(3 * rank)
    queue.put((rank, (x * 2).tolist()))


def test_multiprocessing():
    mp = tercel.multiprocessing
    queue = mp.get_context("spawn").Queue()
    mp.spawn(_send, args=(queue, tercel.ones(2)), nprocs=1)
    assert queue.get(timeout=30) == (0, [2.0, 2.0])
    with pytest.raises(RuntimeError, match="spawn: process 1 ended with exit code 3"):
        mp.spawn(_send, args=(None, None), nprocs=2, start_method="spawn")
    mp.set_sharing_strategy("file_descriptor")
    assert mp.get_sharing_strategy() == "file_descriptor"
    with pytest.raises(ValueError, match="got 'pigeon'"):
        mp.set_sharing_strategy("pigeon")
    assert mp.cpu_count() >= 1


def test_distributed_sampler():
    from tercel.utils.data import DataLoader, DistributedSampler

    def shares(n, replicas, **options):
        return [list(DistributedSampler(range(n), replicas, r, **options)) for r in range(replicas)]

    assert shares(7, 3, shuffle=False) == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    assert shares(7, 3, shuffle=False, drop_last=True) == [[0, 3], [1, 4], [2, 5]]
    assert shares(2, 5, shuffle=False) == [[0], [1], [0], [1], [0]]
    assert sorted(i for share in shares(8, 4) for i in share) == list(range(8))
    assert shares(8, 4) == shares(8, 4)
    sampler = DistributedSampler(range(64), num_replicas=2, rank=1, seed=5)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first and len(sampler) == len(first) == 32
    assert len(list(DataLoader(range(64), batch_size=8, sampler=sampler))) == 4
    with pytest.raises(ValueError, match=r"rank must be in \[0, 1\], got 2"):
        DistributedSampler(range(4), 2, 2)
    with pytest.raises(RuntimeError, match="give num_replicas and rank"):
        DistributedSampler(range(4))


def test_trees():
    from collections import OrderedDict, defaultdict, deque, namedtuple

    from tercel.utils._pytree import (
        tree_flatten,
        tree_leaves,
        tree_map,
        tree_map_only,
        tree_unflatten,
    )

    Pair = namedtuple("Pair", "a b")
    tree = {
        "x": [1, (2, None)],
        "y": Pair(3, OrderedDict(z=4)),
        "d": defaultdict(list, k=5),
        "q": deque([6, []], maxlen=3),
        "s": "text",
    }
    leaves, spec = tree_flatten(tree)
    assert leaves == [1, 2, None, 3, 4, 5, 6, "text"] == tree_leaves(tree)
    again = tree_unflatten(leaves, spec)
    assert again == tree and spec.num_leaves == 8 and not spec.is_leaf()
    assert isinstance(again["y"], Pair) and again["q"].maxlen == 3
    assert again["d"].default_factory is list and isinstance(again["y"].b, OrderedDict)
    assert tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)]) == [11, (22,)]
    assert tree_map_only(int, str, [1, 2.0, {"a": 3}]) == ["1", 2.0, {"a": "3"}]
    pairs = tree_leaves([(1, 2), (3, 4)], is_leaf=lambda t: isinstance(t, tuple))
    assert pairs == [(1, 2), (3, 4)] and tree_leaves(7) == [7]
    with pytest.raises(ValueError, match="expected 8 leaves, got 1"):
        tree_unflatten([1], spec)
    with pytest.raises(ValueError, match="trees of one form"):
        tree_map(max, [1], (1,))


def test_pad_sequence():
    from tercel.nn.utils.rnn import pad_sequence, unpad_sequence

    rows = [tercel.arange(2 * n).reshape(n, 2).float().requires_grad_() for n in (2, 0, 3)]
    want = np.full((3, 3, 2), -1.0)
    for i, n in enumerate((2, 0, 3)):
        want[i, :n] = np.arange(2 * n).reshape(n, 2)
    got = pad_sequence(rows, batch_first=True, padding_value=-1.0)
    assert np.array_equal(got.detach().numpy(), want)
    time_first = pad_sequence(rows, False, -1.0)
    assert np.array_equal(time_first.detach().numpy(), want.transpose(1, 0, 2))
    (time_first * tercel.arange(1.0, 4).reshape(3, 1, 1)).sum().backward()
    assert rows[2].grad.tolist() == [[1, 1], [2, 2], [3, 3]] and rows[1].grad.shape == (0, 2)
    left = pad_sequence(rows, True, -1.0, padding_side="left")
    assert left[0].tolist() == [[-1, -1], [0, 1], [2, 3]]
    for padded, first in ((got, True), (time_first, False)):
        for a, b in zip(unpad_sequence(padded, tercel.tensor([2, 0, 3]), first), rows):
            assert tercel.equal(a, b)
    whole = tercel.ones(2, 3, dtype=tercel.int32)
    assert tercel.equal(pad_sequence(whole, batch_first=True), whole)
    for bad, error in (
        ([], ValueError),
        (3, TypeError),
        ([tercel.ones(2), 3], TypeError),
        ([tercel.tensor(1.0)], TypeError),
        ([tercel.ones(2, 3), tercel.ones(3, 4)], ValueError),
    ):
        with pytest.raises(error):
            pad_sequence(bad)
    with pytest.raises(ValueError, match="padding_side must be 'left' or 'right', got 'x'"):
        pad_sequence(rows, padding_side="x")
    with pytest.raises(ValueError, match="one length for each of 3 sequences, got 1"):
        unpad_sequence(got, tercel.tensor([2]), True)
