"""The layout in which each layer is fastest: of a network whose decisions are fixed, and of its static twin.

Both are measured, so that neither is compared in a layout that slows it down. Each layer is run in both layouts. The layers up to one are
channels_last and those from there contiguous, or all are in one layout: maps are converted once at most. What a call takes decides.
Shapes: N inputs, C channels, S switches, H x W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .cuts import LAYOUTS
from .engines import Fixed
from .timed import Timed, fastest, layer_times

if TYPE_CHECKING:
    from .network import ChannelGated

FIRST, SECOND = LAYOUTS
"""Of the layers before a conversion, and after it: large maps with few channels are pooled several times as fast in channels_last."""


class _TimedFixed(Timed, Fixed):
    pass


class Twin(nn.Module):
    """The static twin of a folded network, with its layers laid out: images [N, C, H, W] -> logits [N, classes]."""

    def __init__(self, net: "ChannelGated", layouts: Mapping[nn.Conv2d, str]):
        super().__init__()
        self.net, self.engine = net, Fixed(net, "hard", everything(net), layouts)

    def forward(self, x: Tensor) -> Tensor:
        return self.net.walk(x, self.engine)


def everything(net: "ChannelGated") -> Tensor:
    """Decisions [1, S] with all channels on, which the static twin runs."""
    return torch.ones(1, net.switches, dtype=torch.bool, device=net.head.weight.device)


def choose_layouts(net: "ChannelGated", x: Tensor, inference: str, imposed: Tensor | None) -> dict[nn.Conv2d, str]:
    """The layout of each convolution for inputs [N, C, H, W] and decisions that they share: [1, S], or the network's own."""
    convs = [module for _, module, _ in net.weighted_layers()[:-1]]
    throughout = {layout: dict.fromkeys(convs, layout) for layout in LAYOUTS}
    engines = {layout: _TimedFixed(net, inference, imposed, layouts) for layout, layouts in throughout.items()}
    measured = layer_times(net, x, {layout: lambda engine=engine: engine for layout, engine in engines.items()})
    split = best_split({layout: [seconds[conv] for conv in convs] for layout, (_, seconds) in measured.items()})
    candidates = {**throughout, "split": dict(zip(convs, split, strict=True))}
    engines = {name: Fixed(net, inference, imposed, layouts) for name, layouts in candidates.items()}
    return candidates[fastest(net, x, {name: lambda engine=engine: engine for name, engine in engines.items()})]


def best_split(seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """A layout for each layer, with one change at most, from the seconds of the layers in each layout."""
    first, second = seconds[FIRST], seconds[SECOND]
    count = min(range(len(first) + 1), key=lambda count: sum(first[:count]) + sum(second[count:]))
    return [FIRST] * count + [SECOND] * (len(first) - count)
