"""GPTQ: against the definition on a tiny matrix, and that it moves results less than rounding to nearest."""

import numpy as np
import pytest

import tercel
from tercel import nn, quantization
from tercel.quantization import QuantizedLinear, gptq, quantize, quantize_gptq_


def correlated(rng, rows, columns):
    """Inputs with a few strong directions, and one that never fires."""
    x = rng.standard_normal((rows, 6)) @ rng.standard_normal((6, columns))
    x += 0.2 * rng.standard_normal((rows, columns))
    x[:, 3] = 0
    return x.astype(np.float32)


def moved(w, q, x):
    """Mean square change of x w^T."""
    return float((((q.dequantize() - w).double().numpy() @ x.T.astype(np.float64)) ** 2).mean())


@pytest.mark.parametrize("scheme", quantization.schemes())
def test_results_move_less_than_with_nearest(scheme):
    rng = np.random.default_rng(0)
    x = correlated(rng, 400, 128)
    w = tercel.from_numpy(rng.standard_normal((24, 128), dtype=np.float32))
    q, plain = gptq(w, x.T.astype(np.float64) @ x, scheme), quantize(w, scheme)
    assert repr(q) == repr(plain)
    assert moved(w, q, x) < 0.7 * moved(w, plain, x)


def test_a_later_input_takes_the_error_back():
    # The first two inputs agree, and the third sets the scale to 1: what rounding takes from one weight, the next gets.
    w = tercel.tensor([[0.45, 0.4, 7.0]])
    h = np.eye(3)
    h[0, 1] = h[1, 0] = 0.999
    assert quantize(w, "int4").dequantize()[0].tolist() == [0.0, 0.0, 7.0]
    assert gptq(w, h, "int4", damp=0.0).dequantize()[0].tolist() == [0.0, 1.0, 7.0]


def test_uncorrelated_inputs_round_to_nearest():
    w = tercel.randn(5, 64)
    q, plain = gptq(w, np.eye(64), "int4-g32-zp"), quantize(w, "int4-g32-zp")
    assert tercel.equal(q.values, plain.values) and tercel.equal(q.scales, plain.scales)


def test_model():
    rng = np.random.default_rng(1)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 8), nn.Linear(8, 8))
    unused = nn.Linear(8, 8)
    model.add_module("unused", unused)
    model.forward = lambda x: model[2](model[1](model[0](x)))
    x = tercel.from_numpy(correlated(rng, 300, 64))
    want = model(x).detach()
    plain = quantization.quantize_(nn.Sequential(model[0], model[1], model[2]), "int4-g16")(x)
    first = model[0]
    quantize_gptq_(model, "int4-g16", lambda m: m(x), lambda module, name: name != "3")
    assert isinstance(model[0], QuantizedLinear) and model[0].bias is first.bias
    assert type(model[3]) is nn.Linear
    assert not first._forward_pre_hooks
    near = model.unused.weight  # saw no input: to nearest
    assert tercel.equal(near.values, quantize(unused.weight, "int4-g16").values)
    assert ((model(x) - want) ** 2).mean() < 0.7 * ((plain - want) ** 2).mean()


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"h \[in, in\]"):
        gptq(tercel.ones(3, 4), np.eye(3))
    with pytest.raises(ValueError, match="there are"):
        quantize_gptq_(nn.Linear(2, 2), "int5", lambda m: None)
    assert gptq(tercel.zeros(3, 4), np.zeros((4, 4)), "int8").dequantize().sum() == 0
