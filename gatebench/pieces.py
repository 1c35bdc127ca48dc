"""A network in pieces without branches, from which other runtimes get one model, whose branches they are.

Shapes: one input.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """What follows a piece, by as many digits of its tensor `bits` as the step has, behind those of the steps before it."""

    ways: Mapping[str, str]
    """Name of the piece that follows, by digits such as "101"; an empty name: none."""
    single: tuple[tuple[str, str], ...] = ()
    """For digits that `ways` does not have: the pieces that 0 and 1 stand for, digit by digit, run in this order; empty names: none."""
    shares: tuple[float, ...] = ()
    """How often each of the ways is taken; none: all alike."""

    @property
    def digits(self) -> int:
        return len(next(iter(self.ways)))

    @property
    def names(self) -> set[str]:
        """Of all pieces that may be run in it."""
        return {each for each in (*self.ways.values(), *(name for pair in self.single for name in pair)) if each}


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
    next: tuple[Step, ...] = ()
    """What follows, step by step; none: nothing, or what a piece before it said."""


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


def dearest(pieces: Mapping[str, Piece]) -> dict[str, list[str]]:
    """The digits by which a piece is followed by what computes most, step by step."""
    digits: dict[str, list[str]] = {}
    cost = {"": 0.0}
    for name, piece in reversed(pieces.items()):  # a piece comes before those that follow it
        digits[name] = [max(step.ways, key=lambda each, step=step: cost[step.ways[each]]) for step in piece.next]
        cost[name] = piece.macs + sum(cost[step.ways[each]] for step, each in zip(piece.next, digits[name], strict=True))
    return digits
