"""Lazy layers: they end up as the ordinary layer with the ordinary layer's values."""

import copy

import numpy as np
import pytest

import tercel
from tercel import nn

N, C = 2, 4
CASES = [  # lazy layer, the same with its input size, shape of the input
    (lambda: nn.LazyLinear(5), lambda: nn.Linear(C, 5), (N, 3, C)),
    (lambda: nn.LazyLinear(5, bias=False), lambda: nn.Linear(C, 5, bias=False), (N, C)),
    *(
        (
            lambda n=n: getattr(nn, f"LazyConv{n}d")(6, 3, padding=1, groups=2),
            lambda n=n: getattr(nn, f"Conv{n}d")(C, 6, 3, padding=1, groups=2),
            (N, C, *(4,) * n),
        )
        for n in (1, 2, 3)
    ),
    *(
        (
            lambda n=n: getattr(nn, f"LazyConvTranspose{n}d")(6, 3, stride=2, groups=2),
            lambda n=n: getattr(nn, f"ConvTranspose{n}d")(C, 6, 3, stride=2, groups=2),
            (N, C, *(3,) * n),
        )
        for n in (1, 2, 3)
    ),
    *(
        (
            lambda n=n: getattr(nn, f"LazyBatchNorm{n}d")(eps=1e-3),
            lambda n=n: getattr(nn, f"BatchNorm{n}d")(C, eps=1e-3),
            (N, C, *(4,) * n),
        )
        for n in (1, 2, 3)
    ),
    *(
        (
            lambda n=n: getattr(nn, f"LazyInstanceNorm{n}d")(affine=True),
            lambda n=n: getattr(nn, f"InstanceNorm{n}d")(C, affine=True),
            (N, C, *(4,) * n),
        )
        for n in (1, 2, 3)
    ),
    (lambda: nn.LazyConv2d(6, 3), lambda: nn.Conv2d(C, 6, 3), (C, 5, 5)),  # without N
    (lambda: nn.LazyBatchNorm1d(affine=False), lambda: nn.BatchNorm1d(C, affine=False), (N, C)),
]


@pytest.mark.parametrize("make_lazy,make,shape", CASES, ids=[c[1]().__repr__() for c in CASES])
def test_becomes_the_ordinary_layer(make_lazy, make, shape):
    x = tercel.randn(shape)
    lazy = make_lazy()
    assert lazy.has_uninitialized_params() or not list(lazy.parameters())
    held = list(lazy.parameters())
    tercel.manual_seed(0)
    y = lazy(x)
    tercel.manual_seed(0)
    layer = make()
    assert type(lazy) is type(layer) and repr(lazy) == repr(layer)
    assert list(lazy.state_dict()) == list(layer.state_dict())
    for a, b in zip(held, layer.parameters(), strict=True):
        assert type(a) is nn.Parameter and tercel.equal(a, b)  # the objects an optimizer holds
    assert tercel.equal(y, layer(x))


@pytest.mark.parametrize("make_lazy,make,shape", CASES, ids=[c[1]().__repr__() for c in CASES])
def test_loading_gives_the_shapes(make_lazy, make, shape):
    layer, lazy = make(), make_lazy()
    layer(tercel.randn(shape))
    lazy.load_state_dict(layer.state_dict())
    x = tercel.randn(shape)
    assert tercel.equal(lazy.eval()(x), layer.eval()(x))
    assert type(lazy) is type(layer) and repr(lazy) == repr(layer)


def test_training_with_an_optimizer_made_before_the_first_forward():
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(1))
    optimizer = tercel.optim.SGD(model.parameters(), lr=0.1)
    x = tercel.randn(16, 3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_dtype_copies_and_empty_state():
    lazy = nn.LazyBatchNorm2d().double()
    assert isinstance(lazy.running_mean, nn.UninitializedBuffer)
    twin = copy.deepcopy(lazy)
    twin.load_state_dict(lazy.state_dict())
    assert twin.has_uninitialized_params() and twin.weight is not lazy.weight
    y = twin(tercel.randn(2, 3, 4, 4, dtype=tercel.float64))
    assert y.dtype == tercel.float64 and twin.running_var.shape == (3,)
    np.testing.assert_array_equal(twin.num_batches_tracked.numpy(), 1)
    assert lazy.has_uninitialized_params()


def test_errors():
    with pytest.raises(RuntimeError, match="2D or 3D input to LazyConv1d"):
        nn.LazyConv1d(3, 3)(tercel.zeros(2, 2, 2, 2))
    with pytest.raises(ValueError, match="in_channels must be divisible"):
        nn.LazyConv1d(4, 3, groups=2)(tercel.zeros(2, 3, 8))
    with pytest.raises(ValueError, match="out_channels must be divisible"):
        nn.LazyConv1d(3, 3, groups=2)

    class Forgetful(nn.lazy.LazyModuleMixin, nn.Linear):
        def __init__(self):
            super().__init__(1, 1)
            self.extra = nn.UninitializedParameter()

        def initialize_parameters(self, x):
            pass

    with pytest.raises(RuntimeError, match="not been fully initialized"):
        Forgetful()(tercel.zeros(1, 1))


def test_sparse_embedding_names_the_alternative():
    for layer in (nn.Embedding, nn.EmbeddingBag):
        with pytest.raises(NotImplementedError, match="use sparse=False"):
            layer(3, 2, sparse=True)
