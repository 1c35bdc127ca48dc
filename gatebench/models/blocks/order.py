"""The order in which a batch lies in memory, so that the inputs that run a block are neighbours and none is copied to and fro.

A convolution takes a slice of a batch for nothing, but scattered rows only as a copy. One order can make the rows of two
successive blocks contiguous (first only, both, second only, neither), so the batch is moved once for every two blocks, where
gathering and writing back would move it four times.
"""

import numpy as np
import torch
from torch import Tensor

from ..backbones.feature_maps import take_rows

WORTH_MOVING = 0.04
"""Share of a batch that must be off before leaving it out pays for moving the batch: a choice, made on a CPU."""


class BatchOrder:
    """Which input stands in which row of a batch of N inputs. Decisions are always given by input, not by row."""

    def __init__(self, count: int):
        self.inputs = np.arange(count)
        """[N]: the input that stands in each row."""
        self.most = count * (1 - WORTH_MOVING)
        self.moved = False

    def splits(self, count: int) -> bool:
        """Whether `count` inputs that are on leave so many off that they are worth a move."""
        return 0 < count <= self.most

    def rows(self, on: np.ndarray) -> slice | None:
        """Where the inputs that are `on` [N] stand, if side by side."""
        rows = on[self.inputs]
        first, count = int(rows.argmax()), np.count_nonzero(rows)
        return slice(first, first + count) if rows[first : first + count].all() else None

    def arrange(
        self, x: Tensor, state: tuple[Tensor, ...], on: np.ndarray, later: np.ndarray | None
    ) -> tuple[Tensor, tuple[Tensor, ...], slice]:
        """The batch x [N, C, H, W] and the gates' state with the inputs that are `on` [N] side by side, and the rows of these.

        Those that are on `later` come side by side in the same move. Where no move is needed x is returned as it is.
        """
        rows = self.rows(on)
        if rows is not None:
            return x, state, rows
        first = on[self.inputs].astype(np.int8)
        second = np.zeros_like(first) if later is None else later[self.inputs].astype(np.int8)
        place = np.where(first, second, 3 - second)  # 0 first only, 1 both, 2 second only, 3 neither
        new = np.argsort(place, kind="stable")
        self.inputs, self.moved = self.inputs[new], True
        order = torch.from_numpy(new).to(x.device)
        return take_rows(x, order), tuple(take_rows(each, order) for each in state), slice(0, np.count_nonzero(on))

    def restore(self, x: Tensor) -> Tensor:
        """Rows [N, ...] back in the order of the inputs."""
        return x[torch.from_numpy(np.argsort(self.inputs)).to(x.device)] if self.moved else x
