"""Networks without gates: on a trunk of their own, or as the static twin of a gated one.

Shapes: N inputs, C channels, H x W pixels.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ...contract import Execution, Output
from ...pieces import Piece, whole


class Static:
    """What a network without gates promises; it has no units. Mixed into a `GatedModel` that has `static_logits`."""

    def forward(self, x: Tensor) -> Output:
        return Output(self.static_logits(x))

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        """There is nothing to decide: every execution is the dense one."""
        nothing = torch.zeros(len(x), 0, dtype=torch.bool, device=x.device)
        return Output(self.static_logits(x), decisions=nothing, count=self.counting(nothing))

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        return whole(StaticPath(self), self.macs_static)


class StaticPath(nn.Module):
    """The static twin: a trunk without its gates, over the same weights: images [N, C, H, W] -> logits [N, classes]."""

    def __init__(self, trunk: nn.Module):
        """`trunk` has `static_logits`."""
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk.static_logits(x)
