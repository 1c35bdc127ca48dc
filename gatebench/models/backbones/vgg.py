"""VGG for small images (Simonyan and Zisserman 2015, arXiv 1409.1556, table 1, A and B), with batch norm and one linear layer as head.

Shapes: N inputs, C channels, H x W pixels.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from ...contract import GatedModel
from ...measure.macs import count_macs
from .feature_maps import global_average, max_pool
from .settings import check_weights, scaled
from .static import StaticPath

STAGES = {11: ((64,), (128,), (256, 256), (512, 512), (512, 512)), 13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))}
"""Channels of the convolutions by depth; a stage ends with a pooling."""


class VggTrunk(GatedModel):
    """Convolutions with batch norm and ReLU, a pooling by two after each stage, a linear head on the mean over what is left."""

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int], depth: int, width: float):
        """`width` scales the channels of every layer; a map of one pixel is not pooled. Raises ValueError for another depth, and for
        too many weights."""
        super().__init__()
        if depth not in STAGES:
            raise ValueError(f"depth {depth} is not one of {', '.join(map(str, STAGES))}")
        self.input_shape, self.depth, self.width = tuple(input_shape), depth, width
        channels, size = input_shape[0], min(input_shape[1:])
        check_weights([channels, *(each for stage in STAGES[depth] for each in scaled(stage, width))])
        layers, self.pooled = [], []
        for stage in STAGES[depth]:
            widths = scaled(stage, width)
            for index, out in enumerate(widths):
                layers.append(nn.Sequential(nn.Conv2d(channels, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)))
                self.pooled.append(index == len(widths) - 1 and size > 1)
                channels = out
            size = max(1, size // 2)
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(channels, num_classes)
        for layer in layers:
            nn.init.kaiming_normal_(layer[0].weight, mode="fan_out", nonlinearity="relu")
        self.macs_static = count_macs(StaticPath(self), (1, *self.input_shape))

    def pool(self, index: int, x: Tensor) -> Tensor:
        """What the next layer reads, from a layer's output [N, C, H, W] behind its ReLU."""
        if not self.pooled[index]:
            return x
        if not x.shape[1]:  # which torch does not pool
            height, width = (size // 2 for size in x.shape[2:])
            return x[:, :, :height, :width]
        return max_pool(x)

    def classify(self, x: Tensor) -> Tensor:
        """Logits [N, classes] from the last layer's output."""
        return self.head(global_average(x))

    def static_logits(self, x: Tensor) -> Tensor:
        """Logits of the network without gates."""
        for index, layer in enumerate(self.layers):
            x = self.pool(index, F.relu(layer(x), inplace=True))
        return self.classify(x)
