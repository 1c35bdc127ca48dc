"""The order in which a batch lies in memory, so that the inputs that run a block are neighbours and none is copied to and fro.

A convolution takes a slice of a batch for nothing, but scattered rows only as a copy. One order can make the rows of two
successive blocks contiguous (first only, both, second only, neither), so the batch is moved once for every two blocks, where
gathering and writing back would move it four times.
"""

import numpy as np
import torch
from torch import Tensor

from ..feature_maps import flat, unflat

WORTH_MOVING = 0.04
"""Share of a batch that must be off before leaving it out pays for moving the batch; below it the block runs for all."""


class BatchOrder:
    """Which input stands in which row of a batch of `count` inputs. Decisions are always given by input, not by row."""

    def __init__(self, count: int):
        self.inputs = np.arange(count)
        """[N]: the input that stands in each row."""
        self.moved = False

    def arrange(self, x: Tensor, on: np.ndarray, later: np.ndarray) -> tuple[Tensor, slice]:
        """The batch x [N, C, H, W] with the rows of the inputs that are `on` [N] side by side, and where they are.

        `later` [N, L] are the decisions of the blocks that follow, as far as they are known: the next of them that splits
        the batch gets its rows side by side by the same move. The slice is the whole batch where too few are off for a move to pay.
        """
        count = np.count_nonzero(on)
        if count == 0:
            return x, slice(0, 0)
        if not self._splits(count):
            return x, slice(0, len(on))
        rows = on[self.inputs]
        first = int(rows.argmax())
        if not rows[first : first + count].all():
            following = next((column for column in later.T if self._splits(np.count_nonzero(column))), None)
            second = np.zeros_like(rows) if following is None else following[self.inputs]
            place = np.where(rows, second, 3 - second.astype(int))  # 0 first only, 1 both, 2 second only, 3 neither
            x = self._move(x, np.argsort(place, kind="stable"))
            first = 0
        return x, slice(first, first + count)

    def restore(self, x: Tensor) -> Tensor:
        """Rows [N, ...] back in the order of the inputs."""
        return x[torch.from_numpy(np.argsort(self.inputs)).to(x.device)] if self.moved else x

    def _splits(self, count: int) -> bool:
        """Whether `count` inputs that are on leave enough that are off."""
        return 0 < count <= len(self.inputs) * (1 - WORTH_MOVING)

    def _move(self, x: Tensor, rows: np.ndarray) -> Tensor:
        self.inputs, self.moved = self.inputs[rows], True
        return unflat(flat(x).index_select(0, torch.from_numpy(rows).to(x.device)), x)
