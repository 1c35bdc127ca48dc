"""Modes that see every operation of torch which runs inside them."""

import contextlib
import sys
from contextlib import AbstractContextManager

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Watching(TorchDispatchMode):
    """Hands every operation to `see`, also those in the branch that `torch.cond` takes."""

    supports_higher_order_operators = True

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation is torch.ops.higher_order.cond:
            condition, yes, no, operands = args
            with self:
                return (yes if condition else no)(*operands)
        return self.see(operation, args, kwargs or {})

    def see(self, operation, args: tuple, kwargs: dict):
        """Run an operation and give its result; the mode is off meanwhile."""
        raise NotImplementedError


def uncompiled() -> AbstractContextManager:
    """Inside, what `torch.compile` was asked to compile runs as it was written: the operations of compiled code are not seen.

    Nothing is loaded for it: before anything was compiled it does nothing.
    """
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else contextlib.nullcontext()
