"""Residual networks without gates: the static twins of gated ones, trained by themselves."""

from ..backbones.resnet import ResidualTrunk, WideTrunk
from ..backbones.settings import Width
from ..backbones.static import Static


class ResNet(Static, ResidualTrunk):
    """The residual network for small images (He et al., section 4.2)."""


class WideResNet(Static, WideTrunk):
    """ResNet-18 and ResNet-34 on small images."""

    def __init__(self, num_classes: int = 10, input_shape: tuple[int, int, int] = (3, 32, 32), depth: int = 18, width: Width = 1.0):
        super().__init__(num_classes, input_shape, depth, width)
