"""`torch.hub` for programs that import it: nothing is downloaded, and pickle files are not read."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["load", "load_state_dict_from_url"]


def load_state_dict_from_url(url: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError(
        f"load_state_dict_from_url: tercel downloads nothing and reads no pickle files, got {url!r}; "
        "convert the weights to a safetensors file where PyTorch is, and use tercel.load(path)"
    )


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError(
        f"hub.load: tercel downloads nothing, got {repo_or_dir!r}, {model!r}; import the model's code instead"
    )
