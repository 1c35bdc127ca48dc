"""How a gated convolution is computed: relaxed in training, masked, or cut to the channels that are on.

A network walks through its layers once (`network.ChannelGated.walk`) and leaves each convolution to one of these engines.
Shapes: N inputs, C channels, K channels that are held, H x W pixels.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.feature_maps import global_average
from .cuts import LAYOUTS, Cut, conv_and_norm, layout_of

if TYPE_CHECKING:
    from .network import ChannelGated


class PartialMap(NamedTuple):
    """A feature map, or those of its channels that are not zero."""

    x: Tensor
    """[N, K, H, W], or whole: [N, C, H, W]."""
    channels: Tensor | None = None
    """Numbers of the channels that are not zero [K], ascending; None: any may be."""
    on: Tensor | None = None
    """Which channels are not zero for each of several inputs [N, C]; None: any may be."""
    factors: Tensor | None = None
    """What x is still to be multiplied by, [N, C] or [1, C], none of it negative; None: by nothing."""

    @property
    def whole(self) -> bool:
        """Whether x holds all channels."""
        return self.channels is None or self.x.shape[1] != self.channels.shape[0]

    @property
    def active(self) -> int:
        """How many channels may not be zero."""
        return self.x.shape[1] if self.channels is None else self.channels.shape[0]

    def held(self) -> Tensor:
        """[N, K, H, W]."""
        return self.x.index_select(1, self.channels) if self.channels is not None and self.whole else self.x

    def spread(self, channels: int) -> Tensor:
        """[N, C, H, W], for so many channels C."""
        if self.whole:
            return self.x
        size, layout = (len(self.x), channels, *self.x.shape[2:]), LAYOUTS[layout_of(self.x)]
        total = torch.empty(size, dtype=self.x.dtype, device=self.x.device, memory_format=layout)
        return total.zero_().index_copy_(1, self.channels, self.x)


class Decision(NamedTuple):
    """What a layer's gates say, [N, C] or [1, C] each."""

    on: Tensor
    """Which channels are on, boolean."""
    scale: Tensor | None = None
    """What those are multiplied by; None: they are not."""
    logits: Tensor | None = None
    """Of the gates; None: no gate was evaluated."""


class Engine:
    """Computes the layers of a network, one after the other; a subclass says how a gated one is run."""

    def __init__(self, net: "ChannelGated"):
        self.net = net

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        """The gated output of a layer: a convolution and its norm, unless that is folded."""
        raise NotImplementedError

    def relu(self, part: PartialMap) -> PartialMap:
        """May overwrite the map."""
        return part._replace(x=F.relu(part.x, inplace=True))

    def project(self, part: PartialMap, shortcut: nn.Sequential) -> PartialMap:
        """The output of a shortcut with a convolution, which has no gate."""
        return PartialMap(shortcut(part.x))

    def add(self, shortcut: PartialMap, residual: PartialMap) -> PartialMap:
        """The sum of a block's two paths; may overwrite the second."""
        return PartialMap(residual.x.add_(shortcut.x))

    def classify(self, part: PartialMap, head: nn.Linear) -> Tensor:
        """Logits [N, classes]."""
        return head(global_average(part.x))


class Relaxed(Engine):
    """Training: every channel is scaled. `gates` are those of the layers so far.

    A channel is scaled behind its ReLU, which gives the same as before it: ReLU has no gradient at zero, so that a gate which is off there
    would never learn that it is wanted.
    """

    def __init__(self, net: "ChannelGated"):
        super().__init__(net)
        self.gates: list[Tensor] = []
        self.logits: list[Tensor] = []

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        logits = self.net.logits(index, part)
        factors, relaxed = self.net.gates[index].relaxed(logits)
        self.gates.append(relaxed.expand(len(part.x), -1))
        self.logits.append(logits)
        return PartialMap(_normalised(layer, part.x), factors=factors)

    def relu(self, part: PartialMap) -> PartialMap:
        x = super().relu(part).x
        return PartialMap(x if part.factors is None else _scaled(x, part.factors))

    def add(self, shortcut: PartialMap, residual: PartialMap) -> PartialMap:
        return PartialMap(shortcut.x + _scaled(residual.x, residual.factors))

    def terms(self) -> dict[str, Tensor]:
        """The penalty of each layer's gates [N, L], under the name of the network's term where it has one."""
        layers = zip(self.net.gates, self.logits, strict=True)
        return {name: torch.stack([gate.penalty(logits) for gate, logits in layers], 1) for name in self.net.terms}


class Deciding(Engine):
    """Inference: what the executors share. `decided` and the gates' `logits` are those of the layers so far."""

    def __init__(self, net: "ChannelGated", inference: str, imposed: Tensor | None):
        """`imposed` are decisions [N, S]; [1, S] where the inputs share them."""
        super().__init__(net)
        self.inference = inference
        self.imposed = net.by_layer_or_none(imposed)
        self.logits: list[Tensor] = []
        self.decided: list[Tensor] = []

    def decide(self, index: int, part: PartialMap) -> tuple[Tensor, Tensor | None]:
        """Decisions [N, C] or [1, C] of a layer, and what its channels are scaled by; None: they are not."""
        on, scale, logits = self.net.decide(index, part, self.inference, self.imposed[index])
        self.decided.append(on)
        if logits is not None:
            self.logits.append(logits)
        return on, scale

    def outcome(self) -> tuple[Tensor, Tensor | None]:
        """Decisions and gates of all layers, [N, S] or [1, S] each; no gates where none was evaluated."""
        return torch.cat(self.decided, 1), self.net.soft(self.logits)


