"""The best fixed subset of a trained network's blocks.

Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...losses import Batch
from ..backbones.resnet import ResidualTrunk

BEAM = 16
"""Subsets of every size that are gone on from; all of them where there are no more."""


def best_subset(network: ResidualTrunk, batches: Sequence[Batch], budget: float, cost: Callable[[Tensor], float]) -> Tensor:
    """The blocks, boolean [B], with which the network answers most of the batches right for `budget` MACs an input; fewer where two do.

    No more are left out than the budget asks for. `cost` gives the MACs of an input for such blocks. Goes from all blocks down, block by
    block, with the best of each size. Raises ValueError where no block at all costs more than the budget.
    """
    everything = (True,) * len(network.blocks)
    network.eval()
    with torch.inference_mode():
        stems = [network.stem(batch.x) for batch in batches]

        def right(blocks: tuple[bool, ...]) -> int:
            pairs = zip(stems, batches, strict=True)
            return sum(int((network.run(stem.clone(), blocks).argmax(1) == batch.labels).sum()) for stem, batch in pairs)

        level, found = {everything: right(everything)}, {}
        while level:
            found |= {blocks: score for blocks, score in level.items() if cost(torch.tensor(blocks)) <= budget}
            going_on = sorted((blocks for blocks in level if blocks not in found), key=level.get, reverse=True)[:BEAM]
            smaller = {without(blocks, index) for blocks in going_on for index, runs in enumerate(blocks) if runs}
            level = {blocks: right(blocks) for blocks in sorted(smaller)}
    if not found:
        raise ValueError(f"even without a block it costs more than {budget:,.0f} MACs; give a larger --set model.subset.macs")
    return torch.tensor(max(found, key=lambda blocks: (found[blocks], -sum(blocks))))


def without(blocks: tuple[bool, ...], index: int) -> tuple[bool, ...]:
    """The same blocks [B] but for one."""
    return blocks[:index] + (False,) + blocks[index + 1 :]
