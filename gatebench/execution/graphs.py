"""One input at a time on a GPU: the work recorded as CUDA graphs, so that launching it costs next to nothing.

A graph cannot leave work out, so a network that decides up front gets one for everything before its decisions and one for each
pattern of decisions that comes up; the host reads the decisions in between, once. The static twin gets a graph too.
Shapes: one input, B blocks.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..contract import Execution, Output
from ..gating import decide

if TYPE_CHECKING:
    from ..models.block_gated import BlockGatedResNet

MOST_PATTERNS = 2048
"""Patterns of decisions that are recorded; further ones are launched kernel by kernel, so that none is recorded while it is timed."""
WARM_UP = 3
"""Calls before the recording, in which cuDNN chooses its kernels and memory is set aside."""


class Graph:
    """A function of one tensor of a fixed shape, recorded; returns the same tensors, overwritten, at every call."""

    def __init__(self, work: Callable[[Tensor], Any], example: Tensor, pool: Any = None):
        """`pool` (of torch.cuda.graph_pool_handle) is shared by graphs of which one at a time is replayed and its result used."""
        self.input = example.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work(self.input)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=pool):
            self.output = work(self.input)

    def __call__(self, x: Tensor) -> Any:
        self.input.copy_(x)
        self.graph.replay()
        return self.output


class GraphedBlocks:
    """A block-gated network for one input at a time, with `infer` and `twin` as the network has them.

    Where it does not decide up front, the host would have to wait for every block's decision; there all blocks are computed, in
    one graph, and `executed` says so.
    """

    def __init__(self, net: "BlockGatedResNet", example: Tensor):
        self.net, self.example = net, example
        self.deciding: dict[float, Graph] = {}
        self.masked: dict[float, Graph] = {}
        self.rest: dict[tuple, Graph] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.net, name)

    def infer(self, x: Tensor, execution: Execution = "sparse", decisions: Tensor | None = None, policy: float | None = None) -> Output:
        decisions = self.net.checked(x, execution, decisions)
        threshold = self.net.threshold if policy is None else policy
        if execution == "masked" and decisions is not None:
            return self.net.infer(x, execution, decisions, policy)
        if execution == "masked" or (decisions is None and self.net.decides != "up-front"):
            if threshold not in self.masked:
                self.masked[threshold] = Graph(lambda y: self.net.infer(y, "masked", policy=threshold), x)
            return self.masked[threshold](x)
        if decisions is not None:
            logits = self._pattern(tuple(decisions.tolist()[0]), x, from_image=True)(x)
            return Output(logits, None, decisions=decisions, executed=decisions)
        if threshold not in self.deciding:
            self.deciding[threshold] = Graph(lambda y: self._decide(y, threshold), x)
        y, gates, on = self.deciding[threshold](x)
        logits = self._pattern(tuple(on.tolist()[0]), y, from_image=False)(y)
        return Output(logits, gates, decisions=on, executed=on)

    def twin(self) -> Graph:
        return Graph(self.net.twin(), self.example)

    def _decide(self, x: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        x = self.net.stem(x)
        return x, *decide(self.net.up_front_logits(x), threshold)

    def _pattern(self, on: tuple[bool, ...], example: Tensor, from_image: bool) -> Callable[[Tensor], Tensor]:
        """The blocks that are on, and the classifier; from the image, or from the stem's output."""

        def work(x: Tensor) -> Tensor:
            return self.net.run(self.net.stem(x) if from_image else x, on)

        key = (from_image, on)
        if key not in self.rest:
            if len(self.rest) >= MOST_PATTERNS:
                return work
            self.rest[key] = Graph(work, example, self.pool)
        return self.rest[key]
