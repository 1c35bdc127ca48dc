"""How a gated convolution is computed: relaxed in training, masked, or sliced to the channels that are on.

A network walks through its layers once (`network.ChannelGated.walk`) and leaves each convolution to one of these engines.
Shapes: N inputs, C channels, K channels that are held, H x W pixels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.feature_maps import global_average

if TYPE_CHECKING:
    from .network import ChannelGated


class PartialMap(NamedTuple):
    """A feature map, or those of its channels that are not zero."""

    x: Tensor
    """[N, K, H, W]."""
    channels: Tensor | None = None
    """Numbers of the held channels [K], ascending; None: all are."""


class Engine:
    """Computes every channel of every layer; `gate` says what a convolution's normalised output is multiplied by."""

    def __init__(self, net: "ChannelGated"):
        self.net = net

    def gate(self, index: int, part: PartialMap) -> Tensor:
        """Factors [N, C] or [1, C] of the channels of a gated convolution, from its input."""
        raise NotImplementedError

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        """The gated output of a layer: a convolution and its norm, unless that is folded."""
        factors = self.gate(index, part)
        conv, norm = conv_and_norm(layer)
        z = norm(conv(part.x))
        return PartialMap(z * factors.to(z.dtype)[:, :, None, None])

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
    """Training: every channel is scaled. `gates` are those of the layers so far."""

    def __init__(self, net: "ChannelGated"):
        super().__init__(net)
        self.gates: list[Tensor] = []
        self.logits: list[Tensor] = []

    def gate(self, index: int, part: PartialMap) -> Tensor:
        logits = self.net.logits(index, part)
        factors, relaxed = self.net.gates[index].relaxed(logits)
        self.gates.append(relaxed.expand(len(part.x), -1))
        self.logits.append(logits)
        return factors

    def add(self, shortcut: PartialMap, residual: PartialMap) -> PartialMap:
        return PartialMap(shortcut.x + residual.x)

    def terms(self) -> dict[str, Tensor]:
        """The penalty of each layer's gates [N, L], under the name of the network's term where it has one."""
        layers = zip(self.net.gates, self.logits, strict=True)
        return {name: torch.stack([gate.penalty(logits) for gate, logits in layers], 1) for name in self.net.terms}


class Deciding(Engine):
    """Inference: what the executors share. `decided` and `gates` are those of the layers so far."""

    def __init__(self, net: "ChannelGated", inference: str, imposed: Tensor | None):
        """`imposed` are decisions [N, S]; [1, S] where the inputs share them."""
        super().__init__(net)
        self.inference = inference
        self.imposed = [None] * len(net.widths) if imposed is None else net.by_layer(imposed)
        self.gates: list[Tensor] = []
        self.decided: list[Tensor] = []

    def decide(self, index: int, part: PartialMap) -> tuple[Tensor, Tensor | None]:
        """Decisions [N, C] or [1, C] of a layer, and what its channels are scaled by; None: they are not."""
        on, soft = self.net.decide(index, part, self.inference, self.imposed[index])
        self.decided.append(on)
        if soft is not None:
            self.gates.append(soft)
        return on, None if self.inference == "hard" else soft


class Masked(Deciding):
    """Everything is computed, then multiplied by the decisions."""

    def gate(self, index: int, part: PartialMap) -> Tensor:
        on, scale = self.decide(index, part)
        return on if scale is None else on * scale


class Sliced(Deciding):
    """Inputs that share their decisions: only the active filters are computed, on the active inputs.

    Without imposed decisions there must be one input, or gates that do not depend on it.
    """

    def convolve(self, index: int, part: PartialMap, layer: Sequence[nn.Module]) -> PartialMap:
        conv, norm = conv_and_norm(layer)
        on, scale = self.decide(index, part)
        active = on[0].nonzero().flatten()
        if len(active) == conv.out_channels:
            active = None
        z = sliced(part, conv, norm, active)
        if scale is not None:
            scale = scale if active is None else scale[:, active]
            z = z * scale.to(z.dtype)[:, :, None, None]
        return PartialMap(z, active)

    def project(self, part: PartialMap, shortcut: nn.Sequential) -> PartialMap:
        return PartialMap(sliced(part, *conv_and_norm(shortcut), None))

    def add(self, shortcut: PartialMap, residual: PartialMap) -> PartialMap:
        """May overwrite either, since nobody reads the stream again. Under autocast an empty map may be of another type than the sum."""
        first, second = (shortcut, residual) if shortcut.channels is None else (residual, shortcut)
        if second.channels is None:
            return super().add(shortcut, residual)
        if first.channels is None:
            return PartialMap(first.x.index_add_(1, second.channels, second.x.to(first.x.dtype)))
        channels = torch.cat([first.channels, second.channels]).unique()
        total = residual.x.new_zeros(len(residual.x), len(channels), *residual.x.shape[2:])
        for each in (first, second):
            total.index_add_(1, torch.searchsorted(channels, each.channels), each.x.to(total.dtype))
        return PartialMap(total, channels)

    def classify(self, part: PartialMap, head: nn.Linear) -> Tensor:
        weight = head.weight if part.channels is None else head.weight[:, part.channels]
        return F.linear(global_average(part.x), weight, head.bias)


def conv_and_norm(layer: Sequence[nn.Module]) -> tuple[nn.Conv2d, nn.Module]:
    """The convolution of a layer and its norm, which is the identity where it was folded."""
    conv, *rest = layer
    return conv, rest[0] if rest and isinstance(rest[0], nn.BatchNorm2d) else nn.Identity()


def sliced(part: PartialMap, conv: nn.Conv2d, norm: nn.Module, active: Tensor | None) -> Tensor:
    """norm(conv(x)) for the active filters alone (None: all), from the held channels of x."""
    weight = conv.weight if active is None else conv.weight.index_select(0, active)
    if part.channels is not None:
        weight = weight.index_select(1, part.channels)
    bias = conv.bias if conv.bias is None or active is None else conv.bias[active]
    if part.x.shape[1] and len(weight):
        y = F.conv2d(part.x, weight, bias, conv.stride, conv.padding)
    else:  # nothing to read or to compute
        height, width = (-(-size // step) for size, step in zip(part.x.shape[2:], conv.stride, strict=True))
        y = part.x.new_zeros(len(part.x), len(weight), height, width)
        y = y if bias is None else y + bias[:, None, None]
    if not isinstance(norm, nn.BatchNorm2d) or not len(weight):
        return y
    columns = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, variance, scale, shift = columns if active is None else (each[active] for each in columns)
    return F.batch_norm(y, mean, variance, scale, shift, eps=norm.eps)
