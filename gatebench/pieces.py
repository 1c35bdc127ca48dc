"""A network in pieces without branches, from which other runtimes get models.

Shapes: one input.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

TOGETHER = 8
"""Common patterns of decisions that are made ready as a whole, at most."""
APART = 16
"""The same, where each is a file of its own and they share their weights."""


@dataclass(frozen=True)
class Step:
    """What follows a piece, by its tensor `bits`, a digit for each: uint8 [1, D], or of one digit bool [1]."""

    ways: Mapping[str, str]
    """Name of the piece that follows, by digits such as "101"; an empty name: none."""
    single: tuple[tuple[str, str], ...] = ()
    """For digits that `ways` does not have: the pieces that 0 and 1 stand for, digit by digit, run in this order; empty names: none."""
    shares: tuple[float, ...] = ()
    """How often each of the ways is taken; none: all alike."""


@dataclass(frozen=True)
class Piece:
    """A part of a network that runs without a branch, for one input at a time; which pieces are next is read off its tensor `bits`.

    Tensors go from piece to piece by name. The first piece is given `image`, normalised [1, C, H, W]; the last gives `logits`.
    """

    module: nn.Module
    """Its inputs in their order -> its outputs, as a tuple."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    on: tuple[int, ...] = ()
    """Numbers of the switches that it runs."""
    macs: float = 0
    """Of all that it computes."""
    next: Step | None = None
    """None: nothing follows, or what a piece before it said."""


class Part(nn.Module):
    """What a network does somewhere, as a module over its weights: tensors -> a tuple of tensors."""

    def __init__(self, net: nn.Module, work: Callable[..., tuple[Tensor, ...]]):
        super().__init__()
        self.net, self.work = net, work

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return self.work(*tensors)


def whole(network: Callable[[Tensor], Tensor], macs: float) -> dict[str, Piece]:
    """A network that decides nothing, images -> logits, as its only piece."""
    return {"whole": Piece(Part(network, lambda image: (network(image),)), ("image",), ("logits",), macs=macs)}


def dearest(pieces: Mapping[str, Piece]) -> dict[str, str]:
    """The digits by which a piece is followed by what computes most, by its name."""
    digits: dict[str, str] = {}
    cost = {"": 0.0}
    for name, piece in reversed(pieces.items()):  # a piece comes before those that follow it
        cost[name] = piece.macs
        if piece.next:
            ways = piece.next.ways
            digits[name] = max(ways, key=lambda each, ways=ways: cost[ways[each]])
            cost[name] += cost[ways[digits[name]]]
    return digits
