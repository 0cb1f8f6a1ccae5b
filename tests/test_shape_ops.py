"""Joins and rearrangements: argument forms and refusals (values and gradients: op_cases/shape.py)."""

import numpy as np
import pytest

import tercel

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_cat_promotes_and_skips_empty():
    out = tercel.cat([tercel.zeros(0), tercel.ones(2, 3), tercel.ones(1, 3, dtype=tercel.float64)])
    assert out.shape == (3, 3) and out.dtype == tercel.float64
    x = tercel.from_numpy(X)
    pieces = [x.transpose(1, 2), x[:, :1].expand(2, 4, 4)[:, :, :3]]
    want = np.concatenate([X.transpose(0, 2, 1), np.broadcast_to(X[:, :1], (2, 4, 4))[:, :, :3]], 1)
    assert np.array_equal(tercel.cat(pieces, 1).numpy(), want)
    assert tercel.concat is not None and tercel.concatenate([x, x], dim=-1).shape == (2, 3, 8)


def test_stacks():
    a, b = tercel.arange(3.0), tercel.arange(3.0) + 5
    for name in ("hstack", "vstack", "dstack", "column_stack"):
        want = getattr(np, name)([a.numpy(), b.numpy()])
        assert np.array_equal(getattr(tercel, name)([a, b]).numpy(), want), name
    assert tercel.stack([a, b], -1).shape == (3, 2)


def test_lists_of_tensors():
    a, b = tercel.arange(3), tercel.arange(2)
    gx, gy = tercel.meshgrid(a, b, indexing="xy")
    wx, wy = np.meshgrid(a.numpy(), b.numpy())
    assert np.array_equal(gx.numpy(), wx) and np.array_equal(gy.numpy(), wy)
    assert tercel.cartesian_prod(a, b).tolist() == [[i, j] for i in range(3) for j in range(2)]
    assert tercel.combinations(a).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert tercel.combinations(b, 2, with_replacement=True).tolist() == [[0, 0], [0, 1], [1, 1]]
    assert tercel.block_diag(tercel.ones(1, 2), tercel.ones(2, 1)).tolist() == [
        [1, 1, 0], [0, 0, 1], [0, 0, 1]]  # fmt: skip
    assert [t.shape for t in tercel.broadcast_tensors(tercel.ones(3, 1), b)] == [(3, 2), (3, 2)]


def test_many_repeats():
    x = tercel.ones(*[1] * 8, 2)
    assert x.repeat(*[2] * 9).shape == (2,) * 8 + (4,)
    assert np.array_equal(tercel.arange(4.0).reshape(2, 2).repeat(2, 3).numpy(),
                          np.tile(np.arange(4.0).reshape(2, 2), (2, 3)))  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tercel.cat([]),
        lambda x: tercel.cat([x, x[:, :2]], 2),
        lambda x: tercel.cat([x, x], 3),
        lambda x: tercel.cat([tercel.tensor(1.0)]),
        lambda x: tercel.stack([x, x[0]]),
        lambda x: tercel.pad(x, (1,)),
        lambda x: tercel.pad(x, (1, 1) * 4),
        lambda x: tercel.pad(x, (4, 0), "reflect"),
        lambda x: tercel.pad(x, (5, 0), "circular"),
        lambda x: tercel.pad(x, (-3, -2)),
        lambda x: tercel.pad(x, (2**63 - 1, 2**63 - 1)),
        lambda x: tercel.pad(x, (1, 1), "mirror"),
        lambda x: tercel.roll(x, (1, 2), (0,)),
        lambda x: tercel.flip(x, (0, 0)),
        lambda x: tercel.rot90(x, 1, (0, 0)),
        lambda x: x.repeat(2),
        lambda x: x.repeat(-1, 1, 1),
        lambda x: x.repeat(2**40, 2**40, 1),
        lambda x: x.repeat_interleave(-1),
        lambda x: x.repeat_interleave(tercel.tensor([1, 2]), 1),
        lambda x: x.repeat_interleave(tercel.tensor([1, -2, 1]), 1),
        lambda x: tercel.tril(x[0, 0]),
        lambda x: tercel.diag(x),
        lambda x: tercel.diag_embed(x, 0, 1, 1),
        lambda x: tercel.trace(x),
        lambda x: tercel.tril_indices(-1, 2),
        lambda x: tercel.meshgrid(x),
        lambda x: tercel.combinations(tercel.arange(1000), 20),
    ],
)
def test_refusals(call):
    with pytest.raises(
        (ValueError, IndexError, TypeError, OverflowError, MemoryError, RuntimeError)
    ):
        call(tercel.from_numpy(X))
