"""Inputs whose decisions differ, computed together.

Shapes: N inputs, I inputs and O filters of a layer, H x W pixels.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .cuts import LAYOUTS, Cut, layout_of
from .engines import Deciding, PartialMap, numbers

if TYPE_CHECKING:
    from .network import ChannelGated


class SameFilters(NamedTuple):
    """Inputs that run the same filters of a layer, on the same channels; None: all."""

    inputs: Tensor | None = None
    channels: Tensor | None = None
    filters: Tensor | None = None


Way = Callable[[Tensor | None, Tensor | None], list[SameFilters]]
"""From the channels of each input [N, I] and its filters [N, O] that are on (None: all are), what is run."""


def dense(channels: Tensor | None, filters: Tensor | None) -> list[SameFilters]:
    """Everything, for all inputs."""
    return [SameFilters()]


def union(channels: Tensor | None, filters: Tensor | None) -> list[SameFilters]:
    """What is on for any input, for all of them."""
    return [SameFilters(None, *(each if each is None else numbers(each.any(0)) for each in (channels, filters)))]


def equal(channels: Tensor | None, filters: Tensor | None) -> list[SameFilters]:
    """Inputs with equal patterns together."""
    patterns = [each.cpu().numpy() for each in (channels, filters) if each is not None]
    if not patterns:
        return dense(channels, filters)
    together = defaultdict(list)
    for number, pattern in enumerate(np.packbits(np.concatenate(patterns, 1), 1)):
        together[pattern.tobytes()].append(number)
    if len(together) == 1:
        return union(channels, filters)
    device = (channels if filters is None else filters).device
    first = [[each if each is None else numbers(each[inputs[0]]) for each in (channels, filters)] for inputs in together.values()]
    return [SameFilters(torch.tensor(inputs, device=device), *on) for inputs, on in zip(together.values(), first, strict=True)]


WAYS: dict[str, Way] = {each.__name__: each for each in (dense, union, equal)}


class LayerWay(NamedTuple):
    """How a layer is computed."""

    way: str
    """Of `WAYS`."""
    layout: str
    """Of its maps (`cuts.LAYOUTS`)."""
    conv: nn.Conv2d
    """The convolution, its weights in this layout."""


class Batched(Deciding):
    """Maps have all channels, those that are off are zero; `ways` says how each layer of the folded network is computed."""

    def __init__(self, net: "ChannelGated", inference: str, imposed: Tensor | None, ways: Mapping[nn.Conv2d, "LayerWay"]):
        """`imposed` are decisions [N, S]."""
        super().__init__(net, inference, imposed)
        self.ways = ways
        self.groups: dict[nn.Module, list[SameFilters]] = {}

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        on, scale = self.decide(index, part)
        on = on.expand(len(part.x), -1)
        factors = on if scale is None else on * scale
        z = self.compute(layer[0], part, on)
        return PartialMap(z.mul_(factors.to(z.dtype)[:, :, None, None]), on=on)

    def project(self, part: PartialMap, shortcut: nn.Sequential) -> PartialMap:
        return PartialMap(self.compute(shortcut[0], part, None))

    def add(self, shortcut: PartialMap, residual: PartialMap) -> PartialMap:
        total = super().add(shortcut, residual)
        return total if shortcut.on is None else total._replace(on=shortcut.on | residual.on)

    def compute(self, conv: nn.Conv2d, part: PartialMap, on: Tensor | None) -> Tensor:
        """The output of a layer [N, O, H', W'], at least of those filters that are `on` [N, O]."""
        chosen = self.ways[conv]
        self.groups[conv] = WAYS[chosen.way](part.on, on)
        return run([chosen.conv], self.groups[conv], part.x.contiguous(memory_format=LAYOUTS[chosen.layout]))

    def share(self, module: nn.Conv2d | nn.Linear) -> Tensor | float:
        """Share of a layer's MACs that was executed, of each input [N] where they differ."""
        return 1.0 if module is self.net.head else executed(module, self.groups[module], len(self.decided[0]))


def run(layer: Sequence[nn.Module], groups: list[SameFilters], x: Tensor) -> Tensor:
    """The output of a layer [N, O, H', W'], zero where a filter does not run for an input."""
    total = None
    for group in groups:
        given = x if group.inputs is None else x[group.inputs]
        given = given if group.channels is None else given.index_select(1, group.channels)
        y = Cut(layer, group.channels, group.filters)(given)
        if group.inputs is None and group.filters is None:
            return y
        if total is None:
            shape = len(x), layer[0].out_channels, *y.shape[2:]
            total = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=LAYOUTS[layout_of(x)]).zero_()
        if group.inputs is None:
            total.index_copy_(1, group.filters, y.to(total.dtype))
        elif group.filters is None:
            total[group.inputs] = y.to(total.dtype)
        else:
            total[group.inputs[:, None], group.filters] = y.to(total.dtype)
    return total


def executed(conv: nn.Conv2d, groups: list[SameFilters], inputs: int) -> Tensor:
    """Share of a layer's MACs that its groups run for each of so many inputs, [N]."""
    shares = torch.empty(inputs, dtype=torch.float64)
    for group in groups:
        channels = conv.in_channels if group.channels is None else len(group.channels)
        filters = conv.out_channels if group.filters is None else len(group.filters)
        shares[slice(None) if group.inputs is None else group.inputs.cpu()] = channels * filters / (conv.in_channels * conv.out_channels)
    return shares
