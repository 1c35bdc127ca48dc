"""Block-gated networks one input at a time out of recorded pieces, so that launching them on a GPU costs next to nothing.

A recorded piece cannot leave work out, so a network that decides up front gets one for everything before its decisions and one for
each pattern of decisions that comes up; the host reads the decisions in between, once. The static twin is one piece.
Shapes: one input, B blocks.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...contract import Execution, Output
from ...gating import decide

if TYPE_CHECKING:
    from .network import BlockGatedResNet

MOST_PATTERNS = 2048
"""Patterns of decisions that are recorded; further ones are launched kernel by kernel, so that none is recorded while it is timed."""
Piece = Callable[[Tensor], Any]


class GraphedBlocks:
    """A block-gated network for one input at a time, with `infer` and `references` as the network has them.

    Where it does not decide up front, the host would have to wait for every block's decision; there all blocks are computed, in one
    piece, and the executed MACs say so.
    """

    def __init__(self, net: "BlockGatedResNet", example: Tensor, record: Callable[..., Piece]):
        self.net, self.example, self.record = net, example, record
        self.deciding: dict[float, Piece] = {}
        self.masked: dict[float, Piece] = {}
        self.rest: dict[tuple, Piece] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)

    def infer(self, x: Tensor, execution: Execution = "sparse", decisions: Tensor | None = None, policy: float | None = None) -> Output:
        decisions = self.net.checked(x, execution, decisions)
        threshold = self.net.threshold if policy is None else policy
        if execution == "masked" and decisions is not None:
            return self.net.infer(x, execution, decisions, policy)
        if execution == "masked" or (decisions is None and self.net.when != "up-front"):
            if threshold not in self.masked:
                self.masked[threshold] = self.record(lambda y: self.net.infer(y, "masked", policy=threshold), x)
            return self.masked[threshold](x)
        if decisions is not None:
            logits = self._pattern(tuple(decisions.tolist()[0]), x, from_image=True)(x)
            return Output(logits, None, decisions, count=self.net.counting(decisions, deciding=False))
        if threshold not in self.deciding:
            self.deciding[threshold] = self.record(lambda y: self._decide(y, threshold), x)
        y, gates, on = self.deciding[threshold](x)
        logits = self._pattern(tuple(on.tolist()[0]), y, from_image=False)(y)
        return Output(logits, gates, on, count=self.net.counting(on))

    def references(self) -> dict[str, Piece]:
        return {name: self.record(module, self.example) for name, module in self.net.references().items()}

    def _decide(self, x: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        x = self.net.stem(x)
        return x, *decide(self.net.up_front_logits(x), threshold)

    def _pattern(self, on: tuple[bool, ...], example: Tensor, from_image: bool) -> Piece:
        """The blocks that are on, and the classifier; from the image, or from the stem's output."""

        def work(x: Tensor) -> Tensor:
            return self.net.run(self.net.stem(x) if from_image else x, on)

        key = (from_image, on)
        if key not in self.rest:
            if len(self.rest) >= MOST_PATTERNS:
                return work
            self.rest[key] = self.record(work, example, share_memory=True)  # one pattern at a time is replayed and its result used
        return self.rest[key]
