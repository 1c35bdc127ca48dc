"""Residual networks whose blocks can be left out per input: y = relu(x + gate F(x)).

Shapes: N inputs, B blocks, one switch a block.
"""

from typing import Literal

from torch import Tensor

from ..contract import Execution, Output, Unit
from ..execution.blocks import run_blocks
from ..execution.graphs import GraphedBlocks
from ..measure.macs import count_macs, count_params
from .resnet import ResNet, StaticPath


class BlockGatedResNet(ResNet):
    """A residual network with one gate a block. A method says when it decides and gives the logits; execution is shared."""

    decides: Literal["up-front", "before", "after"]
    """All blocks at once from the stem's output; each block before F(x) is computed; or only from F(x), which saves nothing."""
    threshold: float = 0.5
    """A block runs where sigmoid(logit) is above this, unless the `policy` of an inference is another threshold."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.units = [
            Unit(f"blocks.{index}", "block", 1, count_macs(block.residual, shape), count_params(block.residual))
            for index, (block, shape) in enumerate(zip(self.blocks, self.map_shapes()[:-1], strict=True))
        ]

    @property
    def fixed_policies(self) -> dict[str, float]:
        return {"all on": -1.0, "all off": 1.0}  # a sigmoid can be 0 in single precision, and is not above it then

    def twin(self) -> StaticPath:
        return StaticPath(self)

    def recorded(self, example: Tensor) -> GraphedBlocks:
        return GraphedBlocks(self, example)

    def up_front_logits(self, x: Tensor) -> Tensor:
        """Gate logits [N, B] from the stem's output; where `decides` is "up-front"."""
        raise NotImplementedError

    def logits_before(self, index: int, x: Tensor) -> Tensor:
        """Gate logits [N] of one block from its input x; where `decides` is "before"."""
        raise NotImplementedError

    def logits_after(self, index: int, x: Tensor, shortcut: Tensor, residual: Tensor) -> Tensor:
        """Gate logits [N] of one block from its input x and its two paths; where `decides` is "after"."""
        raise NotImplementedError

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: float | None) -> Output:
        return run_blocks(self, x, execution, decisions, self.threshold if policy is None else policy)
