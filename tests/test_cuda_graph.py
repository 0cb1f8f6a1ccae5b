"""CUDA graphs, and random numbers and ranges made on the GPU. The emulated device captures too: a launch on a
capturing stream is kept and runs when the graph is launched, and what CUDA forbids in a capture is an error."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import op_runner
import tercel
from conftest import cuda_only
from op_cases import Sampler, load_all
from op_runner import call, contiguous, prepare, seed_of, tensors
from tercel import nn
from tercel.nn import functional as F
from tercel.testing import to_float64

pytestmark = cuda_only
cuda = tercel.cuda


def captured(f, **options):
    """A graph of f(), and what f returned in the capture."""
    g = cuda.CUDAGraph()
    with cuda.graph(g, **options):
        assert cuda.is_current_stream_capturing()
        out = f()
    assert not cuda.is_current_stream_capturing()
    return g, out


def test_replay_computes_anew_from_the_same_memory():
    x, w = tercel.randn(4, 8).cuda(), tercel.randn(8, 8).cuda()
    g, y = captured(lambda: F.gelu(x @ w).sum(1))
    for _ in range(3):
        x.copy_(tercel.randn(4, 8))
        g.replay()
        assert tercel.equal(y, F.gelu(x @ w).sum(1))


def test_nothing_runs_in_the_capture():
    x = tercel.zeros(5, device="cuda")
    g, _ = captured(lambda: x.add_(1))
    assert x.tolist() == [0] * 5
    g.replay()
    g.replay()
    assert x.tolist() == [2] * 5


def test_a_training_step_is_that_without_a_graph():
    """Forward, backward and SGD with momentum in one graph; the optimizer's buffers are made before."""
    tercel.manual_seed(0)
    models = [nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 3)).cuda() for _ in "ab"]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [tercel.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in models]
    x, y = tercel.randn(5, 6).cuda(), tercel.tensor([0, 1, 2, 1, 0]).cuda()

    def step(model, optimizer):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
        return loss

    for pair in zip(models, optimizers, strict=True):
        step(*pair)
    g, loss = captured(lambda: step(models[0], optimizers[0]))
    for _ in range(3):
        x.copy_(tercel.randn(5, 6))
        g.replay()
        assert tercel.equal(loss, step(models[1], optimizers[1]))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert tercel.equal(a, b)


def test_each_replay_draws_the_numbers_that_eager_work_would():
    x = tercel.ones(1000, device="cuda")

    def draw():
        return F.dropout(x, 0.4), tercel.randn(70, device="cuda"), tercel.rand_like(x).mul_(2)

    before = tercel.get_rng_state()
    g, outputs = captured(draw)
    assert tercel.equal(before, tercel.get_rng_state())  # a capture draws nothing
    tercel.manual_seed(7)
    replayed = []
    for _ in range(2):
        g.replay()
        replayed.append([t.clone() for t in outputs])
    after = tercel.get_rng_state()
    tercel.manual_seed(7)
    for found in replayed:
        for a, b in zip(found, draw(), strict=True):
            assert tercel.equal(a, b)
    assert tercel.equal(after, tercel.get_rng_state())
    assert not tercel.equal(replayed[0][1], replayed[1][1])


def test_generators_of_ones_own_in_a_graph():
    one, other = tercel.Generator().manual_seed(1), tercel.Generator().manual_seed(2)
    x, y = tercel.empty(33, device="cuda"), tercel.empty(33, device="cuda")
    g, _ = captured(lambda: (x.normal_(generator=one), y.uniform_(generator=other)))
    g.replay()
    g.replay()
    one.manual_seed(1)
    assert not tercel.equal(x, tercel.empty_like(x).normal_(generator=one))
    assert tercel.equal(x, tercel.empty_like(x).normal_(generator=one))
    other.manual_seed(2)
    tercel.empty(33, device="cuda").uniform_(generator=other)
    assert tercel.equal(y, tercel.empty_like(y).uniform_(generator=other))


