"""Losses: special values, targets, reductions, errors, PyTorch as a second oracle."""

import math

import numpy as np
import pytest

import tercel
from tercel.testing import bits


def tensor(a):
    return tercel.from_numpy(np.ascontiguousarray(a))


def test_cross_entropy_is_finite_for_huge_logits(isa_levels):
    x = np.random.default_rng(0).choice([-1e4, 0.0, 1e4], (50, 37)).astype(np.float32)
    for level in isa_levels:
        tercel.set_isa(level)
        t = tensor(x).requires_grad_(True)
        loss = tercel.cross_entropy(t, tercel.zeros(50, dtype=tercel.int64))
        loss.backward()
        assert math.isfinite(loss.item()) and np.isfinite(t.grad.numpy()).all()
        assert np.abs(t.grad.sum(1).numpy()).max() <= 1e-7


def test_targets_are_checked():
    x = tercel.zeros(3, 4)
    with pytest.raises(
        IndexError, match=r"cross_entropy: target 4 at position 1 is not in \[0, 4\)"
    ):
        tercel.cross_entropy(x, tercel.tensor([0, 4, 1]))
    with pytest.raises(IndexError, match="target -1"):
        tercel.nll_loss(x, tercel.tensor([0, -1, 1]))
    assert tercel.cross_entropy(
        x, tercel.tensor([0, -1, 1]), ignore_index=-1
    ).item() == pytest.approx(math.log(4))
    with pytest.raises(ValueError, match=r"target must have shape \[3\]"):
        tercel.cross_entropy(x, tercel.tensor([0, 1]))
    with pytest.raises(TypeError, match="class indices must be integers"):
        tercel.nll_loss(x, tercel.zeros(3))
    with pytest.raises(ValueError, match=r"weight must have shape \[4\]"):
        tercel.cross_entropy(x, tercel.tensor([0, 1, 2]), tercel.ones(3))
    with pytest.raises(ValueError, match="label_smoothing"):
        tercel.cross_entropy(x, tercel.tensor([0, 1, 2]), label_smoothing=1.5)
    with pytest.raises(ValueError, match="reduction"):
        tercel.cross_entropy(x, tercel.tensor([0, 1, 2]), reduction="median")
    with pytest.raises(ValueError, match=r"binary_cross_entropy: input must be in \[0, 1\]"):
        tercel.binary_cross_entropy(tercel.tensor([1.5]), tercel.tensor([1.0]))
    with pytest.raises(ValueError, match="input's shape"):
        tercel.binary_cross_entropy_with_logits(tercel.zeros(3), tercel.zeros(2))


def test_everything_ignored():
    x = tercel.zeros(2, 3, requires_grad=True)
    target = tercel.full((2,), -100, dtype=tercel.int64)
    assert tercel.cross_entropy(x, target, reduction="none").tolist() == [0, 0]
    assert tercel.cross_entropy(x, target, reduction="sum").item() == 0
    assert math.isnan(tercel.cross_entropy(x, target).item())


def test_ignored_samples_get_no_gradient():
    x = tensor(np.random.default_rng(4).standard_normal((3, 5, 2))).requires_grad_(True)
    target = tercel.tensor([[0, 1], [2, -100], [4, 4]])
    tercel.cross_entropy(x, target, label_smoothing=0.1).backward()
    assert x.grad[1, :, 1].tolist() == [0] * 5
    assert (x.grad[0] != 0).all().item()


def test_a_sample_does_not_depend_on_the_batch():
    rng = np.random.default_rng(1)
    x = tensor(rng.standard_normal((30, 517)).astype(np.float32))
    t = tensor(rng.integers(0, 517, 30))
    every = tercel.cross_entropy(x, t, reduction="none")
    for i in (0, 11, 29):
        assert bits(tercel.cross_entropy(x[i : i + 1], t[i : i + 1], reduction="none")[0]) == bits(
            every[i]
        )


