"""What networks without gates have in common: one execution, and nothing to decide.

Shapes: N inputs, C channels, H x W pixels.
"""

from typing import Any

import torch
from torch import Tensor

from ...contract import Execution, Output


class Static:
    """A trunk that decides nothing; it has no units. Mixed into a trunk that has `static_logits`."""

    def forward(self, x: Tensor) -> Output:
        return Output(self.static_logits(x))

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        """There is nothing to decide: every execution is the dense one."""
        nothing = torch.zeros(len(x), 0, dtype=torch.bool, device=x.device)
        return Output(self.static_logits(x), decisions=nothing, count=self.counting(nothing))
