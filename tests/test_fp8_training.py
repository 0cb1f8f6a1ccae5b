"""Training with float8 products: recipes, Fp8Linear against the formula, and an MLP that learns as in float32."""

import numpy as np
import pytest

import tercel
from tercel import nn
from tercel.amp import CurrentScaling, DelayedScaling, fp8_autocast
from tercel.quantization import Fp8Linear, convert_to_fp8_training

E4M3, E5M2 = tercel.float8_e4m3fn, tercel.float8_e5m2
LARGEST = {E4M3: 448.0, E5M2: 57344.0}


def rounded(x, dtype, amax=None):
    """x through float8 with amax on the largest value, as float64 numpy."""
    x = np.asarray(x, np.float32)
    scale = np.float32((np.abs(x).max() if amax is None else amax) / LARGEST[dtype])
    codes = np.clip(x * (np.float32(1) / scale), -LARGEST[dtype], LARGEST[dtype])
    return tercel.from_numpy(codes).to(dtype).double().numpy() * np.float64(scale)


def tensor(rng, *shape):
    return tercel.from_numpy(rng.standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize(
    "recipe", [CurrentScaling(), DelayedScaling(), CurrentScaling(fp8_format="E5M2")]
)
@pytest.mark.parametrize("shape", [(7, 33), (2, 3, 33), (1, 33)])
def test_products_are_those_of_the_codes(recipe, shape):
    rng = np.random.default_rng(0)
    forward = E5M2 if recipe.fp8_format == "E5M2" else E4M3
    layer = Fp8Linear(33, 18)
    x = tensor(rng, *shape).requires_grad_(True)
    g = tensor(rng, *shape[:-1], 18)
    with fp8_autocast(recipe=recipe):
        y = layer(x)
    y.backward(g)
    xq = rounded(x.detach().numpy().reshape(-1, 33), forward)
    wq, gq = (
        rounded(layer.weight.detach().numpy(), forward),
        rounded(g.numpy().reshape(-1, 18), E5M2),
    )
    close = dict(rtol=2e-6, atol=2e-5)
    want = xq @ wq.T + layer.bias.detach().numpy()
    np.testing.assert_allclose(y.detach().numpy().reshape(-1, 18), want, **close)
    np.testing.assert_allclose(x.grad.numpy().reshape(-1, 33), gq @ wq, **close)
    np.testing.assert_allclose(layer.weight.grad.numpy(), gq.T @ xq, **close)
    np.testing.assert_allclose(
        layer.bias.grad.numpy(), g.double().numpy().reshape(-1, 18).sum(0), rtol=1e-5, atol=1e-5
    )


def test_outside_the_region_it_is_a_linear():
    layer = Fp8Linear(8, 4)
    x = tercel.randn(3, 8)
    want = nn.functional.linear(x, layer.weight, layer.bias)
    assert tercel.equal(layer(x), want)
    with fp8_autocast():
        assert not tercel.equal(layer(x), want)
        with fp8_autocast(enabled=False):
            assert tercel.equal(layer(x), want)

    @fp8_autocast(recipe=CurrentScaling())
    def run():
        return layer(x)

    assert not tercel.equal(run(), want)
    assert tercel.equal(layer(x), want)


def test_delayed_scaling_looks_back():
    layer = Fp8Linear(4, 4, bias=False)
    layer.weight.data.copy_(tercel.eye(4))
    recipe = DelayedScaling(amax_history_len=2)

    def largest(value):  # what a value becomes when it passes through the layer
        with fp8_autocast(recipe=recipe):
            return float(layer(tercel.full((1, 4), value)).max())

    assert largest(1.0) == pytest.approx(1.0)  # no history: its own size
    assert largest(8.0) == pytest.approx(1.0)  # saturates at what was seen
    assert largest(8.0) == pytest.approx(8.0)
    assert layer.amax_history[0] == [8.0, 8.0]
    largest(0.5)
    assert layer.amax_history[0] == [8.0, 0.5]
    layer.eval()
    assert largest(100.0) == pytest.approx(8.0)
    assert layer.amax_history[0] == [8.0, 0.5]
    assert DelayedScaling(amax_compute_algo="most_recent").amax([8.0, 0.5], 3.0) == 0.5
    assert DelayedScaling(margin=1).scale(448.0, E4M3) == 2.0


def test_zeros_tiny_values_and_infinities():
    layer = Fp8Linear(4, 2, bias=False)
    with fp8_autocast(recipe=CurrentScaling()):
        assert not layer(tercel.zeros(3, 4)).any()
        assert tercel.isfinite(layer(tercel.full((1, 4), 1e-44))).all()
        for bad in (float("inf"), float("nan")):
            x = tercel.ones(2, 4)
            x[0, 0] = bad
            assert tercel.isnan(layer(x)).all()  # one factor for the tensor; a scaler sees it
        x = tercel.zeros(0, 4, requires_grad=True)
        layer(x).sum().backward()
        assert x.grad.shape == (0, 4) and not layer.weight.grad.any()


def test_results_follow_autocast():
    layer = Fp8Linear(16, 8)
    x = tercel.randn(3, 16, requires_grad=True)
    with fp8_autocast(), tercel.amp.autocast("cpu", dtype=tercel.bfloat16):
        y = layer(x)
    assert y.dtype == tercel.bfloat16
    y.float().sum().backward()
    assert x.grad.dtype == layer.weight.grad.dtype == layer.bias.grad.dtype == tercel.float32


def test_state_dict_round_trip(tmp_path):
    model = convert_to_fp8_training(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)))
    for _ in range(3):
        with fp8_autocast():
            loss = model(tercel.randn(4, 6)).sum()
        loss.backward()
    tercel.io.save_file(model.state_dict(), tmp_path / "m.safetensors")
    other = convert_to_fp8_training(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)))
    other.load_state_dict(tercel.io.load_file(tmp_path / "m.safetensors"))
    assert len(other[0].amax_history[2]) == 3
    x = tercel.randn(2, 6)
    with fp8_autocast():
        assert tercel.equal(model(x), other(x))
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    other.load_state_dict(plain.state_dict())  # strict: nn.Linear's checkpoints load


