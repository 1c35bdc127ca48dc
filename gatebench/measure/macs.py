"""Multiply-accumulates (MACs) of what a module runs, counted operation by operation.

`formulas` says what an operation costs. One that does work and has no formula is named, and nothing that ran it has a count.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

from ..errors import GatebenchError
from . import formulas
from .watching import Watching, uncompiled

OUTSIDE = "a kernel outside of torch"
"""What is named where an operation reads a tensor that none has written."""
NORMS = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
"""They count nothing and are slow on the meta device, so they are left out there."""
HIDDEN = "prim::mkldnn_convolution"
"""What `torch.jit.optimize_for_inference` makes of a convolution; TorchScript runs it unseen."""


@dataclass(frozen=True)
class Count:
    """What one call ran."""

    macs: float
    """Of all operations whose MACs are known."""
    uncounted: tuple[str, ...] = ()
    """Names of the others; where there are any, `macs` is too small."""

    @property
    def certain(self) -> int:
        """The MACs. Raises GatebenchError where an operation is uncounted."""
        if self.uncounted:
            raise GatebenchError(
                f"There is no formula for the MACs of {', '.join(self.uncounted)}. Give one with"
                " torch.utils.flop_counter.register_flop_formula."
            )
        return int(self.macs)


def count_macs(module: nn.Module, *shapes: tuple[int, ...]) -> int:
    """MACs of one call of `module` on inputs of the given shapes.

    Runs on the meta device, without arithmetic. Convolutions and matrix products count, element-wise work does not, as is usual in the
    field; torch's own batch norms are left out, whatever they are given. Raises GatebenchError where it runs an operation of which the
    MACs are not known.
    """
    copied = copy.deepcopy(module).to("meta").eval()
    for part in copied.modules():
        if type(part) in NORMS and "forward" not in vars(part):
            part.forward = nn.Identity().forward
    return count(copied, *(torch.empty(shape, device="meta") for shape in shapes)).certain


def count(module: nn.Module, *inputs, call: Callable | None = None) -> Count:
    """What one call of `module` on these inputs runs; `call` is what is called, if not the module itself.

    Attention, recurrent layers and others are counted as the kernels that they run; what `torch.compile` compiles, as it was written. What
    runs in other threads is not seen.
    """
    with torch.no_grad(), uncompiled(), _Counter() as counter:
        (call or module)(*inputs)
    scripted = (getattr(part, "inlined_graph", None) for part in module.modules() if isinstance(part, torch.jit.ScriptModule))
    hidden = [HIDDEN for graph in scripted if graph and graph.findNode(HIDDEN)]
    return Count(counter.macs, tuple(sorted(counter.uncounted.union(hidden))))


def count_params(module: nn.Module) -> int:
    """Number of weights and biases, frozen ones too."""
    return sum(parameter.numel() for parameter in module.parameters())


class _Counter(Watching):
    """Adds up the MACs of what runs inside; of an operation that is made of others, those of the others."""

    def __init__(self):
        super().__init__()
        self.macs: float = 0
        self.uncounted: set[str] = set()
        self.unwritten: dict[int | None, Tensor] = {}
        """New tensors that no operation has written yet, by storage."""

    def see(self, operation, args, kwargs):
        name = formulas.base_name(operation)
        if name in SIZES:
            return operation(*args, **kwargs)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if isinstance(operation, OpOverload):
            if not formulas.own_formula(operation) and not any(each.is_nested for each in tensors):
                with self:
                    result = operation.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            if self.unwritten:
                self._follow(operation, args, kwargs, tensors)
        result = operation(*args, **kwargs)
        macs = formulas.macs(operation, args, kwargs, result)
        if macs is None:
            self.uncounted.add(name)
        else:
            self.macs += macs
        if name in NEW and result.layout == torch.strided and result.numel():
            self.unwritten[_storage(result)] = result
        return result

    def _follow(self, operation: OpOverload, args: tuple, kwargs: dict, tensors: list[Tensor]) -> None:
        """Note what an operation writes, and whether it reads what none has written."""
        given = dict(zip((each.name for each in operation._schema.arguments), args, strict=False)) | kwargs
        written = [given.get(each.name) for each in operation._schema.arguments if each.alias_info and each.alias_info.is_write]
        for each in tree_leaves(written):
            self.unwritten.pop(_storage(each), None)
        if not operation.is_view and any(_storage(each) in self.unwritten for each in tensors):
            self.uncounted.add(OUTSIDE)


def _storage(x) -> int | None:
    """What a tensor shares with its views, by number; None of anything without a storage."""
    return x.untyped_storage()._cdata if isinstance(x, Tensor) and x.layout == torch.strided and not x.is_nested else None


NEW = frozenset(f"aten::{each}" for each in ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"))
"""Operations that make a tensor without writing it."""
SIZES = frozenset(
    {"aten::is_non_overlapping_and_dense", "prim::layout", "prim::device"}.union(
        f"aten::{before}{size}"
        for size in ("size", "stride", "numel", "storage_offset", "dim", "is_contiguous", "is_strides_like_format")
        for before in ("", "sym_")
    )
)
"""What kinds of tensors that keep their sizes to themselves are asked; none of it is made of other operations."""
