"""Residual networks without gates: the static twins of gated ones, trained by themselves."""

from ..backbones.resnet import ResidualTrunk
from ..backbones.settings import WIDE, Width, scaled
from ..backbones.static import Static


class ResNet(Static, ResidualTrunk):
    """The residual network for small images (He et al., section 4.2)."""


class WideResNet(Static, ResidualTrunk):
    """The residual network of He et al.'s table 1, as it is run on small images: a 3x3 stem with stride 1 and no pooling behind it."""

    def __init__(self, num_classes: int = 10, input_shape: tuple[int, int, int] = (3, 32, 32), depth: int = 18, width: Width = 1.0):
        """`width` scales the channels of every layer. Raises ValueError as `ResidualTrunk`."""
        super().__init__(num_classes, input_shape, depth, scaled(WIDE, width), "projection")
