"""Quantised weights: schemes, QTensor, and `quantize_` for models.

    q = tercel.quantization.quantize(weight, "int4-g32")     # a QTensor: codes, scales, zero points
    y = nn.functional.linear(x, q, bias)                     # decoded on the fly
    tercel.quantization.quantize_(model, "int8-dynamic")     # replaces the weights of its Linear layers

`schemes()` lists the schemes. A QTensor is frozen: gradients flow through it to the input, not into it.
"""

from .._core import QTensor
from .modules import QuantizedLinear, quantize_
from .qtensor import from_state, load, quantize, save, to_state
from .schemes import Scheme, parse, schemes

__all__ = [
    "QTensor",
    "QuantizedLinear",
    "Scheme",
    "from_state",
    "load",
    "parse",
    "quantize",
    "quantize_",
    "save",
    "schemes",
    "to_state",
]