def test_waiting_in_a_capture_is_an_error_and_leaves_the_device_usable():
    x = tercel.arange(4, device="cuda").float()
    for wrong in (
        lambda: x.sum().item(),
        lambda: x.cpu(),
        lambda: repr(x),
        lambda: x[x > 1],
        lambda: x.copy_(tercel.ones(4)),
        lambda: bool((x > 0).all()),
        cuda.synchronize,
        lambda: cuda.current_stream().synchronize(),
    ):
        g = cuda.CUDAGraph()
        with pytest.raises(RuntimeError, match="captured in a graph cannot be waited for"):
            with cuda.graph(g):
                _ = x * 2
                wrong()
        with pytest.raises(RuntimeError, match="nothing has been captured"):
            g.replay()
        assert (x + 1).tolist() == [1, 2, 3, 4]
    g, y = captured(lambda: x * 3)
    g.replay()
    assert y.tolist() == [0, 3, 6, 9]


def test_misuse():
    g = cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="nothing has been captured"):
        g.replay()
    with pytest.raises(RuntimeError, match="no capture has begun"):
        g.capture_end()
    x = tercel.ones(3, device="cuda")
    ready, _ = captured(lambda: x + 1)
    with cuda.graph(g):
        with pytest.raises(RuntimeError, match="another capture is under way"):
            cuda.CUDAGraph().capture_begin()
        with pytest.raises(RuntimeError, match="part of another graph"):
            ready.replay()
        _ = x * 2
    with pytest.raises(ValueError, match="capture_error_mode"):
        g.capture_begin(capture_error_mode="lenient")
    with pytest.raises(NotImplementedError, match="stream="):
        cuda.graph(g, stream=cuda.Stream())
    g.replay()
    g.reset()
    with pytest.raises(RuntimeError, match="nothing has been captured"):
        g.replay()


def test_steps_that_a_replay_would_repeat_are_refused():
    p = tercel.ones(3, device="cuda", requires_grad=True)
    p.grad = tercel.ones(3, device="cuda")
    adam = tercel.optim.AdamW([p])
    adam.step()
    with pytest.raises(RuntimeError, match="step count"), cuda.graph(cuda.CUDAGraph()):
        adam.step()
    fresh = tercel.optim.SGD([p], lr=0.1, momentum=0.9)
    with pytest.raises(RuntimeError, match="first step"), cuda.graph(cuda.CUDAGraph()):
        fresh.step()


def test_memory_of_a_graph_is_nobody_elses():
    """Temporaries of the capture are free for later work of that graph only, and survive empty_cache()."""
    x = tercel.ones(200_000, device="cuda")
    g, y = captured(lambda: (x + 1) * 2)  # x + 1 is freed in the capture
    cuda.empty_cache()
    others = [tercel.full((200_000,), 5.0, device="cuda") for _ in range(4)]
    g.replay()
    assert y.sum().item() == 4 * 200_000
    assert all(o.sum().item() == 5 * 200_000 for o in others)
    reserved = cuda.memory_reserved()
    del g, y, others
    gc.collect()
    cuda.empty_cache()
    assert cuda.memory_reserved() < reserved


def test_graphs_that_share_memory():
    pool = cuda.graph_pool_handle()
    x = tercel.ones(1000, device="cuda")
    first, y = captured(lambda: x + 1, pool=pool)
    second, z = captured(lambda: y * 2, pool=first.pool())
    assert first.pool() == second.pool() == pool
    x.fill_(4)
    first.replay()
    second.replay()
    assert z.tolist() == [10] * 1000


def test_a_graph_belongs_to_the_device_it_was_made_on():
    with cuda.device(1):
        g = cuda.CUDAGraph()
        x = tercel.ones(3, device="cuda:1")
    with cuda.graph(g):
        y = x * 2
    assert cuda.current_device() == 0 and y.device.index == 1
    x.fill_(5)
    g.replay()
    assert y.tolist() == [10] * 3


def test_other_streams_join_a_capture():
    side, x = cuda.Stream(), tercel.ones(100, device="cuda")

    def work():
        main = cuda.current_stream()
        side.wait_stream(main)
        with cuda.stream(side):
            y = x * 3
            y.record_stream(main)
        main.wait_stream(side)
        z = y + 1
        del y  # its memory waits for a mark that cannot be set before the end
        return z

    g, z = captured(work)
    x.fill_(2)
    g.replay()
    assert z.tolist() == [7] * 100
    assert (x + 1).tolist() == [3] * 100


