"""Routers by how they decide."""

from collections.abc import Mapping

from torch import nn

from ...contract import GatedModel
from .cascade import CascadeRouter
from .complexity import ByComplexity
from .decider import Decider
from .entropy import EntropyPredictor
from .learned import LearnedGater
from .neighbours import NearestNeighbours
from .router import BaseRouter, Router
from .settings import Cascade, Complexity, Entropy, Gater, Learned, Milliseconds, Neighbours


def router(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 128, 128),
    parents: Mapping[str, nn.Module] = {},
    gater: Gater = Learned(),
    latency_ms: Milliseconds = "measured",
) -> BaseRouter:
    """A router between the networks of its parent runs, in their order: the fastest first, the slowest and strongest last.

    The last is the static twin, and a cascade asks in this order. `latency_ms` are the milliseconds of each for one image. Raises
    ValueError for experts that do not fit.
    """
    _check(parents, latency_ms, input_shape)
    if isinstance(gater, Cascade):
        return CascadeRouter(gater, parents, num_classes, input_shape, latency_ms)
    return Router(decider(gater, parents, input_shape, latency_ms), parents, num_classes, input_shape, latency_ms)


def decider(gater: Gater, experts: Mapping[str, GatedModel], input_shape: tuple[int, int, int], milliseconds: Milliseconds) -> Decider:
    """What decides before an expert is run. Raises ValueError where it cannot look at such images."""
    if isinstance(gater, Neighbours):
        costs = [each.macs_static for each in experts.values()] if milliseconds == "measured" else milliseconds
        return NearestNeighbours(gater, costs, input_shape)
    if isinstance(gater, Entropy):
        return EntropyPredictor(gater, len(experts), input_shape)
    if isinstance(gater, Complexity):
        return ByComplexity(len(experts), input_shape[0])
    return LearnedGater(gater, len(experts), input_shape)


def _check(experts: Mapping[str, GatedModel], milliseconds: Milliseconds, input_shape: tuple[int, int, int]) -> None:
    """Raises ValueError where they are too few, have gates, want images of another size, or are not as many as the times."""
    if len(experts) < 2:
        raise ValueError("a router needs two experts or more; name them in the recipe below parents")
    for role, each in experts.items():
        if not isinstance(each, GatedModel) or each.units:
            raise ValueError(f"parents.{role} has gates of its own; a router's experts are networks without gates")
        if each.prepare and each.prepare.size != tuple(input_shape[1:]):
            own, here = (" x ".join(map(str, size)) for size in (each.prepare.size, input_shape[1:]))
            raise ValueError(f"parents.{role} was trained on images of {own}, the router's are {here}; give both the same")
    if milliseconds != "measured" and len(milliseconds) != len(experts):
        raise ValueError(f"latency_ms has {len(milliseconds)} times for {len(experts)} experts; give one for each")