def test_convert_and_bad_arguments():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, shared, nn.Linear(4, 2))
    weight = model[2].weight
    convert_to_fp8_training(model, lambda module, name: name != "2")
    assert isinstance(model[0], Fp8Linear) and model[0] is model[1]
    assert type(model[2]) is nn.Linear and model[2].weight is weight
    twin = convert_to_fp8_training(shared)
    assert isinstance(twin, Fp8Linear) and twin.weight is shared.weight
    with pytest.raises(ValueError, match="HYBRID"):
        CurrentScaling(fp8_format="E3M4")
    with pytest.raises(ValueError, match="most_recent"):
        DelayedScaling(amax_compute_algo="mean")
    with pytest.raises(ValueError, match="at least 1"):
        DelayedScaling(amax_history_len=0)
    with pytest.raises(TypeError, match="DelayedScaling"):
        fp8_autocast(recipe="delayed")
    with fp8_autocast(), pytest.raises(tercel.ShapeError, match="must be 4"):
        twin(tercel.ones(2, 5))


def train(recipe):
    """Final loss of a small MLP on a fixed nonlinear function."""
    tercel.manual_seed(0)
    rng = np.random.default_rng(1)
    x = tensor(rng, 256, 16)
    y = (x[:, :1] * x[:, 1:2] + x[:, 2:3].sin()).detach()
    model = nn.Sequential(
        nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1)
    )
    if recipe is not None:
        model = convert_to_fp8_training(model)
    optimizer = tercel.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        with fp8_autocast(enabled=recipe is not None, recipe=recipe):
            loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return float(loss.item())


def test_mlp_trains_to_about_the_float32_loss():
    start = 1.4  # the loss of predicting 0
    want = train(None)
    assert want < 0.05 * start
    for recipe in (CurrentScaling(), DelayedScaling(amax_history_len=16)):
        assert train(recipe) < want + 0.02 * start
