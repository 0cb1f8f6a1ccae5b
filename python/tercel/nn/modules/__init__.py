"""PyTorch's file names of the layers: `from tercel.nn.modules.batchnorm import _BatchNorm` finds what nn/norm.py has.

Each entry of _FILES is a module that looks its names up in files of `tercel.nn`; all of `tercel.nn` is here too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_NN = __name__.rpartition(".")[0]
_FILES = {
    "activation": "activation",
    "batchnorm": "norm lazy",
    "channelshuffle": "shape",
    "container": "containers parameter_containers",
    "conv": "conv lazy",
    "distance": "distance",
    "dropout": "dropout",
    "flatten": "shape",
    "fold": "shape",
    "instancenorm": "norm lazy",
    "lazy": "lazy",
    "linear": "linear lazy",
    "loss": "loss margin_loss",
    "module": "module _hooks",
    "normalization": "norm",
    "padding": "padding",
    "pixelshuffle": "shape",
    "pooling": "pooling",
    "sparse": "embedding",
    "upsampling": "shape",
    "utils": "_sizes",
}


class _File(ModuleType):
    def __getattr__(self, name: str) -> Any:
        own = self.__name__.rpartition(".")[2]
        for file in () if name.startswith("__") else _FILES[own].split():
            found = getattr(import_module(f"{_NN}.{file}"), name, None)
            if found is not None:
                setattr(self, name, found)
                return found
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


for _name in _FILES:
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _File(f"{__name__}.{_name}")


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        found = getattr(sys.modules[_NN], name, None)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