def test_binary_cross_entropy_at_the_ends():
    x = tercel.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = tercel.binary_cross_entropy(x, tercel.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert loss.tolist() == [0, 0, 100, 100]
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    big = tercel.tensor([1e4, -1e4])
    assert tercel.binary_cross_entropy_with_logits(big, tercel.tensor([1.0, 0.0])).item() == 0


def test_legacy_arguments():
    x, t = tercel.tensor([1.0, 2.0]), tercel.tensor([0.0, 0.0])
    assert tercel.mse_loss(x, t, size_average=False).item() == 5
    assert tercel.mse_loss(x, t, reduce=False).tolist() == [1, 4]
    assert tercel.kl_div(x, t + 1, reduction="batchmean").item() == pytest.approx(-1.5)


def test_against_torch():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 5, 4)).astype(np.float32)
    target, weight = rng.integers(0, 5, (6, 4)), rng.uniform(0.5, 2, 5).astype(np.float32)
    target[0, 0] = 3
    for reduction in ("none", "mean", "sum"):
        for smoothing in (0.0, 0.2):
            ours, theirs = tensor(x).requires_grad_(True), torch.from_numpy(x).requires_grad_(True)
            args = dict(reduction=reduction, label_smoothing=smoothing, ignore_index=3)
            a = tercel.cross_entropy(ours, tensor(target), tensor(weight), **args)
            b = functional.cross_entropy(
                theirs, torch.from_numpy(target), torch.from_numpy(weight), **args
            )
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
            a.sum().backward()
            b.sum().backward()
            np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-5, atol=1e-6)


