"""Which switches a gated network uses most: the static network that its decisions ask for.

Shapes: N inputs, S switches.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..contract import GatedModel
from ..losses import Batch


def most_used(network: GatedModel, batches: Iterable[Batch], cost: Callable[[Tensor], float]) -> Tensor:
    """Switches [S] that are on for most inputs, as many as cost no more than the network's own decisions in the mean, its gates included.

    `cost` gives the MACs of an input under decisions [S].
    """
    used, macs, images = 0, 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            on = network.infer(batch.x, "masked").decisions
            used, macs, images = used + on.double().sum(0), macs + float(network.tally(on).sum()), images + len(on)
    rank = used.argsort(descending=True, stable=True).argsort()
    return rank < bisect_right(range(len(rank) + 1), macs / images, key=lambda count: cost(rank < count)) - 1