class Masked(Deciding):
    """Everything is computed, then multiplied by the decisions."""

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        on, scale = self.decide(index, part)
        return PartialMap(_scaled(_normalised(layer, part.x), on if scale is None else on * scale))


class Narrow(Engine):
    """What engines share that hold active channels alone."""

    def add(self, shortcut: PartialMap, residual: PartialMap) -> PartialMap:
        """May overwrite either, since nobody reads the stream again. Under autocast an empty map may be of another type than the sum."""
        first, second = (shortcut, residual) if shortcut.whole else (residual, shortcut)
        given = [each.channels for each in (first, second)]
        channels = None if any(each is None for each in given) else torch.cat(given).unique()
        if first.whole and channels is not None and len(channels) == first.x.shape[1]:
            channels = None
        if second.whole:
            return super().add(shortcut, residual)._replace(channels=channels)
        if first.whole:
            return PartialMap(first.x.index_add_(1, second.channels, second.x.to(first.x.dtype)), channels)
        total = residual.x.new_zeros(len(residual.x), len(channels), *residual.x.shape[2:])
        for each in (first, second):
            total.index_add_(1, torch.searchsorted(channels, each.channels), each.x.to(total.dtype))
        return PartialMap(total, channels)

    def classify(self, part: PartialMap, head: nn.Linear) -> Tensor:
        weight = head.weight if part.whole else head.weight.index_select(1, part.channels)
        return F.linear(global_average(part.x), weight, head.bias)


class Sliced(Narrow, Deciding):
    """One input, or inputs that share their decisions: in every layer the weights of the active filters and inputs are copied out."""

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        on, scale = self.decide(index, part)
        active = numbers(on[0])
        z = Cut(layer, part.channels, active)(part.x)
        if scale is not None:
            scale = scale if active is None else scale[:, active]
            z = z * scale.to(z.dtype)[:, :, None, None]
        return PartialMap(z, active)

    def project(self, part: PartialMap, shortcut: nn.Sequential) -> PartialMap:
        return PartialMap(Cut(shortcut, part.channels, None)(part.x))


class Fixed(Narrow):
    """Decisions that are the same for every input: each layer is cut when it is first run, and kept. `decided` is of all."""

    def __init__(self, net: "ChannelGated", inference: str, imposed: Tensor | None, layouts: Mapping[nn.Conv2d, str] | None = None):
        """`imposed` are decisions [1, S]; without them, or where inference is not hard, the gates must not depend on the input.

        `layouts` are those of the convolutions (`cuts.LAYOUTS`); None: as their weights and maps are.
        """
        super().__init__(net)
        self.layouts = layouts
        layers = [net.decide(index, None, inference, on) for index, on in enumerate(net.by_layer_or_none(imposed))]
        self.decided = [each.on for each in layers]
        self.scale = [each.scale for each in layers]
        self.decisions_and_gates = torch.cat(self.decided, 1), net.soft([each.logits for each in layers if each.logits is not None])
        self.active = [numbers(on[0]) for on in self.decided]
        self.cuts: dict[Hashable, Cut] = {}
        self.head: Tensor | None = None

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        active = self.active[index]
        if index not in self.cuts:
            scale = self.scale[index]
            chosen = scale if scale is None else scale[0] if active is None else scale[0, active]
            self.cuts[index] = self._laid_out(layer[0], Cut(layer, part.channels, active, chosen))
        return PartialMap(self.compute(layer[0], self.cuts[index], part.x), active)

    def project(self, part: PartialMap, shortcut: nn.Sequential) -> PartialMap:
        if shortcut not in self.cuts:
            self.cuts[shortcut] = self._laid_out(shortcut[0], Cut(shortcut, part.channels, None))
        return PartialMap(self.compute(shortcut[0], self.cuts[shortcut], part.x))

    def outcome(self) -> tuple[Tensor, Tensor | None]:
        """Decisions and gates of all layers, [1, S] each; no gates where none was evaluated."""
        return self.decisions_and_gates

    def compute(self, conv: nn.Conv2d, cut: Cut, x: Tensor) -> Tensor:
        """What is left of a convolution, on what it reads."""
        return cut(x)

    def _laid_out(self, conv: nn.Conv2d, cut: Cut) -> Cut:
        return cut.in_layout_of(conv) if self.layouts is None else cut.laid_out(self.layouts[conv])

    def classify(self, part: PartialMap, head: nn.Linear) -> Tensor:
        if self.head is None:
            self.head = head.weight if part.channels is None else head.weight.index_select(1, part.channels)
        return F.linear(global_average(part.x), self.head, head.bias)


def _normalised(layer: Sequence[nn.Module], x: Tensor) -> Tensor:
    """The output of a convolution and its norm, unless that is folded."""
    conv, norm = conv_and_norm(layer)
    return conv(x) if norm is None else norm(conv(x))


def _scaled(x: Tensor, factors: Tensor) -> Tensor:
    return x * factors.to(x.dtype)[:, :, None, None]


def numbers(on: Tensor) -> Tensor | None:
    """Numbers of the channels that are on [C]; None: all are."""
    active = on.nonzero().view(-1)
    return None if active.shape == on.shape else active
