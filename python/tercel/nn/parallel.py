"""DataParallel on one device; DistributedDataParallel is a name that raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core
from .module import Module

__all__ = ["DataParallel", "DistributedDataParallel"]


class DataParallel(Module):
    """Calls `module`, whose parameters get the prefix "module.". There are no replicas: with several CUDA devices
    give `device_ids=[i]`, as PyTorch does by itself where there is one device or none. `dim` is not used."""

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        count = _core._cuda_device_count() if device_ids is None else len(device_ids)
        if count > 1:
            raise NotImplementedError(
                f"DataParallel: expected one device, got {count}; replicas are not provided, pass device_ids=[0]"
            )
        self.dim = dim
        self.module = module
        self.device_ids = list(range(count)) if device_ids is None else list(device_ids)
        self.output_device = output_device

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """Raises NotImplementedError when it is made."""

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("DistributedDataParallel: tercel trains in one process")