def test_index_errors_of_a_replay():
    table, index = tercel.ones(5, 3).cuda(), tercel.tensor([0, 1]).cuda()
    g, y = captured(lambda: F.embedding(index, table))
    g.replay()
    assert y.sum().item() == 6
    index.copy_(tercel.tensor([2, 9]))
    g.replay()
    with pytest.raises(IndexError, match=r"index 9 .* size 5"):
        cuda.synchronize()
    assert table.sum().item() == 15


# ---- what waits for the GPU ------------------------------------------------------------------------------

# The size of a result, or an error of a kind no kernel reports, depends on values.
WAITS = {
    "ctc_loss", "div_floor", "div_trunc", "embedding_bag max", "embedding_bag mean", "embedding_bag sum",
    "floor_divide_int", "fmod_int", "fractional_max_pool2d", "fractional_max_pool3d", "gaussian_nll_loss",
    "masked_scatter", "masked_select", "mode", "multilabel_margin_loss", "quantile", "remainder_int",
    "nonzero_static", "repeat_interleave_counts", "special.multigammaln", "special.zeta", "unravel_index",
}  # fmt: skip
# LAPACK runs on the host.
WAITS |= {
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "inverse", "linalg.cholesky",
    "linalg.cholesky upper", "linalg.cond", "linalg.det", "linalg.eigh", "linalg.eigvalsh", "linalg.inv",
    "linalg.lstsq", "linalg.matrix_exp", "linalg.matrix_rank", "linalg.pinv", "linalg.pinv hermitian",
    "linalg.qr", "linalg.qr complete", "linalg.slogdet", "linalg.solve", "linalg.solve_triangular",
    "linalg.svd", "linalg.svd full", "linalg.svdvals", "logdet", "matrix_exp", "pinverse", "qr", "slogdet",
    "svd",
}  # fmt: skip
CASES = load_all()


def captured_op(case, sample, monkeypatch):
    """Forward and backward in one graph, replayed, against the same without a graph."""
    monkeypatch.setattr(op_runner, "DEVICE", "cuda")
    dtype = "float32" if "float32" in case.dtypes else case.dtypes[0]
    args = tensors(*prepare(sample, dtype, constant=False), dtype, contiguous)
    leaves = []

    def find(a):
        if isinstance(a, tercel.Tensor) and a.is_floating_point() and case.grad is True:
            leaves.append(a.requires_grad_())
        elif isinstance(a, (list, tuple)):
            for x in a:
                find(x)

    find(args.args)

    def work():
        out = call(case, args)
        seeds = [o for o in out if o.requires_grad]
        grads = []
        if seeds and leaves:
            grads = tercel.autograd.grad(
                [o.sum() for o in seeds], leaves, allow_unused=True, create_graph=False
            )
        return [o.detach() for o in out], [g for g in grads if g is not None]

    wanted = work()
    g, found = captured(work)
    g.replay()
    return wanted, found


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_op_runs_on_the_gpu_alone(name, monkeypatch):
    case = CASES[name]
    samples = list(case.samples(Sampler(seed_of(name))))
    sample = min(
        samples, key=lambda s: sum(a.size for a in s.args if isinstance(a, np.ndarray)) or 1 << 30
    )
    if name in WAITS:
        with pytest.raises(RuntimeError, match="cannot be waited for"):
            captured_op(case, sample, monkeypatch)
        return
    wanted, found = captured_op(case, sample, monkeypatch)
    for a, b in zip(wanted, found, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(to_float64(x.cpu()), to_float64(y.cpu()))


# ---- made on the GPU -----------------------------------------------------------------------------------

FLOATS = ["float32", "float64", "float16", "bfloat16"]


def both_devices(fill, *shape, dtype="float32"):
    """fill(tensor) on the CPU and on the GPU from the same seed."""
    results = []
    for device in ("cpu", "cuda"):
        tercel.manual_seed(11)
        t = tercel.zeros(*shape, dtype=getattr(tercel, dtype), device=device)
        fill(t)
        assert t.device.type == device
        results.append(t.cpu())
    return results


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "fill",
    [
        lambda t: t.uniform_(-1, 3),
        lambda t: t.normal_(1, 2),
        lambda t: t.exponential_(1.5),
        lambda t: t.cauchy_(0.5, 2),
        lambda t: t.log_normal_(0.2, 0.7),
        lambda t: t.geometric_(0.2),
        lambda t: t.bernoulli_(0.3),
        lambda t: t.random_(-3, 90),
    ],
    ids="uniform normal exponential cauchy log_normal geometric bernoulli random".split(),
)
def test_fills_have_the_bits_of_the_cpu(fill, dtype):
    for shape in ((1,), (63, 3), (2, 1000), (0,)):
        here, there = both_devices(fill, *shape, dtype=dtype)
        assert tercel.equal(here, there)
    here, there = both_devices(lambda t: fill(t.t()), 5, 40, dtype=dtype)
    assert tercel.equal(here, there)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
