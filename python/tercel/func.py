"""Functions of modules (`torch.func`): functional_call."""

from .nn.utils.stateless import functional_call

__all__ = ["functional_call"]
