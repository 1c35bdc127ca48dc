"""A channel-gated network without the channels that are off for every input: smaller, static, with equal outputs.

Shapes: N inputs, C channels, H x W pixels.
"""

import copy
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ...contract import GatedModel
from ...measure.macs import count
from ..backbones.static import Static
from .cuts import Cut
from .engines import Fixed, Narrow, PartialMap
from .network import ChannelGated


class Compact(Static, GatedModel):
    """What is left of the run in the role `gated`; in a residual network the blocks are narrower, the stream is not.

    A layer without an active channel keeps one, which is zero.
    """

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int], parents: Mapping[str, nn.Module]):
        """Raises ValueError where the parent has no gates on channels, or decides per input."""
        super().__init__()
        gated = parents.get("gated")
        if not isinstance(gated, ChannelGated):
            raise ValueError("parents.gated has no gates on channels; name a run of lag-vgg11, lag-resnet18 or the like")
        if gated.of_input:
            raise ValueError("the gates of parents.gated depend on the input, so no channel is off for good; name a run of free gates")
        self.input_shape, self.prepare = tuple(input_shape), gated.prepare
        engine = _AtLeastOne(gated, gated.policy, None)
        image = torch.zeros(1, *input_shape, device=next(gated.parameters()).device)
        with torch.no_grad():
            self.macs_static = count(gated, image, engine, call=gated.walk).certain
        self.layers = nn.ModuleList(_layer(engine.cuts[index]) for index in range(len(engine.active)))
        shortcuts = [key for key in engine.cuts if isinstance(key, nn.Module)]
        self.shortcuts = nn.ModuleList(_layer(engine.cuts[key]) for key in shortcuts)
        self.head = nn.Linear(engine.head.shape[1], num_classes)
        with torch.no_grad():
            self.head.weight.copy_(engine.head)
            self.head.bias.copy_(gated.head.bias)
        for index, active in enumerate(engine.active):  # so that they move with the network
            self.register_buffer(f"active_{index}", active, persistent=False)
        self.__dict__["trunk"] = copy.deepcopy(gated).to("meta")  # the order of its layers is what is still wanted of it

    def static_logits(self, x: Tensor) -> Tensor:
        return self.trunk.walk(x, _Kept(self))


class _AtLeastOne(Fixed):
    """Keeps a channel of every layer."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for index, active in enumerate(self.active):
            if active is not None and not len(active):
                self.active[index] = torch.zeros(1, dtype=torch.long, device=active.device)
                self.scale[index] = torch.zeros_like(self.decided[index], dtype=torch.float32)


class _Kept(Narrow):
    """Runs the layers that are left."""

    def __init__(self, net: Compact):
        self.net, self.shortcuts = net, iter(net.shortcuts)

    def convolve(self, index: int, part: PartialMap, layer: Hashable) -> PartialMap:
        return PartialMap(self.net.layers[index](part.x), getattr(self.net, f"active_{index}"))

    def project(self, part: PartialMap, shortcut: nn.Module) -> PartialMap:
        return PartialMap(next(self.shortcuts)(part.x))

    def classify(self, part: PartialMap, head: nn.Linear) -> Tensor:
        return linear(part.x.mean((2, 3)), self.net.head.weight, self.net.head.bias)


def _layer(cut: Cut) -> nn.Sequential:
    """The convolution and norm of a cut."""
    filters, inputs, *size = cut.weight.shape
    conv = nn.Conv2d(inputs, filters, tuple(size), cut.stride, cut.padding, bias=cut.bias is not None)
    conv.weight.data.copy_(cut.weight)
    if cut.bias is not None:
        conv.bias.data.copy_(cut.bias)
    mean, variance, gain, shift, eps = cut.norm
    norm = nn.BatchNorm2d(filters, eps)
    for own, kept in ((norm.running_mean, mean), (norm.running_var, variance), (norm.weight.data, gain), (norm.bias.data, shift)):
        own.copy_(kept)
    return nn.Sequential(conv, norm)
