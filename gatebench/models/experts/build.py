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
from .router import Experts, Router, check_experts
from .settings import Cascade, Complexity, Entropy, Gater, Learned, Milliseconds, Neighbours


def router(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 128, 128),
    parents: Mapping[str, nn.Module] = {},
    gater: Gater = Learned(),
    latency_ms: Milliseconds = "measured",
) -> Experts:
    """A router between the networks of its parent runs, in their order: the cheapest first, the strongest last.

    `latency_ms` are the milliseconds of each for one image. Raises ValueError for experts that do not fit.
    """
    check_experts(parents, latency_ms, input_shape)
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
