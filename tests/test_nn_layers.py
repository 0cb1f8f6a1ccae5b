"""Layers: printing, state keys, values and gradients against PyTorch where it is installed."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tercel
from tercel import nn

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


def to_torch(t):
    return torch.from_numpy(np.array(t.detach().numpy()))


def assert_close(ours, theirs, tol=2e-5):
    a, b = np.asarray(ours.detach().numpy()), np.asarray(theirs.detach().numpy())
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


REPRS = """Linear(3, 4)|Linear(3, 4, bias=False)|Bilinear(2, 3, 4)|Identity()|Conv1d(4, 6, 3, padding=1)
Conv2d(4, 6, 3, stride=2, groups=2, bias=False)|Conv2d(4, 6, 3, padding='same', padding_mode='reflect')
Conv2d(4, 6, 3, stride=[2], padding=(0,), dilation=[1])|Conv3d(2, 2, (1, 2, 3), dilation=2)|ConvTranspose2d(4, 6, 3, 2, 1, 1)|BatchNorm2d(3)|BatchNorm1d(3, affine=False)
InstanceNorm2d(3, affine=True)|LayerNorm(4)|LayerNorm((2, 3), elementwise_affine=False)|RMSNorm(4)|GroupNorm(2, 4)
LocalResponseNorm(2)|ReLU()|ReLU(True)|ReLU6()|RReLU()|Hardtanh()|Sigmoid()|Hardsigmoid()|Tanh()|SiLU(True)|Mish()
Hardswish()|ELU(2., True)|CELU()|SELU()|GLU()|GELU('tanh')|Hardshrink()|Softshrink()|Tanhshrink()|LeakyReLU(.1, True)
LogSigmoid()|Softplus()|Softsign()|PReLU(4)|Softmax(1)|Softmin(1)|LogSoftmax(-1)|Softmax2d()|Threshold(1, 2)
MaxPool2d(3, 2, 1, ceil_mode=True)|MaxUnpool2d(2)|AvgPool1d(2)|AvgPool2d(2)|FractionalMaxPool2d(2, output_size=3)
LPPool2d(2, 3, 2)|AdaptiveMaxPool2d(3)|AdaptiveAvgPool2d((3, None))|ZeroPad2d(1)|ConstantPad1d(1, 2.)|CircularPad1d(1)
ReflectionPad2d((1, 2, 3, 4))|ReplicationPad3d(1)|Dropout()|Dropout2d(.2, True)|AlphaDropout(.1)|Embedding(3, 4)
Embedding(3, 4, padding_idx=-1, max_norm=1.)|EmbeddingBag(3, 4, mode='sum', padding_idx=1)|Flatten()|Unflatten(1, (2, 3))
PixelShuffle(2)|PixelUnshuffle(2)|ChannelShuffle(2)|Upsample(scale_factor=2)|Upsample(size=(3, 4), mode='bilinear')
UpsamplingBilinear2d(size=3)|Unfold(2)|Fold((4, 4), 2)|CosineSimilarity()|PairwiseDistance()|CrossEntropyLoss()|MSELoss()
Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 4)))
ModuleList([nn.Linear(2, 2) for _ in range(3)] + [nn.ReLU()])|ModuleDict({'a': nn.ReLU(), 'b': nn.Linear(1, 2)})"""
SPECS = [s for line in REPRS.split("\n") for s in line.split("|")]


@needs_torch
@pytest.mark.parametrize("spec", SPECS)
def test_repr_and_state_keys_equal_torch(spec):
    ours, theirs = eval("nn." + spec, {"nn": nn}), eval("nn." + spec, {"nn": torch.nn})
    assert repr(ours) == repr(theirs)
    ours_state, theirs_state = ours.state_dict(), theirs.state_dict()
    assert list(ours_state) == list(theirs_state)
    assert [tuple(v.shape) for v in ours_state.values()] == [
        tuple(v.shape) for v in theirs_state.values()
    ]
    assert repr(copy.deepcopy(ours)) == repr(ours)


def test_repr_nested():
    text = repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU())))
    assert text == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n    (0): ReLU()\n  )\n)"
    )


# (layer, input shape); the layer is built in both libraries with the same parameters.
LAYERS = [
    ("Linear(5, 7)", (2, 3, 5)), ("Linear(5, 7, bias=False)", (5,)),
    ("Conv1d(4, 6, 3, padding=1)", (2, 4, 9)), ("Conv2d(4, 6, 3, stride=2, padding=1)", (2, 4, 9, 8)),
    ("Conv2d(4, 8, 3, padding='same', groups=2)", (2, 4, 7, 6)),
    ("Conv2d(3, 5, 3, padding=2, padding_mode='reflect')", (2, 3, 6, 7)),
    ("Conv2d(3, 5, (3, 2), padding='same', padding_mode='circular', dilation=2)", (2, 3, 6, 7)),
    ("Conv3d(2, 3, 3, padding=1)", (2, 2, 5, 6, 4)),
    ("ConvTranspose1d(4, 6, 3, 2)", (2, 4, 5)), ("ConvTranspose2d(4, 6, 3, 2, 1, 1)", (2, 4, 5, 6)),
    ("ConvTranspose3d(2, 4, 3, 2, groups=2)", (2, 2, 3, 4, 3)),
    ("BatchNorm1d(4)", (5, 4)), ("BatchNorm1d(4)", (5, 4, 3)), ("BatchNorm2d(4)", (3, 4, 5, 2)),
    ("BatchNorm2d(4, momentum=None)", (3, 4, 5, 2)), ("BatchNorm3d(2, affine=False)", (3, 2, 2, 3, 2)),
    ("BatchNorm2d(4, track_running_stats=False)", (3, 4, 5, 2)),
    ("InstanceNorm1d(4, affine=True)", (3, 4, 6)), ("InstanceNorm2d(4, track_running_stats=True)", (3, 4, 5, 6)),
    ("InstanceNorm2d(4)", (4, 5, 6)), ("LayerNorm((4, 5))", (2, 3, 4, 5)), ("LayerNorm(5, bias=False)", (2, 5)),
    ("RMSNorm(6)", (3, 6)), ("GroupNorm(2, 6)", (2, 6, 4)), ("LocalResponseNorm(3)", (2, 5, 4, 4)),
    ("ReLU()", (3, 4)), ("ReLU6()", (3, 4)), ("Hardtanh()", (3, 4)), ("Sigmoid()", (3, 4)), ("Hardsigmoid()", (3, 4)),
    ("Tanh()", (3, 4)), ("SiLU()", (3, 4)), ("Mish()", (3, 4)), ("Hardswish()", (3, 4)), ("ELU(.5)", (3, 4)),
    ("CELU(.5)", (3, 4)), ("SELU()", (3, 4)), ("GLU()", (3, 4)), ("GELU()", (3, 4)), ("GELU('tanh')", (3, 4)),
    ("Hardshrink()", (3, 4)), ("Softshrink()", (3, 4)), ("Tanhshrink()", (3, 4)), ("LeakyReLU(.1)", (3, 4)),
    ("LogSigmoid()", (3, 4)), ("Softplus()", (3, 4)), ("Softsign()", (3, 4)), ("PReLU()", (3, 4)), ("PReLU(4)", (3, 4)),
    ("Softmax(1)", (3, 4)), ("Softmin(1)", (3, 4)), ("LogSoftmax(0)", (3, 4)), ("Softmax2d()", (2, 3, 4, 5)),
    ("Threshold(.1, 20.)", (3, 4)), ("MaxPool1d(2)", (2, 3, 8)), ("MaxPool2d(3, 2, 1)", (2, 3, 8, 9)),
    ("MaxPool2d(2, ceil_mode=True)", (2, 3, 7, 7)), ("MaxPool3d(2)", (1, 2, 4, 4, 4)), ("AvgPool1d(3, 2, 1)", (2, 3, 9)),
    ("AvgPool2d(3, 2, 1, count_include_pad=False)", (2, 3, 8, 9)), ("AvgPool3d(2)", (1, 2, 4, 4, 4)),
    ("LPPool1d(2, 3)", (2, 3, 9)), ("LPPool2d(3., 2)", (2, 3, 8, 8)), ("AdaptiveAvgPool1d(3)", (2, 3, 8)),
    ("AdaptiveAvgPool2d((3, None))", (2, 3, 8, 7)), ("AdaptiveAvgPool3d(2)", (1, 2, 5, 4, 3)),
    ("AdaptiveMaxPool1d(3)", (2, 3, 8)), ("AdaptiveMaxPool2d((2, 3))", (2, 3, 8, 7)), ("ZeroPad2d(1)", (1, 2, 3, 4)),
    ("ConstantPad1d((1, 2), 3.)", (1, 2, 3)), ("ReflectionPad2d((1, 2, 0, 1))", (1, 2, 3, 4)),
    ("ReplicationPad2d(1)", (1, 2, 3, 4)), ("CircularPad2d(1)", (1, 2, 3, 4)), ("Flatten()", (2, 3, 4)),
    ("Unflatten(1, (2, 3))", (2, 6, 2)), ("PixelShuffle(2)", (2, 8, 3, 4)), ("PixelUnshuffle(2)", (2, 2, 4, 6)),
    ("ChannelShuffle(2)", (2, 6, 3, 3)), ("Upsample(scale_factor=2)", (1, 2, 3, 4)),
    ("Upsample(size=(5, 7), mode='bilinear')", (1, 2, 3, 4)), ("UpsamplingBilinear2d(scale_factor=2)", (1, 2, 3, 4)),
    ("Unfold(2, stride=2)", (1, 2, 4, 6)), ("Fold((4, 5), 2)", (1, 8, 12)), ("Dropout().eval()", (3, 4)),
]  # fmt: skip


@needs_torch
@pytest.mark.parametrize("spec,shape", LAYERS, ids=[s for s, _ in LAYERS])
def test_layer_equals_torch(spec, shape):
    """Output, input gradient, parameter gradients, buffers; then eval mode."""
    rng = np.random.default_rng(0)
    theirs = eval("nn." + spec, {"nn": torch.nn})
    ours = eval("nn." + spec, {"nn": nn})
    state = {
        k: torch.from_numpy(rng.normal(size=v.shape).astype(np.float32))
        for k, v in theirs.named_parameters()
    }
    theirs.load_state_dict(state, strict=False)
    ours.load_state_dict({k: tercel.tensor(v.numpy()) for k, v in state.items()}, strict=False)
    data = rng.normal(size=shape).astype(np.float32)
    x, y = tercel.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    a, b = ours(x), theirs(y)
    assert_close(a, b)
    weight = rng.normal(size=tuple(b.shape)).astype(np.float32)
    (a * tercel.tensor(weight)).sum().backward()
    (b * torch.tensor(weight)).sum().backward()
    assert_close(x.grad, y.grad, 2e-4)
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters()):
        assert p.grad is not None, name
        assert_close(p.grad, q.grad, 5e-4)
    for p, q in zip(ours.buffers(), theirs.buffers()):
        assert_close(p, q)
    assert_close(ours.eval()(x), theirs.eval()(y))


def _probabilities(rng, shape):
    z = np.exp(rng.normal(size=shape))
    return (z / z.sum(1, keepdims=True)).astype(np.float32)


def _loss_cases():
    rng = np.random.default_rng(1)
    n = lambda *s: rng.normal(size=s).astype(np.float32)
    p = lambda *s: rng.uniform(0.05, 0.95, size=s).astype(np.float32)
    sign = lambda *s: np.where(rng.normal(size=s) > 0, 1, -1).astype(np.float32)
    c = lambda *s: rng.integers(0, 4, size=s)
    return [
        ("L1Loss()", n(3, 4), n(3, 4)), ("MSELoss()", n(3, 4), n(3, 4)), ("SmoothL1Loss(beta=.5)", n(3, 4), n(3, 4)),
        ("HuberLoss(delta=.7)", n(3, 4), n(3, 4)), ("CrossEntropyLoss()", n(5, 4), c(5)),
        ("CrossEntropyLoss(label_smoothing=.1)", n(5, 4), c(5)), ("CrossEntropyLoss(ignore_index=1)", n(5, 4), c(5)),
        ("CrossEntropyLoss()", n(2, 4, 3), c(2, 3)), ("CrossEntropyLoss()", n(5, 4), _probabilities(rng, (5, 4))),
        ("NLLLoss()", n(5, 4), c(5)), ("PoissonNLLLoss(full=True)", n(3, 4), p(3, 4) * 4),
        ("GaussianNLLLoss(full=True)", n(3, 4), n(3, 4), p(3, 4)), ("KLDivLoss(reduction='batchmean')", n(3, 4), p(3, 4)),
        ("KLDivLoss(log_target=True)", n(3, 4), n(3, 4)), ("BCELoss()", p(3, 4), p(3, 4)),
        ("BCEWithLogitsLoss()", n(3, 4), p(3, 4)), ("HingeEmbeddingLoss()", n(3, 4), sign(3, 4)),
        ("SoftMarginLoss()", n(3, 4), sign(3, 4)), ("MultiLabelSoftMarginLoss()", n(3, 4), (p(3, 4) > 0.5).astype(np.float32)),
        ("MultiLabelMarginLoss()", n(2, 4), np.array([[1, 3, -1, 0], [0, 1, 2, -1]])),
        ("MultiMarginLoss(p=2)", n(5, 4), c(5)), ("CosineEmbeddingLoss(.1)", n(5, 4), n(5, 4), sign(5)),
        ("MarginRankingLoss(.2)", n(5), n(5), sign(5)), ("TripletMarginLoss(swap=True)", n(5, 4), n(5, 4), n(5, 4)),
        ("TripletMarginWithDistanceLoss()", n(5, 4), n(5, 4), n(5, 4)), ("CosineSimilarity()", n(5, 4), n(5, 4)),
        ("PairwiseDistance(p=1.)", n(5, 4), n(5, 4)), ("MSELoss(reduction='none')", n(3, 4), n(3, 4)),
        ("L1Loss(reduction='sum')", n(3, 4), n(3, 4)),
    ]  # fmt: skip


@needs_torch
@pytest.mark.parametrize("case", _loss_cases(), ids=lambda c: c[0])
def test_loss_equals_torch(case):
    spec, data, *others = case
    x, y = tercel.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    a = eval("nn." + spec, {"nn": nn})(x, *(tercel.tensor(o) for o in others))
    b = eval("nn." + spec, {"nn": torch.nn})(y, *(torch.tensor(o) for o in others))
    assert_close(a, b)
    a.sum().backward()
    b.sum().backward()
    assert_close(x.grad, y.grad)


@needs_torch
def test_embedding_equals_torch():
    table = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    index = np.array([[0, 2, 5], [2, 2, 1]])
    for make in (
        lambda n, t, w: n.Embedding.from_pretrained(w, freeze=False),
        lambda n, t, w: n.Embedding.from_pretrained(w, freeze=False, padding_idx=2),
        lambda n, t, w: n.EmbeddingBag.from_pretrained(w, freeze=False),
        lambda n, t, w: n.EmbeddingBag.from_pretrained(w, freeze=False, mode="sum", padding_idx=2),
        lambda n, t, w: n.EmbeddingBag.from_pretrained(w, freeze=False, mode="max"),
    ):
        ours = make(nn, tercel, tercel.tensor(table))
        theirs = make(torch.nn, torch, torch.tensor(table))
        a, b = ours(tercel.tensor(index)), theirs(torch.tensor(index))
        assert_close(a, b)
        (a * a).sum().backward()
        (b * b).sum().backward()
        assert_close(ours.weight.grad, theirs.weight.grad)
    e = nn.Embedding(5, 2, padding_idx=-1)
    assert e.padding_idx == 4 and float(e.weight[4].abs().sum()) == 0
    assert not nn.Embedding.from_pretrained(tercel.tensor(table)).weight.requires_grad
    with pytest.raises((IndexError, ValueError)):
        e(tercel.tensor([5]))
    with pytest.raises(NotImplementedError):
        nn.Embedding(3, 3, sparse=True)


def test_layer_settings_are_checked():
    for make in (
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(3, 4, 3, padding="wide"),
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"),
        lambda: nn.Conv2d(3, 4, 3, padding_mode="mirror"),
        lambda: nn.Conv2d(4, 4, 3, groups=0),
        lambda: nn.Conv2d(4, 4, (3, 3, 3)),
        lambda: nn.ConvTranspose2d(3, 3, 3, padding_mode="reflect"),
        lambda: nn.GroupNorm(3, 4),
        lambda: nn.Dropout(1.5),
        lambda: nn.Hardtanh(1, -1),
        lambda: nn.Embedding(3, 4, padding_idx=3),
        lambda: nn.EmbeddingBag(3, 4, mode="median"),
        lambda: nn.TripletMarginLoss(margin=-1),
        lambda: nn.MultiMarginLoss(p=3),
        lambda: nn.MSELoss(reduction="median"),
        lambda: nn.FractionalMaxPool2d(2),
        lambda: nn.Bilinear(0, 1, 1),
        lambda: nn.Linear(-1, 2),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            make()
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(3)(tercel.zeros(2, 3))
    with pytest.raises(TypeError):
        nn.Unflatten("x", (1, 2))
    with pytest.raises(TypeError):
        nn.ReLU(1, 2, 3)


def test_a_size_of_one_entry_is_every_dimensions():
    x = tercel.randn(1, 2, 9, 9)
    for kind in (nn.Conv2d, nn.ConvTranspose2d):
        one = kind(2, 4, 3, stride=[2], padding=(1,), dilation=[1])
        two = kind(2, 4, 3, stride=2, padding=1)
        two.load_state_dict(one.state_dict())
        assert tercel.equal(one(x), two(x))
        assert "stride=(2,), padding=(1,)" in repr(one) and "dilation" not in repr(one)
    assert one(x, output_size=(18, 17)).shape == (1, 4, 18, 17)
    same = nn.Conv2d(2, 4, 3, padding="same", dilation=(2,), padding_mode="reflect")
    assert same(x).shape == nn.Conv2d(2, 4, 3, padding=(1,), padding_mode="reflect")(x).shape
    for bad in ({"stride": (1, 2, 3)}, {"padding": ()}, {"dilation": (1, 1, 1)}):
        with pytest.raises(ValueError, match=f"Conv2d: {next(iter(bad))} must have 2 entries"):
            nn.Conv2d(2, 4, 3, **bad)
    with pytest.raises(ValueError, match="Conv2d: kernel_size must have 2 entries, got 1"):
        nn.Conv2d(2, 4, [3])


def test_conv_transpose_output_size():
    m = nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1)
    x = tercel.zeros(1, 2, 5, 5)
    assert m(x, output_size=[10, 10]).shape == (1, 2, 10, 10)
    assert m(x, output_size=(1, 2, 9, 10)).shape == (1, 2, 9, 10)
    with pytest.raises(ValueError, match="valid sizes"):
        m(x, output_size=[20, 20])


def test_batch_norm_loads_old_files():
    m = nn.BatchNorm2d(3)
    state = m.state_dict()
    del state["num_batches_tracked"]
    m.load_state_dict(dict(state))  # without version: the counter did not exist
    m(tercel.randn(2, 3, 4, 4))
    assert int(m.num_batches_tracked) == 1
