"""What is made of images that are not scored: decisions that say which pieces a network becomes, and ranges for int8.

Shapes: N images, H x W pixels, C channels, S switches.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...contract import GatedModel
from ...data.batches import Batches
from ...data.images import Dataset, Images
from ...pieces import Piece

SEEN = 2_000
"""Images whose decisions say which patterns are common, at most."""
RANGES = 32
"""Images from which int8 takes the ranges of activations."""


def unscored(data: Dataset, count: int) -> Images:
    """As many images, from all over the validation set, or the training set where there is none."""
    part = data.validation or data.train
    return part[np.linspace(0, len(part) - 1, min(count, len(part))).astype(int)]


def ranging(data: Dataset) -> Tensor:
    """Those from which int8 takes its ranges, as the data set has them, [N, H, W, C]."""
    return torch.from_numpy(unscored(data, RANGES).pixels)


def decided(net: GatedModel, data: Dataset, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Decisions [N, S] on images that are not scored, normalised by mean and deviation of each channel; none where it has no switches."""
    if not net.switches:
        return torch.zeros(1, 0, dtype=torch.bool)
    batches = Batches(unscored(data, SEEN), mean, std, batch_size=250, device=torch.device("cpu"))
    with torch.inference_mode():
        return torch.cat([net.infer(batch.x).decisions for batch in batches.in_order()])


def cut(net: GatedModel, data: Dataset, mean: Sequence[float], std: Sequence[float], most: int) -> Mapping[str, Piece]:
    """`GatedModel.pieces` by what it decides on images that are not scored, normalised by mean and deviation of each channel.

    Raises UsageError where its work cannot be cut like that.
    """
    return net.pieces(decided(net, data, mean, std), most)
