"""What a call of a network runs, seen from torch's dispatcher: its products in order, and whether it decides anything from its input.

Shapes: B inputs a call.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..measure.watching import Watching

PRODUCT = re.compile(r"conv|mm|mv|dot|matmul|linear|attention|transformer|lstm|gru|rnn|bilinear|cdist|einsum")
"""In the names of operations that take nearly all of a network's time."""
READ = re.compile(r"item|_local_scalar_dense|is_nonzero|nonzero\w*|masked_select|_?unique\w*|equal|allclose")
"""Names of operations whose result Python branches on, or whose shape depends on values."""
SELECTIONS = frozenset({"index", "where"})
"""Names of those that do so in one of their forms."""
PICKS = frozenset({"sort", "argsort", "topk"})
"""Names of those that give numbers of entries, such as of tokens that are kept, last in their result."""
DROPS = "bernoulli_"
"""Draws with one probability for all, as dropout does: it decides nothing from the input."""
NUMPY, THREADS = "NumPy", "other threads"
"""Where work is done that torch's dispatcher does not see."""
TO_NUMPY = Tensor.numpy
SMALL = 4096
"""Numbers of an input above which a tensor of zeros and ones is no decision."""


@dataclass
class Trace:
    """One call."""

    products: list[tuple[int, ...]] = field(default_factory=list)
    """Shapes of the results of convolutions, matrix products and the like, in order. Folded norms leave them as they are."""
    operations: int = 0
    reads: bool = False
    """Whether values of tensors were read, as by bool(x > 0)."""
    flags: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """Small tensors of nothing but zeros and ones, or of picks: number of the operation -> products before it, content."""
    unseen: frozenset[str] = frozenset()
    """Where it does work that is not seen."""


class Tracing(Watching):
    """Fills `trace` with what runs inside on calls of `batch` inputs."""

    def __init__(self, batch: int):
        super().__init__()
        self.batch, self.trace = batch, Trace()

    def see(self, operation, args, kwargs):
        result = operation(*args, **kwargs)
        name, is_product = _kind(operation)
        trace = self.trace
        trace.operations += 1
        trace.reads |= bool(READ.fullmatch(name)) or (name in SELECTIONS and _selects(name, args))
        first = result[0] if isinstance(result, (tuple, list)) and result else result
        if is_product:
            trace.products.append(tuple(first.shape) if isinstance(first, Tensor) else ())
        elif name in PICKS:
            picks = result if isinstance(result, Tensor) else result[-1]
            if picks.numel() <= SMALL * self.batch:
                self._flag(picks)
        elif name != DROPS and isinstance(first, Tensor) and self._may_decide(first):
            ones = first == 1
            if bool((ones | (first == 0)).all()):
                self._flag(ones)
        return result

    def _flag(self, decisions: Tensor) -> None:
        self.trace.flags[self.trace.operations] = len(self.trace.products), TO_NUMPY(decisions.cpu()).tobytes()

    def _may_decide(self, x: Tensor) -> bool:
        """Whether a tensor has the form of gates: for each input some numbers, or a map of one channel; an activation is larger."""
        if x.layout != torch.strided or not (x.dtype == torch.bool or x.is_floating_point()) or not 0 < x.numel() <= SMALL * self.batch:
            return False
        wide = [size for size in x.shape[1:] if size > 1]
        return len(wide) < 2 or (x.dim() == 4 and x.shape[1] == 1)


@contextmanager
def leaving(batch: int) -> Iterator[set[str]]:
    """Where work goes inside that torch's dispatcher does not see, as far as Python is asked for it, on calls of `batch` inputs."""
    places: set[str] = set()

    def noting(method: Callable, place: str) -> Callable:
        def noted(self, *args, **kwargs):
            if place != NUMPY or self.numel() > batch:  # one number of an input is a decision
                places.add(place)
            return method(self, *args, **kwargs)

        return noted

    with ExitStack() as stack:
        for owner, name, place in ((Tensor, "numpy", NUMPY), (threading.Thread, "start", THREADS), (ThreadPoolExecutor, "submit", THREADS)):
            stack.enter_context(mock.patch.object(owner, name, noting(getattr(owner, name), place)))
        yield places


class Borrowing(Watching):
    """Finds out whether what runs inside reads the weights of a network."""

    def __init__(self, lender: nn.Module):
        super().__init__()
        self.lent = {_storage(each) for each in (*lender.parameters(), *lender.buffers())} - {None}
        self.found = False

    def see(self, operation, args, kwargs):
        self.found |= any(_storage(each) in self.lent for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))
        return operation(*args, **kwargs)


def decides(traces: Sequence[Trace]) -> bool:
    """Whether calls take decisions that differ: other products, or others of zeros, ones and picks before the last one."""
    last = len(traces[0].products)
    if any(trace.products != traces[0].products for trace in traces):
        return True
    shared = set.intersection(*(set(trace.flags) for trace in traces))
    return any(len({trace.flags[place] for trace in traces}) > 1 and traces[0].flags[place][0] < last for place in shared)


@cache
def _kind(operation) -> tuple[str, bool]:
    """An operation's name without its package, and whether it is a product."""
    schema = getattr(operation, "_schema", None)
    name = schema.name.partition("::")[2] if schema else str(operation)
    return name, bool(PRODUCT.search(name)) and "upsample" not in name


def _selects(name: str, arguments: tuple) -> bool:
    """Whether x[mask] or where(mask) finds out which entries are set."""
    if name == "where":
        return len(arguments) == 1
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in arguments[1])


def _storage(x: Tensor) -> int | None:
    """What a tensor shares with its views; None of one without a storage."""
    try:
        return x.untyped_storage().data_ptr() or None
    except (NotImplementedError, RuntimeError):
        return None
