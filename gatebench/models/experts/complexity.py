"""Chooses by how complex an image is, without learning: in the place of ICNet-9600, which phase 1 of Routing Beats Latency tried.

Shapes: N images, C channels, H x W pixels.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from .decider import Decider, in_fp32
from .intervals import ByIntervals

SOBEL = ((-0.25, 0.0, 0.25), (-0.5, 0.0, 0.5), (-0.25, 0.0, 0.25))
"""Gives the difference of two pixels that lie two apart: [-1, 1] for an image in [0, 1]."""


class ByComplexity(ByIntervals, Decider):
    """Scores [N, 1] in [0, 1]: `spatial_information`."""

    name = "complexity"

    def __init__(self, experts: int, channels: int):
        super().__init__()
        self.statistics = (0.0,) * channels, (1.0,) * channels
        self.register_buffer("kernels", sobel(), persistent=False)
        self.keep_intervals(experts)

    def forward(self, x: Tensor) -> Tensor:
        return spatial_information(x, self.kernels)[:, None]


def sobel() -> Tensor:
    """Kernels [2, 1, 3, 3] of the gradient across and down."""
    across = torch.tensor(SOBEL)
    return torch.stack([across, across.T])[:, None]


def spatial_information(x: Tensor, kernels: Tensor) -> Tensor:
    """Mean gradient magnitude [N] of images [N, C, H, W] in [0, 1], their channels averaged, over the largest there can be, sqrt 2.

    Mean spatial information goes with how well an image compresses (Yu and Winkler 2013, "Image complexity and spatial information",
    QoMEX); the gradient is Sobel's, as in ITU-T P.910.
    """
    with in_fp32(x):
        across, down = conv2d(x.float().mean(1, keepdim=True), kernels).unbind(1)
    return torch.hypot(across, down).mean((1, 2)) / math.sqrt(2)
