"""Residual networks whose blocks can be left out per input: y = relu(x + gate F(x)).

Shapes: N inputs, B blocks, one switch a block, C channels, H x W pixels.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...contract import Execution, Output, Unit
from ...gating import straight_through
from ...measure.macs import count_macs, count_params
from ...pieces import Piece
from ..backbones.resnet import ResidualTrunk
from ..backbones.static import StaticPath
from .execution import apart, run_blocks
from .graphs import GraphedBlocks
from .pieces import pieces

State = tuple[Tensor, ...]
"""What a gate carries from block to block, batch first; its rows move with those of x."""
Paths = tuple[Tensor, Tensor]
"""A block's shortcut(x) and F(x)."""


class BlockGatedResNet(ResidualTrunk):
    """A residual network with one gate a block. A method says when it decides and gives the logits; execution is shared.

    A method may override `start` and `logits` (or `up_front_logits`), `relax`, `residual` and `combine`, and `forward` as a whole.
    """

    when: Literal["up-front", "before", "after"]
    """For all blocks at once from the stem's output; for each before F(x) is computed; or only from F(x), which saves nothing."""
    threshold: float = 0.5
    """A block runs where sigmoid(logit) is above this, unless the `policy` of an inference is another threshold."""
    always_on: int = 0
    """First blocks that have no gate; they become a part of the stem."""

    def __init__(self, *arguments, **options):
        """As `ResidualTrunk`."""
        super().__init__(*arguments, **options)
        self.shapes = super().map_shapes()[self.always_on :]
        if self.always_on:
            self.stem = nn.Sequential(*self.stem, *self.blocks[: self.always_on])
            self.blocks = self.blocks[self.always_on :]
        self.units = [
            Unit(f"blocks.{index}", "block", 1, count_macs(block.residual, shape), count_params(block.residual))
            for index, (block, shape) in enumerate(zip(self.blocks, self.map_shapes()[:-1], strict=True))
        ]

    def map_shapes(self) -> list[tuple[int, int, int, int]]:
        """As `ResidualTrunk.map_shapes`, of the blocks that have a gate."""
        return self.shapes

    def start(self, x: Tensor) -> State:
        """The gates' state before the first block, from the stem's output [N, C, H, W]."""
        return ()

    def up_front_logits(self, x: Tensor) -> Tensor:
        """Gate logits [N, B] from the stem's output; where `when` is "up-front"."""
        raise NotImplementedError

    def logits(self, index: int, x: Tensor, state: State, paths: Paths | None) -> tuple[Tensor, State]:
        """Gate logits [N] of a block from its input x, and the state after it; where `when` is "before" or, with its paths, "after"."""
        raise NotImplementedError

    def relax(self, logits: Tensor) -> Tensor:
        """Gates [N] of a block in training, from its logits; here hard ones with the sigmoid's gradient."""
        return straight_through(torch.sigmoid(logits), self.threshold)

    def residual(self, index: int, x: Tensor, state: State) -> Tensor:
        """F(x) of a block [N, C, H, W]. `state` is that after `logits`; that of `start` under imposed decisions, which evaluate no gate."""
        return self.blocks[index].residual(x)

    def combine(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """A block's output [N, C, H, W] from its two paths, of which a gate may have scaled the second. At inference it may write to
        `shortcut`. With a residual of 0 it must give what `ResidualBlock.skip` gives."""
        if self.training or torch.is_grad_enabled():
            return F.relu(shortcut + residual)
        return F.relu_(shortcut.add_(residual))

    def forward(self, x: Tensor) -> Output:
        """Relaxed gates [N, B]; every block is computed. `details` hold the gate logits [N, B]."""
        x = self.stem(x)
        state, gates, seen = self.start(x), [], []
        up_front = self.up_front_logits(x) if self.when == "up-front" else None
        for index, block in enumerate(self.blocks):
            if up_front is not None:
                logits = up_front[:, index]
            elif self.when == "before":
                logits, state = self.logits(index, x, state, None)
            shortcut, residual = block.shortcut(x), self.residual(index, x, state)
            if self.when == "after":
                logits, state = self.logits(index, x, state, (shortcut, residual))
            seen.append(logits)
            gates.append(self.relax(logits))
            x = self.combine(shortcut, residual * gates[-1].to(residual.dtype)[:, None, None, None])
        return Output(self.classify(x), torch.stack(gates, 1), details={"gate_logits": torch.stack(seen, 1)})

    @cached_property
    def standard(self) -> bool:
        """Whether a block that is on is just the trunk's, so that it can be run as it is."""
        return type(self).residual is BlockGatedResNet.residual and type(self).combine is BlockGatedResNet.combine

    def run_block(self, index: int, x: Tensor, state: State) -> Tensor:
        """A block with F(x), for every row of x; may overwrite x."""
        block = self.blocks[index]
        return block(x) if self.standard else self.combine(block.shortcut(x), self.residual(index, x, state))

    def run(self, x: Tensor, on: Sequence[bool]) -> Tensor:
        """Logits from the stem's output, of the network with only those blocks that are on [B]."""
        if self.standard:
            return super().run(x, on)
        state = apart(self.start(x), x)
        for index, runs in enumerate(on):
            x = self.run_block(index, x, state) if runs else self.blocks[index].skip(x)
        return self.classify(x)

    @property
    def fixed_policies(self) -> dict[str, float]:
        return {"all on": -1.0, "all off": 1.0}  # a sigmoid can be 0 in single precision, and is not above it then

    def references(self) -> dict[str, nn.Module]:
        return {"its static twin": StaticPath(self)}

    def recorded(self, example: Tensor, record: Callable[..., Callable[[Tensor], Any]]) -> GraphedBlocks:
        return GraphedBlocks(self, example, record)

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        return pieces(self, decided, most)

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: float | None) -> Output:
        return run_blocks(self, x, execution, decisions, self.threshold if policy is None else policy)
