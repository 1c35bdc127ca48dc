"""The same blocks for every input: what gates that look at the input have to beat at equal MACs.

`fixed-blocks` runs a subset that is chosen once, from a trained network; `stochastic-depth` is trained with blocks left out by chance.
Shapes: N inputs, B blocks.
"""

import math
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from ...contract import Output
from ...evaluation.most_used import most_used
from ..backbones.resnet import ResidualTrunk, WideTrunk
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet
from .search import best_subset
from .settings import Decided, Searched, Subset, Survival

if TYPE_CHECKING:
    from ...data.batches import Batches

IMAGES = 5000
"""Training images on which a subset is chosen, about."""


class FixedBlocks(BlockGatedResNet):
    """The blocks that are `kept`, for every input."""

    when = "up-front"
    adaptive, soft_gates = False, False
    fixed_policies: Mapping[str, float] = {}

    def __init__(self, *arguments, **options):
        """As `ResidualTrunk`."""
        super().__init__(*arguments, **options)
        self.register_buffer("kept", torch.ones(len(self.blocks), dtype=torch.bool))

    def up_front_logits(self, x: Tensor) -> Tensor:
        return torch.where(self.kept, math.inf, -math.inf).expand(len(x), -1)

    def forward(self, x: Tensor) -> Output:
        """Gates [N, B], 0 or 1; what is not kept is not computed."""
        return Output(self.run(self.stem(x), self.kept.tolist()), self.kept.float().expand(len(x), -1))


class SubsetOfBlocks(FixedBlocks):
    """Some blocks of the network in the role `network`."""

    def __init__(self, network: nn.Module, subset: Decided | Searched, **backbone):
        super().__init__(**backbone)
        self.subset = subset
        self.__dict__["source"] = network  # not a part of this one

    def learn(self, train: "Batches") -> None:
        """Choose the blocks; where weights stay, take batch norm's statistics anew, of images that are augmented as in training."""
        step = max(1, math.ceil(sum(len(batch.labels) for batch in train) / IMAGES))
        some = list(islice(train, 0, None, step))  # from all over the set, which may be sorted by class
        if isinstance(self.subset, Decided):
            first = torch.ones(self.source.always_on, dtype=torch.bool)
            self.kept.copy_(torch.cat([first, most_used(self.source, some, lambda on: self._cost(torch.cat([first, on.cpu()]))).cpu()]))
            return
        self.kept.copy_(best_subset(self.source, some, self.subset.macs * self.macs_static, self._cost))
        if not self.subset.retrained:
            self.load_state_dict({**self.source.state_dict(), "kept": self.kept})
            update_bn((batch.x for batch in train.shuffled(0)), self)

    def _cost(self, on: Tensor) -> float:
        return float(self.tally(on[None].cpu(), deciding=False).sum())


class StochasticDepth(FixedBlocks):
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382): in training a block is left out of a whole batch with a probability that
    grows linearly with its number, to 1 - `survival` for the last one. What runs is scaled up in training, where the paper scales it
    down afterwards. All blocks run at inference; `fixed-blocks` searches those that do best for fewer MACs."""

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
        survival: Survival = 0.5,
    ):
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        blocks = len(self.blocks)
        self.survival = [1 - (index + 1) / blocks * (1 - survival) for index in range(blocks)]

    def forward(self, x: Tensor) -> Output:
        """Gates [N, B], the same for the whole batch."""
        inputs, x = len(x), self.stem(x)
        on = torch.bernoulli(torch.tensor(self.survival)) > 0
        for block, runs, probability in zip(self.blocks, on.tolist(), self.survival, strict=True):
            x = self.combine(block.shortcut(x), block.residual(x) / probability) if runs else block.skip(x)
        return Output(self.classify(x), on.to(x.device, torch.float32).expand(inputs, -1))


def _plain(network: ResidualTrunk) -> bool:
    """Whether its blocks can be left out without a gate."""
    return isinstance(network, StochasticDepth) or not isinstance(network, BlockGatedResNet)


def fixed_blocks(
    num_classes: int,
    input_shape: tuple[int, int, int],
    parents: Mapping[str, nn.Module],
    depth: Depth = 20,
    widths: Widths = (16, 32, 64),
    shortcut: Shortcut = "zero-pad",
    subset: Subset = Searched(),
) -> SubsetOfBlocks:
    """Some blocks of the network in the role `network`. Raises ValueError where that has other blocks, or none that suit."""
    network = parents.get("network")
    net = SubsetOfBlocks(network, subset, num_classes=num_classes, input_shape=input_shape, depth=depth, widths=widths, shortcut=shortcut)
    if isinstance(subset, Decided):
        if not isinstance(network, BlockGatedResNet):
            raise ValueError("parents.network has no gates that decide which blocks run; name a run of cosinegate, skipnet or the like")
    elif not isinstance(network, ResidualTrunk) or isinstance(network, WideTrunk) or not _plain(network):
        raise ValueError("parents.network is no plain ResNet to search in; name a run of resnet20, stochastic-depth or the like")
    if [block.residual.conv1.weight.shape for block in net.blocks] != blocks_of(network):
        raise ValueError("parents.network has other blocks; give its --set model.depth, model.widths and model.shortcut")
    return net


def blocks_of(network: ResidualTrunk) -> list[torch.Size]:
    """Shapes of the first convolution of every block."""
    first = [part for part in network.stem if hasattr(part, "residual")]
    return [block.residual.conv1.weight.shape for block in (*first, *network.blocks)]
