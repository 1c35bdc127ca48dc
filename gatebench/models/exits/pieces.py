"""A network with exits as pieces without branches: up to each exit that its policy asks, and whether an input leaves there.

Shapes: one input, C channels or classes, H x W pixels.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...gating import sureness
from ...pieces import Piece
from .policy import ExitPolicy

if TYPE_CHECKING:
    from .network import EarlyExit


class UpTo(nn.Module):
    """Segments up to an exit, its head, and whether the input leaves."""

    def __init__(self, segments: list[nn.Module], head: nn.Module, number: int, policy: ExitPolicy, last: bool):
        super().__init__()
        self.segments, self.head = nn.Sequential(*segments), head
        self.rule, self.last = policy.rule, last
        self.temperature = policy.temperatures[number] if policy.temperatures else 1.0
        self.threshold = None if last else policy.thresholds[number]

    def forward(self, x: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        """`before` are, where patience counts, the answer [1] so far and how many exits agreed on it [1]."""
        x = self.segments(x)
        logits = self.head(x)
        if self.last:
            return (logits,)
        scores, kept = self._scores(logits.float() / self.temperature, before)
        return x, logits, (scores >= self.threshold)[:, None].to(torch.uint8), *kept

    def _scores(self, logits: Tensor, before: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.rule != "patience":
            return sureness(logits, self.rule), ()
        answer = logits.argmax(1)
        agreed = torch.where(answer == before[0], before[1] + 1, 1) if before else torch.ones_like(answer)
        return agreed, (answer, agreed)


def pieces(net: "EarlyExit") -> dict[str, Piece]:
    """As `GatedModel.pieces`, by the network's own policy."""
    policy, made, first, begin = net.policy, {}, "image", 0
    kept = ("answer", "agreed") if policy.rule == "patience" else ()
    asked = [number for number, asks in enumerate(policy.asked) if asks]
    for place, number in enumerate(asked):
        last = number == net.exits - 1
        on = (*(2 * each for each in range(begin, number + 1)), 2 * number + 1)
        outputs = ("logits",) if last else ("x", "logits", "bits", *kept)
        following = None if last else {"0": f"exit {asked[place + 1]}", "1": ""}
        module = UpTo(list(net.segments[begin : number + 1]), net.heads[number], number, policy, last)
        macs = sum(net.units[each].macs for each in on)
        made[f"exit {number}"] = Piece(module, (first, *(kept if place else ())), outputs, on, macs, following)
        first, begin = "x", number + 1
    return made
