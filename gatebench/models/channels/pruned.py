"""A network with fewer channels, the same for every input: what gates that look at the input have to beat at equal MACs.

Which channels stay is learned once from the network in the role `network`. Then it is trained as it is.
Shapes: N inputs, C channels of a layer, S channels of all gated layers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import LnStructured
from torch.optim.swa_utils import update_bn

from ...evaluation.most_used import most_used
from ..backbones.resnet import WideTrunk
from ..backbones.vgg import VggTrunk
from .network import ChannelGated
from .resnet import GatedResNet
from .settings import Decisions, Kept, Magnitude
from .vgg import GatedVgg

if TYPE_CHECKING:
    from ...data.batches import Batches


class FixedGates(nn.Module):
    """A channel stays, or it does not."""

    of_input, bounded = False, True

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("kept", torch.ones(channels, dtype=torch.bool))

    @property
    def logits(self) -> Tensor:
        return self.kept.float() - 0.5

    def begin_epoch(self, progress: float) -> None:
        """Nothing is annealed."""

    def on(self, logits: Tensor) -> Tensor:
        return logits > 0

    def soft(self, logits: Tensor) -> Tensor:
        return self.on(logits).float()

    def relaxed(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        gates = self.soft(logits)
        return gates, gates


def pruned(
    num_classes: int, input_shape: tuple[int, int, int], parents: Mapping[str, nn.Module], channels: Kept = Magnitude()
) -> ChannelGated:
    """The network in the role `network`, of which some channels stay.

    Raises ValueError where that is neither a VGG nor a wide ResNet, has no gates that could say which, or is another network without them.
    """
    network = parents.get("network")
    kind = next((kind for trunk, kind in KINDS.items() if isinstance(network, trunk)), None)
    if kind is None:
        raise ValueError("parents.network is neither a VGG nor a wide ResNet; name a run of vgg11, lag-vgg11, resnet18 or the like")
    if isinstance(channels, Decisions) and not isinstance(network, ChannelGated):
        raise ValueError("parents.network has no gates that decide which channels stay; name a run of lag-vgg11 or the like")
    keeps_weights = not (isinstance(channels, Decisions) and channels.retrained)
    if keeps_weights and isinstance(network, ChannelGated) and network.policy != "hard":
        raise ValueError(
            f"parents.network is run {network.policy}, so its gates scale its channels and its weights alone are another network; name one"
            " that is run hard, or give --config retrained"
        )
    return kind(num_classes, input_shape, network, channels)


class _Pruned:
    """What both trunks share."""

    adaptive = False

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int], network: nn.Module, channels: Kept):
        super().__init__(num_classes, input_shape, network.depth, network.width)
        self.gates = nn.ModuleList(FixedGates(width) for width in self.widths)
        self.channels = channels
        self.__dict__["source"] = network  # not a part of this one

    def learn(self, train: "Batches") -> None:
        """Choose the channels; where weights stay, take batch norm's statistics anew, of images that are augmented as in training."""
        by_decisions = isinstance(self.channels, Decisions)
        keeps_weights = not (by_decisions and self.channels.retrained)
        if keeps_weights:
            own = {name: each for name, each in self.source.state_dict().items() if not name.startswith("gates.")}
            self.load_state_dict(self.state_dict() | own)
        if by_decisions:
            kept = most_used(self.source, train, lambda on: float(self.tally(on[None]).sum()))
        else:
            kept = self._largest(self.channels.density)
        for gate, each in zip(self.gates, self.by_layer(kept[None]), strict=True):
            gate.kept.copy_(each[0])
        if keeps_weights:
            update_bn((batch.x for batch in train.shuffled(0)), self)

    def _largest(self, density: float) -> Tensor:
        """Channels [S] with the largest filters of each layer, one at least."""
        masks = []
        for conv, *_ in self.gated_layers():
            count = max(1, round(density * conv.out_channels))
            largest = LnStructured(amount=conv.out_channels - count, n=1, dim=0)
            masks.append(largest.compute_mask(conv.weight, torch.ones_like(conv.weight))[:, 0, 0, 0] > 0)
        return torch.cat(masks)


class _PrunedVgg(_Pruned, GatedVgg):
    """VGG."""


class _PrunedResNet(_Pruned, GatedResNet):
    """ResNet-18 and ResNet-34."""


KINDS = {VggTrunk: _PrunedVgg, WideTrunk: _PrunedResNet}
