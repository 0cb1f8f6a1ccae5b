"""tercel: a compact deep-learning framework with PyTorch's names.

Functions are the C++ functions themselves. Sub-packages and NumPy are imported on first use, so that
`import tercel` stays cheap.
"""

from math import e, inf, nan, pi

from . import _core
from ._core import *  # noqa: F403
from ._core import Generator, Size, Tensor, default_generator, device, dtype
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)

_config = _core._config()
__version__: str = _config["version"]

newaxis = None

# Names that live in sub-modules and are loaded when first used.
_SUBMODULES = (
    "accelerator",
    "amp",
    "autograd",
    "backends",
    "compiler",
    "cuda",
    "datasets",
    "distributed",
    "func",
    "hub",
    "io",
    "jit",
    "linalg",
    "multiprocessing",
    "nn",
    "optim",
    "quantization",
    "random",
    "serialization",
    "special",
    "storage",
    "testing",
    "types",
    "utils",
    "version",
)
_LAZY = {
    "save": "serialization",
    "load": "serialization",
    "from_numpy": "_numpy",
    "asarray": "_numpy",
    "set_printoptions": "_printing",
    "get_rng_state": "random",
    "set_rng_state": "random",
    "manual_seed": "random",
    "seed": "random",
    "initial_seed": "random",
    "fork_rng": "random",
    "finfo": "_finfo",
    "iinfo": "_finfo",
    "show_config": "collect_env",
    "TypedStorage": "storage",
    "UntypedStorage": "storage",
    "is_storage": "storage",
    "use_deterministic_algorithms": "_determinism",
    "are_deterministic_algorithms_enabled": "_determinism",
    "autocast": "amp",
    "is_autocast_enabled": "amp",
    "get_autocast_dtype": "amp",
    "set_autocast_dtype": "amp",
    "set_autocast_enabled": "amp",
    "GradScaler": "amp",
    "get_float32_matmul_precision": "_determinism",
    "set_float32_matmul_precision": "_determinism",
    **dict.fromkeys(
        (
            "cholesky",
            "cholesky_inverse",
            "cholesky_solve",
            "det",
            "inverse",
            "logdet",
            "matrix_exp",
            "pinverse",
            "qr",
            "slogdet",
            "svd",
        ),
        "linalg._plain",
    ),
    "mvlgamma": "special",
    **dict.fromkeys(
        (
            "channels_last",
            "channels_last_3d",
            "contiguous_format",
            "layout",
            "memory_format",
            "preserve_format",
            "strided",
        ),
        "_formats",
    ),
    **dict.fromkeys(
        (
            "BFloat16Tensor",
            "BoolTensor",
            "ByteTensor",
            "CharTensor",
            "DoubleTensor",
            "FloatTensor",
            "HalfTensor",
            "IntTensor",
            "LongTensor",
            "ShortTensor",
            "set_default_tensor_type",
            "typename",
        ),
        "_legacy",
    ),
    **dict.fromkeys(
        (
            "_assert",
            "compile",
            "conj",
            "conj_physical",
            "fill",
            "get_num_interop_threads",
            "is_conj",
            "is_inference",
            "is_neg",
            "is_nonzero",
            "is_same_size",
            "is_signed",
            "isreal",
            "real",
            "resolve_conj",
            "resolve_neg",
            "scalar_tensor",
            "set_flush_denormal",
            "set_num_interop_threads",
            "to_dlpack",
        ),
        "_small",
    ),
}


def __getattr__(name: str):
    from importlib import import_module as _import_module

    if name in _LAZY:
        value = getattr(_import_module(f"{__name__}.{_LAZY[name]}"), name)
    elif name in _SUBMODULES:
        value = _import_module(f"{__name__}.{name}")
    elif name.startswith("_foreach_"):
        value = _import_module(f"{__name__}._foreach").function(name)
    elif name.endswith("_") and not name.startswith("_") and hasattr(Tensor, name):
        value = getattr(Tensor, name)  # relu_(x) is x.relu_()
    else:
        raise AttributeError(f"module 'tercel' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_SUBMODULES, *_LAZY})


__all__ = [
    "e",
    "inf",
    "nan",
    "pi",
    "Generator",
    "Size",
    "Tensor",
    "default_generator",
    "device",
    "dtype",
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    *(name for name in dir(_core) if not name.startswith("_")),
]
