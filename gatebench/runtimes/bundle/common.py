"""What is looked at before pieces are made: images that are not scored, and the decisions that a network takes on them.

Shapes: K decisions, S switches.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...contract import GatedModel
from ...data.batches import Batches
from ...data.images import Dataset, Images

SEEN = 2_000
"""Images whose decisions say which patterns are common, at most."""
RANGES = 32
"""Images from which int8 takes the ranges of activations."""
MOST = 16
"""Patterns that are made ready, at most."""


def unscored(data: Dataset, count: int) -> Images:
    """As many images, from all over the validation set, or the training set where there is none."""
    part = data.validation or data.train
    return part[np.linspace(0, len(part) - 1, min(count, len(part))).astype(int)]


def common(net: GatedModel, data: Dataset, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Decisions [K, S] on images that are not scored, normalised by mean and deviation of each channel; the commonest first."""
    batches = Batches(unscored(data, SEEN), mean, std, batch_size=250, device=torch.device("cpu"))
    with torch.inference_mode():
        decided = torch.cat([net.infer(batch.x).decisions for batch in batches.in_order()])
    patterns = [pattern for pattern, _ in Counter(map(tuple, decided.tolist())).most_common(MOST)]
    return torch.tensor(patterns, dtype=torch.bool).reshape(len(patterns), net.switches)
