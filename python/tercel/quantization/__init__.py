"""Quantised weights: schemes, QTensor, and `quantize_` for models.

    q = tercel.quantization.quantize(weight, "int4-g32")     # a QTensor: codes, scales, zero points
    y = nn.functional.linear(x, q, bias)                     # decoded on the fly
    tercel.quantization.quantize_(model, "int8-dynamic")     # replaces the weights of its Linear layers
    quantize_gptq_(model, "int4-g32-zp", lambda m: m(x))     # rounding that knows typical inputs
    convert_to_fp8_training(model)                           # float8 products inside amp.fp8_autocast

`schemes()` lists the schemes. A QTensor is frozen: gradients flow through it to the input, not into it.
"""

from .._core import QTensor
from .fp8 import Fp8Linear, convert_to_fp8_training
from .gptq import gptq, quantize_gptq_
from .modules import QuantizedLinear, quantize_
from .qtensor import from_state, load, quantize, save, to_state
from .schemes import Scheme, parse, schemes

__all__ = [
    "Fp8Linear",
    "QTensor",
    "QuantizedLinear",
    "Scheme",
    "convert_to_fp8_training",
    "from_state",
    "gptq",
    "load",
    "parse",
    "quantize",
    "quantize_",
    "quantize_gptq_",
    "save",
    "schemes",
    "to_state",
]
