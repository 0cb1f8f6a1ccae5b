"""Names of PyTorch that say little here: predicates, and the parts of complex numbers of tensors that are real."""

from __future__ import annotations

from . import _core
from ._core import Tensor


def is_nonzero(input) -> bool:
    """bool(input) of a tensor with one element."""
    return bool(input)


def is_same_size(input, other) -> bool:
    """True if the shapes are equal."""
    return input.shape == other.shape


def is_set_to(input, tensor) -> bool:
    """True if both have the same memory, shape and strides."""
    return (
        input.data_ptr() == tensor.data_ptr()
        and input.shape == tensor.shape
        and input.stride() == tensor.stride()
    )


def is_inference(input) -> bool:
    """True for a tensor made in inference mode."""
    return input._is_inference()


def real(input) -> Tensor:
    """The tensor itself: complex dtypes are not provided."""
    return input


def conj(input) -> Tensor:
    """The tensor itself: complex dtypes are not provided."""
    return input


conj_physical = resolve_conj = resolve_neg = conj


def is_conj(input) -> bool:
    """False: complex dtypes are not provided."""
    return False


is_neg = is_conj


def isreal(input) -> Tensor:
    """True for every element: complex dtypes are not provided."""
    return _core.ones_like(input, dtype=_core.bool)


def scalar_tensor(
    s, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False
):
    """0-d tensor of a number, in the default dtype unless one is given."""
    dtype = _core.get_default_dtype() if dtype is None else dtype
    return _core.tensor(s, dtype=dtype, device=device, requires_grad=requires_grad)


def fill(input, value) -> Tensor:
    """A tensor like input with every element equal to value; the gradient goes to a tensor value."""
    return input.clone().fill_(value)


def sum_to_size(input, *size) -> Tensor:
    """Sums over the dimensions that broadcasting `size` to input's shape would expand."""
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    lead = input.dim() - len(shape)
    if lead < 0 or any(
        want not in (1, have) for want, have in zip(shape, input.shape[max(lead, 0) :])
    ):
        raise ValueError(
            f"sum_to_size: size {list(shape)} cannot be expanded to shape {list(input.shape)}"
        )
    dims = [d for d in range(input.dim()) if d < lead or shape[d - lead] != input.shape[d]]
    return input.sum(dims).reshape(shape) if dims else input.view_as(input)


def is_signed(input) -> bool:
    """True if the dtype can hold negative numbers."""
    return input.dtype.is_signed


def to_dlpack(tensor):
    """The tensor as a DLPack capsule, which from_dlpack of any library takes."""
    return tensor.__dlpack__()


def get_num_interop_threads() -> int:
    """1: operations run one after the other."""
    return 1


def set_num_interop_threads(num: int) -> None:
    """Accepted for compatibility: operations run one after the other, each on get_num_threads() threads."""
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        raise ValueError(f"set_num_interop_threads: expected a positive int, got {num!r}")


def set_flush_denormal(mode: bool) -> bool:
    """False, not supported: kernels never flush denormals."""
    return False


def _assert(condition, message) -> None:
    """`assert condition, message`, as a function."""
    if not condition:
        raise AssertionError(message)


def compile(model=None, **options):
    """Returns the function or module unchanged: there is no compiler. As a decorator too; options are ignored."""
    return (lambda fn: fn) if model is None else model
