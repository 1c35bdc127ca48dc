"""A network with exits as pieces without branches: up to each exit that its policy asks, and whether an input leaves there.

Shapes: one input, C channels or classes, H x W pixels.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...gating import sureness
from ...pieces import Piece, Step
from .policy import ExitPolicy

if TYPE_CHECKING:
    from .network import EarlyExit


class UpTo(nn.Module):
    """Segments up to an exit, its head, whether the input leaves, and what goes on, pooled where the next segment begins so."""

    def __init__(self, segments: list[nn.Module], head: nn.Module, pooling: nn.Module, number: int, policy: ExitPolicy, last: bool):
        super().__init__()
        self.segments, self.head, self.pooling = nn.Sequential(*segments), head, pooling
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
        return self.pooling(x), logits, scores >= self.threshold, *kept

    def _scores(self, logits: Tensor, before: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.rule != "patience":
            return sureness(logits, self.rule), ()
        answer = logits.argmax(1)
        agreed = torch.where(answer == before[0], before[1] + 1, 1) if before else torch.ones_like(answer)
        return agreed, (answer, agreed)


def pieces(net: "EarlyExit") -> dict[str, Piece]:
    """As `GatedModel.pieces`, by the network's own policy.

    A pooling at the border of two pieces belongs to the first: a quarter of the numbers is handed on, and runtimes pool what they have
    just computed in the layout they like, but what comes in from outside in a slow one.
    """
    policy, made, first, begin = net.policy, {}, "image", 0
    kept = ("answer", "agreed") if policy.rule == "patience" else ()
    asked = [number for number, asks in enumerate(policy.asked) if asks]
    for place, number in enumerate(asked):
        last = number == net.exits - 1
        on = (*(2 * each for each in range(begin, number + 1)), 2 * number + 1)
        outputs = ("logits",) if last else ("x", "logits", "bits", *kept)
        following = None if last else Step({"0": f"exit {asked[place + 1]}", "1": ""})
        segments = [_poolings(net.segments[begin])[1], *net.segments[begin + 1 : number + 1]]
        pooling = nn.Identity() if last else _poolings(net.segments[number + 1])[0]
        module = UpTo(segments, net.heads[number], pooling, number, policy, last)
        macs = sum(net.units[each].macs for each in on)
        made[f"exit {number}"] = Piece(module, (first, *(kept if place else ())), outputs, on, macs, following)
        first, begin = "x", number + 1
    return made


def _poolings(segment: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """The poolings that a segment begins with, and the rest of it."""
    count = next(index for index, layer in enumerate(segment) if not isinstance(layer, nn.MaxPool2d))
    return segment[:count], segment[count:]
