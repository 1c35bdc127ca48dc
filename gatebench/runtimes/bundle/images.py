"""The first piece of a network on images as they come: whole numbers, height by width by channels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Raw(nn.Module):
    """A piece whose first input is an image [1, H, W, C] of whole numbers, which is normalised as the network wants it."""

    def __init__(self, piece: nn.Module, mean: Sequence[float], std: Sequence[float], largest: int):
        """Mean and deviation of each channel; `largest` is the number that stands for 1."""
        super().__init__()
        self.piece = piece
        middle, deviation = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        self.register_buffer("scale", 1 / (largest * deviation))
        self.register_buffer("shift", -middle / deviation)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.piece(torch.addcmul(self.shift, image.permute(0, 3, 1, 2).float(), self.scale))
