"""In which layout networks run: channels_last or contiguous, chosen by a short measurement where nobody names one.

Shapes: N calls, B inputs a call, C channels, H x W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..measure.clock import Clock
from ..runtimes.fold import channels_last

Layout = Literal["channels_last", "contiguous"]
LAYOUTS = get_args(Layout)
ALIKE = 1.1
"""A layout that takes less than this times the fastest one's time is as good, where it is then the same for all networks."""
CALLS, ROUNDS, SECONDS = 4, 5, 1.0
"""Of the measurement: calls, rounds at most, and after how many seconds none begins any more. Two rounds are done in any case."""


def laid_out(model: nn.Module, layout: Layout) -> nn.Module:
    """The network itself, its weights in that layout."""
    return channels_last(model) if layout == "channels_last" else model.to(memory_format=torch.contiguous_format)


def arranged(x: Tensor, layout: Layout) -> Tensor:
    """Inputs [B, C, H, W] in that layout."""
    return x.contiguous(memory_format=torch.channels_last if layout == "channels_last" else torch.contiguous_format)


def measured(work: Mapping[Layout, Callable[[int], object]], calls: int, clock: Clock) -> dict[Layout, float]:
    """Seconds of `calls` calls in each layout: `work` is given the number of a call.

    Layouts take turns; each call's fastest time counts.
    """
    seconds, spent = {layout: [] for layout in work}, 0.0
    while len(next(iter(seconds.values()))) < (ROUNDS if spent < SECONDS else 2):
        for layout, run in work.items():
            seconds[layout].append([clock.seconds(lambda run=run, number=number: run(number)) for number in range(calls)])
            spent += sum(seconds[layout][-1])
    return {layout: float(np.min(rounds, axis=0).sum()) for layout, rounds in seconds.items()}


def choose(networks: Sequence[Mapping[Layout, float]]) -> list[Layout]:
    """The layout of each network, from its seconds in every layout that it takes.

    One for all where that costs none of them more than a tenth, so that their ratio is not one of layouts; else each in its fastest.
    """

    def together(layout: Layout) -> float:
        return float(np.sum(np.log([network[layout] for network in networks])))

    shared = [layout for layout in LAYOUTS if all(layout in network for network in networks)]
    for layout in sorted(shared, key=together):
        if all(network[layout] <= ALIKE * min(network.values()) for network in networks):
            return [layout] * len(networks)
    return [min(network, key=network.__getitem__) for network in networks]
