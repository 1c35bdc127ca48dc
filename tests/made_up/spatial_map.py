"""Block gates that are a map: a block is scaled by an attention map of its input, and left out where the map is dark on average."""

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from gatebench.measure.macs import count_macs
from gatebench.models.blocks.network import BlockGatedResNet


class SpatialMap(BlockGatedResNet):
    when = "before"

    def __init__(self, num_classes, input_shape):
        super().__init__(num_classes, input_shape, 14, (8, 16, 32))
        shapes = self.map_shapes()[:-1]
        self.maps = nn.ModuleList(nn.Conv2d(shape[1], 1, 1) for shape in shapes)
        self.macs_gate = sum(count_macs(each, shape) for each, shape in zip(self.maps, shapes, strict=True))

    def attention(self, index, x):
        return torch.sigmoid(4 * self.maps[index](x))

    def logits(self, index, x, state, paths):
        attention = self.attention(index, x)
        return torch.logit(attention.float().mean((1, 2, 3)), 1e-6), (attention,)

    def residual(self, index, x, state):
        attention = state[0] if state else self.attention(index, x)
        residual = super().residual(index, x, state)
        return residual * (attention if attention.shape[2:] == residual.shape[2:] else avg_pool2d(attention, 2, ceil_mode=True))
