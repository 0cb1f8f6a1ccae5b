"""Version of the package, under the names of `torch.version`."""

from . import _config

__version__: str = _config["version"]
git_version: str = _config["git_hash"]
debug = False
cuda: str | None = (
    None  # of a toolkit the package was linked to: its device library is loaded at run time
)
hip: str | None = None
xpu: str | None = None
