"""Times of engines of one network: of each layer, and of a call, with the caches as they are in use.

Shapes: N inputs, C channels, H x W pixels.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from ...measure.clock import clock_for
from .engines import Engine

if TYPE_CHECKING:
    from .network import ChannelGated

ROUNDS = 5
"""Times that everything is measured, after one that is not counted."""

AROUND = 1.05
"""What leaves out a part of a layer must be faster than the whole by this factor, and another layout than the one before: around it maps
have to be gathered, spread or converted, which is not timed. Less is noise."""

CALLS = 15
"""Times that whole calls are measured, after one that is not counted."""
CLEARLY = 1.02
"""By which a whole call must be faster than that of the first candidate; less is noise."""

Key = TypeVar("Key", bound=Hashable)


class Timed:
    """Mixed into an engine with a method `compute`: the seconds of each layer, in the order of the computation."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.seconds: dict[nn.Conv2d, float] = {}

    def compute(self, conv: nn.Conv2d, *arguments: Any) -> Any:
        results = []
        clock = clock_for(conv.weight.device)
        self.seconds[conv] = clock.seconds(lambda: results.append(super(Timed, self).compute(conv, *arguments)))
        return results[0]


Measured = tuple[Timed, dict[nn.Conv2d, float]]
"""An engine that has run, and the seconds of each layer."""


def layer_times(
    net: "ChannelGated", x: Tensor, makes: Mapping[Key, Callable[[], Timed]], between: Callable[[Tensor], Any] | None = None
) -> dict[Key, Measured]:
    """The engines take turns on inputs [N, C, H, W]. Of a layer's times the least counts: what else a machine does only adds to them.

    `between` is run before every engine: with the network's weights still in the caches, all that reads many of them looks too fast.
    """
    measured: dict[Key, Measured] = {}
    for turn in range(ROUNDS + 1):
        for key, make in makes.items():
            engine = make()
            if between:
                between(x)
            net.walk(x, engine)
            before = measured[key][1] if turn > 1 else engine.seconds
            measured[key] = engine, {conv: min(seconds, before[conv]) for conv, seconds in engine.seconds.items()}
    return measured


def fastest(net: "ChannelGated", x: Tensor, makes: Mapping[Key, Callable[[], Engine]]) -> Key:
    """The key of the engine that runs the inputs [N, C, H, W] fastest, taking turns; the first, unless another is clearly faster."""
    clock, seconds = clock_for(x.device), {}
    for turn in range(CALLS + 1):
        for key, make in makes.items():
            engine = make()
            each = clock.seconds(lambda engine=engine: net.walk(x, engine))
            seconds[key] = min(each, seconds[key]) if turn > 1 else each
    return preferred(next(iter(makes)), seconds, CLEARLY)


def preferred(first: Key, seconds: Mapping[Key, float], by: float = AROUND) -> Key:
    """`first`, unless something else is faster by more than this factor."""
    best = min(seconds, key=seconds.get)
    return best if seconds[best] * by < seconds[first] else first