def ctc_problem(seed, frames=12, samples=4, classes=6, dtype=np.float64):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((frames, samples, classes)).astype(dtype)
    lengths = rng.integers(0, frames // 2 + 1, samples)
    targets = rng.integers(1, classes, (samples, frames // 2))
    return logits, targets, rng.integers(frames - 2, frames + 1, samples), lengths


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_equals_torch(reduction, zero_infinity):
    torch = pytest.importorskip("torch")
    for seed in range(4):
        logits, targets, frames, lengths = ctc_problem(seed)
        frames[0], lengths[0] = 2, 5  # cannot fit
        ours, theirs = tensor(logits).requires_grad_(), torch.tensor(logits, requires_grad=True)
        results = []
        for L, x in ((tercel, ours), (torch, theirs)):
            results.append(
                L.nn.functional.ctc_loss(
                    x.log_softmax(2),
                    L.tensor(targets),
                    L.tensor(frames),
                    L.tensor(lengths),
                    reduction=reduction,
                    zero_infinity=zero_infinity,
                )
            )
            if zero_infinity:
                results[-1].sum().backward()
        np.testing.assert_allclose(
            results[0].detach().numpy(), results[1].detach().numpy(), rtol=1e-12
        )
        if zero_infinity:
            np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-12)
        else:
            assert not tercel.isfinite(results[0]).all()


def test_ctc_forms_of_targets_and_lengths():
    logits, targets, frames, lengths = ctc_problem(3)
    x = tensor(logits).log_softmax(2)
    loss = tercel.nn.CTCLoss(reduction="none")
    padded = loss(x, tensor(targets), tensor(frames), tensor(lengths))
    row = np.concatenate([t[:n] for t, n in zip(targets, lengths)])
    assert tercel.equal(loss(x, tensor(row), frames.tolist(), tuple(lengths.tolist())), padded)
    one = loss(
        x[:, 2], tensor(targets[2]), tercel.tensor(int(frames[2])), tercel.tensor(int(lengths[2]))
    )
    assert one.shape == () and tercel.equal(one, padded[2])
    assert tercel.equal(
        loss(x[:, 2:3], tensor(targets[2:3]), frames[2:3].tolist(), lengths[2:3].tolist()),
        padded[2:3],
    )
    half = loss(x.bfloat16(), tensor(targets), tensor(frames), tensor(lengths))
    assert half.dtype == tercel.bfloat16
    np.testing.assert_allclose(half.float().numpy(), padded.numpy(), rtol=2e-2)


def test_ctc_with_extreme_scores_and_long_inputs():
    x = tercel.zeros(500, 1, 5)
    x[:, :, 0] = 1e4  # blank everywhere: labels cost 1e4 each
    x = x.log_softmax(2).requires_grad_()
    loss = tercel.nn.CTCLoss(reduction="sum")(x, tercel.tensor([[1, 2, 2]]), [500], [3])
    loss.backward()
    assert loss.item() == pytest.approx(3e4 - math.log(math.comb(499, 3)), rel=1e-6)
    assert tercel.isfinite(x.grad).all()
    # All paths go through one state a frame: the gradient of a frame sums to -1.
    np.testing.assert_allclose(x.grad.sum(2).numpy(), -1, rtol=1e-5)


def test_ctc_errors():
    logits, targets, frames, lengths = ctc_problem(1)
    x = tensor(logits)
    good = dict(
        targets=tensor(targets), input_lengths=tensor(frames), target_lengths=tensor(lengths)
    )
    for change, error, text in [
        ({"targets": tensor(targets * 0)}, IndexError, "not blank"),
        ({"targets": tensor(targets + 9)}, IndexError, r"targets must be in \[0, 6\)"),
        ({"targets": tensor(targets * 1.0)}, TypeError, "targets must be integers"),
        ({"targets": tensor(targets[:2])}, ValueError, "targets must have shape"),
        ({"targets": tensor(targets[0])}, ValueError, "target_lengths"),
        ({"input_lengths": tensor(frames + 9)}, ValueError, "input_lengths must be in"),
        ({"target_lengths": tensor(lengths - 9)}, ValueError, "target_lengths must be in"),
        ({"target_lengths": [1]}, ValueError, r"target_lengths must have shape \[4\]"),
        ({"blank": 6}, IndexError, "blank must be in"),
        ({"reduction": "batchmean"}, ValueError, "reduction"),
    ]:
        with pytest.raises(error, match=text):
            tercel.nn.functional.ctc_loss(x, **{**good, **change})
    x.requires_grad_()
    loss = tercel.nn.functional.ctc_loss(x.log_softmax(2), **good, zero_infinity=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        tercel.autograd.grad(loss, x, create_graph=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distances_of_all_rows(dtype, isa_levels, threads):
    """Tiles and panels that are not full, batches that broadcast, NaN in one row only; gradients."""
    rng = np.random.default_rng(1)
    eps = np.finfo(dtype).eps
    for shape_a, shape_b in [((1, 1), (1, 1)), ((9, 33), (17, 33)), ((75, 40), (35, 40)),
                             ((3, 1, 5, 70), (2, 9, 70)), ((4, 0), (3, 0)), ((0, 5), (3, 5))]:  # fmt: skip
        a, b = (rng.standard_normal(s).astype(dtype) for s in (shape_a, shape_b))
        if a.size > 100:
            a[..., 1, 2] = math.nan
        d = np.abs(a[..., :, None, :].astype("float64") - b[..., None, :, :])
        for p, want in ((1.0, d.sum(-1)), (2.0, np.sqrt((d * d).sum(-1))), (math.inf, None)):
            if want is None:
                if d.shape[-1] == 0:
                    continue
                want = d.max(-1)
            results = []
            for level in isa_levels:
                tercel.set_isa(level)
                for n in (1, 2):
                    threads(n)
                    y = tercel.cdist(tensor(a), tensor(b), p).numpy()
                    assert y.dtype == dtype and y.shape == want.shape
                    assert np.array_equal(np.isnan(y), np.isnan(want))
                    assert np.nanmax(np.abs(y - want), initial=0) <= 8 * eps * (
                        1 + np.nanmax(want, initial=0)
                    )
                    results.append((level, y[~np.isnan(y)].tobytes()))
                    if a.ndim == 2:
                        rows = tercel.pdist(tensor(a), p).numpy()
                        full = tercel.cdist(tensor(a), tensor(a), p).numpy()
                        i, j = np.triu_indices(len(a), 1)
                        assert np.array_equal(rows, full[i, j], equal_nan=True)
            if dtype == "float32":
                assert len({y for level, y in results if level != "generic"}) <= 1
    tercel.set_isa("auto")
    for p in (1.0, 2.0):
        u, v = (tensor(rng.standard_normal(s)).requires_grad_() for s in ((2, 1, 4, 5), (3, 6, 5)))
        assert tercel.autograd.gradcheck(lambda s, t, p=p: tercel.cdist(s, t, p), (u, v))
        assert tercel.autograd.gradgradcheck(lambda s, t, p=p: tercel.cdist(s, t, p), (u, v))
        assert tercel.autograd.gradcheck(
            lambda s, p=p: tercel.nn.functional.pdist(s, p), (u[0, 0],)
        )
    same = tercel.ones(3, 4, requires_grad=True)  # distance 0: no gradient, not NaN
    tercel.cdist(same, same).sum().backward()
    assert (same.grad == 0).all()
    with pytest.raises(ValueError, match="pdist"):
        tercel.pdist(tercel.ones(3, 4), -1)