def test_integers_have_the_bits_of_the_cpu(dtype):
    for fill in (lambda t: t.random_(), lambda t: t.random_(0, 2), lambda t: t.bernoulli_(0.6)):
        here, there = both_devices(fill, 300, dtype=dtype)
        assert tercel.equal(here, there) and here.float().std().item() > 0
    here, there = both_devices(lambda t: t.random_(-(2**62), 2**62), 99, dtype="int64")
    assert tercel.equal(here, there)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: tercel.randn(3, 50, device=d),
        lambda d: tercel.rand(130, dtype=tercel.float64, device=d),
        lambda d: tercel.randint(-5, 9, (70,), device=d),
        lambda d: tercel.randperm(100, device=d),
        lambda d: tercel.randint_like(tercel.zeros(9, device=d), 2, 40),
        lambda d: tercel.normal(tercel.arange(5.0, device=d), tercel.ones(5, device=d)),
        lambda d: tercel.bernoulli(tercel.linspace(0, 1, 90, device=d)),
        lambda d: tercel.multinomial(tercel.arange(1.0, 9.0, device=d), 4),
        lambda d: tercel.poisson(tercel.full((40,), 3.5, device=d)),
        lambda d: F.rrelu(tercel.linspace(-2, 2, 80, device=d), training=True),
        lambda d: F.gumbel_softmax(tercel.zeros(4, 8, device=d), hard=True),
        lambda d: nn.init.trunc_normal_(tercel.empty(40, 5, device=d)),
        lambda d: nn.Linear(7, 5, device=d).weight.detach(),
        lambda d: nn.Conv2d(3, 4, 3, device=d).bias.detach(),
    ],
)
def test_random_tensors_are_made_where_they_are_wanted(make):
    values = []
    for device in ("cpu", "cuda"):
        tercel.manual_seed(3)
        t = make(device)
        assert t.device.type == device
        values.append(to_float64(t.cpu()))
    assert values[0].shape == values[1].shape
    assert abs(values[0] - values[1]).max() <= 1e-5


def test_probabilities_out_of_range():
    with pytest.raises(ValueError, match=r"got 1.5 at position 2"):
        tercel.bernoulli(tercel.tensor([0.0, 1.0, 1.5]).cuda())
    with pytest.raises(ValueError, match=r"std must be >= 0, got -1 at position 1"):
        tercel.normal(tercel.zeros(3).cuda(), tercel.tensor([1.0, -1.0, 2.0]).cuda())


@pytest.mark.parametrize("dtype", [*FLOATS, "float8_e4m3fn", "int8", "int32", "int64"])
def test_ranges_have_the_bits_of_the_cpu(dtype):
    t = getattr(tercel, dtype)
    for make in (
        lambda d: tercel.arange(100, dtype=t, device=d),
        lambda d: tercel.arange(90, -30, -7, dtype=t, device=d),
        lambda d: tercel.linspace(-20, 21, 53, dtype=t, device=d),
        lambda d: tercel.eye(5, 7, dtype=t, device=d),
        lambda d: tercel.arange(0, dtype=t, device=d),
    ):
        here, there = make("cpu"), make("cuda")
        assert there.is_cuda and here.dtype == there.dtype == t
        assert tercel.equal(here.float(), there.cpu().float())
    here = tercel.arange(0.1, 3, 0.07, device="cpu")
    assert tercel.equal(here, tercel.arange(0.1, 3, 0.07, device="cuda").cpu())
    out = tercel.empty(3, device="cuda")
    assert tercel.arange(3.0, out=out) is out and out.tolist() == [0, 1, 2]
