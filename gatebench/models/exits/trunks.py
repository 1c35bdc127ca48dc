"""Trunks for networks with exits: what each is cut into, and the heads that stand behind the pieces.

Shapes: N inputs, C channels, H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.feature_maps import global_average
from ..backbones.resnet import ResidualTrunk
from ..backbones.settings import check_weights
from .settings import Backbone, Cnn, ResNet18, SmallResNet, Spectral

Parts = tuple[list[nn.Module], list[nn.Module]]
"""Segments and heads."""


def build(backbone: Backbone, classes: int, input_shape: tuple[int, int, int]) -> Parts:
    """Segments and heads for a number of classes and the shape of one image (channels, height, width).

    Raises ValueError where the image is too small to be pooled so often, and for a depth that the stages do not divide.
    """
    builders = {Cnn: _cnn, Spectral: _spectral, SmallResNet: _small_resnet, ResNet18: _resnet18}
    return builders[type(backbone)](backbone, classes, input_shape)


def _cnn(settings: Cnn, classes: int, input_shape: tuple[int, int, int]) -> Parts:
    channels, *size = input_shape
    if min(size) >> (len(settings.widths) - 1) == 0:
        raise ValueError(f"an image of {size[0]}x{size[1]} can be halved for {min(size).bit_length()} widths, not {len(settings.widths)}")
    check_weights([channels, *(width for width in settings.widths for _ in range(settings.convolutions))])
    segments = []
    for index, width in enumerate(settings.widths):
        layers = [nn.MaxPool2d(2)] if index else []
        for _ in range(settings.convolutions):
            layers += _convolution(channels, width)
            channels = width
        segments.append(nn.Sequential(*layers))
    return segments, [PooledLinear(width, classes) for width in settings.widths]


def _spectral(settings: Spectral, classes: int, input_shape: tuple[int, int, int]) -> Parts:
    segments, channels = [], input_shape[0]
    check_weights([channels, *settings.widths])
    for index, width in enumerate(settings.widths):
        segments.append(nn.Sequential(*_convolution(channels, width, 3 if index else 1)))
        channels = width
    return segments, [PooledLinear(width, classes) for width in settings.widths]


def _small_resnet(settings: SmallResNet, classes: int, input_shape: tuple[int, int, int]) -> Parts:
    net = ResidualTrunk(classes, input_shape, settings.depth, settings.widths, settings.shortcut)
    return _stages(net, len(settings.widths)), [PooledLinear(width, classes) for width in settings.widths]


def _resnet18(settings: ResNet18, classes: int, input_shape: tuple[int, int, int]) -> Parts:
    depth = 2 + 4 * len(settings.widths)  # two blocks a stage, two convolutions a block
    net = ResidualTrunk(classes, input_shape, depth, settings.widths, "projection")
    *early, last = settings.widths
    heads = [AttentionHead(width, last, classes) for width in early]
    return _stages(net, len(settings.widths)), [*heads, PooledLinear(last, classes, normalise=False)]


def _convolution(channels: int, out: int, size: int = 3) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, size, padding=size // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def _stages(net: ResidualTrunk, stages: int) -> list[nn.Module]:
    """The blocks of a residual network by stage, which have as many each; the stem belongs to the first."""
    blocks, size = list(net.blocks), len(net.blocks) // stages
    parts = [blocks[start : start + size] for start in range(0, len(blocks), size)]
    return [nn.Sequential(net.stem, *parts[0]), *(nn.Sequential(*part) for part in parts[1:])]


class PooledLinear(nn.Module):
    """A head: the mean over the map, then a linear layer.

    Normalised between the two, where nothing says otherwise: weight decay shrinks the scale of maps that only a norm reads after, until
    a head without one hardly learns.
    """

    def __init__(self, channels: int, classes: int, normalise: bool = True):
        super().__init__()
        self.normalise = nn.BatchNorm1d(channels, affine=False) if normalise else nn.Identity()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.normalise(global_average(x)))

    def merged(self) -> "MergedPooledLinear":
        """The same for inference, once the norm is folded."""
        return MergedPooledLinear(self.linear)


class MergedPooledLinear(nn.Module):
    """A `PooledLinear` in two calls: at batch 1 each costs more than its arithmetic."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = nn.Parameter(linear.weight.t().contiguous(), requires_grad=False), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.sum((2, 3)), self.weight, alpha=1 / (x.shape[2] * x.shape[3]))


class AttentionHead(nn.Module):
    """A head for a map of C channels: an attention mask from a separable convolution, then separable convolutions that double the
    channels until they are no fewer than the last stage's, as in CGT's released code (after Zhang et al., SCAN, NeurIPS 2019; widths
    are ours)."""

    def __init__(self, channels: int, last_channels: int, classes: int):
        super().__init__()
        self.mask = nn.Sequential(*_separable(channels, channels, 2))
        layers = []
        while channels < last_channels:
            layers += [*_separable(channels, 2 * channels, 2), nn.ReLU(inplace=True)]
            channels *= 2
        self.shrink = nn.Sequential(*layers)
        self.answer = PooledLinear(channels, classes, normalise=False)

    def forward(self, x: Tensor) -> Tensor:
        mask = F.interpolate(self.mask(x), size=x.shape[2:], mode="bilinear", align_corners=False).sigmoid()
        return self.answer(self.shrink(mask * x))


def _separable(channels: int, out: int, stride: int) -> list[nn.Module]:
    """A 3x3 convolution channel by channel, then one across channels, with batch norm."""
    return [
        nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
    ]  # fmt: skip
