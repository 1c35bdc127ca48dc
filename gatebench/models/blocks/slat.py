"""What CosineGate (arXiv 2512.22206) calls SLAT: learned attention maps modulate how much of a block is run.

No such paper could be found, so this is built from that one line: A = sigmoid(w * x), a 1x1 convolution to one map; y = relu(x + A F(x));
a block is left out for an input where the mean of A is below 0.5. A needs only x, so that leaving a block out saves work.
Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

import torch
from torch import Tensor, nn

from ...measure.macs import count_macs
from ..backbones.feature_maps import global_average
from ..backbones.resnet import Residual
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet, Paths, State

START = 1.0
"""Bias of every attention map before anything is learned: a mean of 0.73, so that every block runs."""
EDGE = 1e-6
"""Mean attentions are kept so far from 0 and 1, where they have no logit."""


class AttendedResidual(Residual):
    """A F(x), and the map A by itself."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__(in_channels, channels, stride)
        self.look = nn.Conv2d(in_channels, 1, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.attention(x)

    def attention(self, x: Tensor) -> Tensor:
        """A [N, 1, H, W]."""
        return torch.sigmoid(self.look(x))


class Slat(BlockGatedResNet):
    """Gates decide one after another, each from the attention to its block's input. A block that runs computes its map again."""

    when = "before"
    residual_path = AttendedResidual

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
    ):
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        for block in self.blocks:
            nn.init.normal_(block.residual.look.weight, std=0.01)
            nn.init.constant_(block.residual.look.bias, START)
        looks = [block.residual.look for block in self.blocks]
        self.macs_gate = sum(count_macs(look, shape) for look, shape in zip(looks, self.map_shapes()[:-1], strict=True))

    def logits(self, index: int, x: Tensor, state: State, paths: Paths | None) -> tuple[Tensor, State]:
        mean = global_average(self.blocks[index].residual.attention(x)).squeeze(1)
        return torch.logit(mean.float(), EDGE), state
