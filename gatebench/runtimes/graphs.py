"""CUDA graphs: work on inputs of one fixed shape, recorded once and replayed, so that launching it takes next to no time.

A graph cannot leave work out, so a network that decides per input needs one for each pattern of decisions. The network itself says which
pieces to record: `GatedModel.recorded` takes a `Recorder`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the recording, in which cuDNN chooses its kernels and memory is set aside."""


class Graph:
    """A function of one tensor of a fixed shape, recorded. Every call returns the same tensors, overwritten."""

    def __init__(self, work: Callable[[Tensor], Any], example: Tensor, pool: Any = None):
        """Graphs may share a `pool` of memory (torch.cuda.graph_pool_handle) if the result of one is used before the next is replayed."""
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


class Recorder:
    """Records the pieces of one network: `record(work, example)` returns a `Graph`."""

    def __init__(self):
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[Tensor], Any], example: Tensor, share_memory: bool = False) -> Graph:
        """A graph of `work`, a function of one tensor with the shape of `example`.

        `share_memory`: it shares memory with the other graphs recorded so; the result of one must be used before another is replayed.
        """
        return Graph(work, example, self.pool if share_memory else None)
