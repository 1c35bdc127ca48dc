"""The residual trunk for small images (He et al. 2016, arXiv 1512.03385, section 4.2) that families gate or run as it is.

Shapes: N inputs, C channels, H x W pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...contract import GatedModel
from ...measure.macs import count_macs
from .feature_maps import global_average
from .settings import WIDE, Depth, Shortcut, Widths, check_weights, scaled
from .static import StaticPath

UNEVEN = {34: (3, 4, 6, 3)}
"""Blocks of each stage by depth, for four stages that have not equally many (He et al., table 1)."""


class ZeroPadShortcut(nn.Module):
    """Option A: every second pixel, the new channels zero; no parameters."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.before = (channels - in_channels) // 2
        self.after = channels - in_channels - self.before
        kernel = F.pad(torch.eye(in_channels), (0, 0, self.before, self.after))[:, :, None, None]
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():  # other runtimes compute a convolution faster than they rearrange a map
            return F.conv2d(x, self.kernel, stride=2)
        # Padding the channels of an NHWC view keeps channels_last; padding NCHW would silently fall back to contiguous.
        x_NHWC = x[:, :, ::2, ::2].permute(0, 2, 3, 1)
        return F.pad(x_NHWC, (self.before, self.after)).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """F(x): two 3x3 convolutions with batch norm; the part of a block that a gate can leave out."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return self.bn2(self.conv2(x))


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + F(x)); the two paths are modules of their own, so that a gate can stand between them."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut = "zero-pad", residual: type[Residual] = Residual):
        super().__init__()
        self.residual = residual(in_channels, channels, stride)
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        elif shortcut == "zero-pad":
            self.shortcut = ZeroPadShortcut(in_channels, channels)
        else:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.shortcut_is_identity = isinstance(self.shortcut, nn.Identity)
        """Left out, the block is nothing at all: a microsecond that an executor can do without."""
        self.shortcut_is_positive = not isinstance(self.shortcut, nn.Sequential)
        """What a block hands on is never negative; nor is it after a shortcut without parameters, so that it needs no ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x).add_(self.shortcut(x)), inplace=True)

    def skip(self, x: Tensor) -> Tensor:
        """The block with F(x) left out: relu(shortcut(x)); x itself where the shortcut is the identity."""
        shortcut = self.shortcut(x)
        return shortcut if self.shortcut_is_positive else F.relu(shortcut, inplace=True)


class ResidualTrunk(GatedModel):
    """A stem, stages of residual blocks, a linear head."""

    residual_path: type[Residual] = Residual
    """What F(x) of its blocks is."""

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
    ):
        """Raises ValueError for a depth that its stages do not divide, and for too many weights."""
        super().__init__()
        counts = blocks_of_stages(depth, len(widths))
        check_weights([input_shape[0], *(width for width, count in zip(widths, counts, strict=True) for _ in range(2 * count))])
        self.input_shape = tuple(input_shape)
        stem = nn.Conv2d(input_shape[0], widths[0], 3, 1, 1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        blocks, in_channels = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
            for index in range(count):
                blocks.append(ResidualBlock(in_channels, width, 2 if stage and not index else 1, shortcut, self.residual_path))
                in_channels = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.macs_static = count_macs(StaticPath(self), (1, *self.input_shape))

    def map_shapes(self) -> list[tuple[int, int, int, int]]:
        """Shapes [1, C, H, W] of the feature maps for one image: each block's input, then the last block's output."""
        height, width = self.input_shape[1:]
        shapes = [(1, self.blocks[0].residual.conv1.in_channels, height, width)]
        for block in self.blocks:
            stride = block.residual.conv1.stride[0]
            height, width = -(-height // stride), -(-width // stride)
            shapes.append((1, block.residual.conv2.out_channels, height, width))
        return shapes

    def run(self, x: Tensor, on: Sequence[bool]) -> Tensor:
        """Logits from the stem's output, of the network with those blocks alone that are on [B]."""
        for block, runs in zip(self.blocks, on, strict=True):
            if runs:
                x = block(x)
            elif not block.shortcut_is_identity:
                x = block.skip(x)
        return self.classify(x)

    def classify(self, x: Tensor) -> Tensor:
        """Logits [N, classes] from the last block's output."""
        return self.head(global_average(x))

    def static_logits(self, x: Tensor) -> Tensor:
        """Logits of the network with every block on."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classify(x)


class WideTrunk(ResidualTrunk):
    """The trunk of He et al.'s table 1, as it is run on small images: a 3x3 stem with stride 1 and no pooling behind it."""

    def __init__(self, num_classes: int, input_shape: tuple[int, int, int], depth: int, width: float):
        """`width` scales the channels of every layer. Raises ValueError as `ResidualTrunk`."""
        super().__init__(num_classes, input_shape, depth, scaled(WIDE, width), "projection")
        self.depth, self.width = depth, width


def blocks_of_stages(depth: int, stages: int) -> tuple[int, ...]:
    """Number of blocks of each stage. Raises ValueError for a depth that is not 2 + 2 x stages x a whole number (three stages: 6n + 2)."""
    if stages == 4 and depth in UNEVEN:
        return UNEVEN[depth]
    step = 2 * stages
    per_stage, rest = divmod(depth - 2, step)
    if rest or per_stage < 1:
        nearest = 2 + step * max(1, round((depth - 2) / step))
        raise ValueError(f"depth {depth} is not 2 + {step} x blocks per stage; the nearest is {nearest}")
    return (per_stage,) * stages
