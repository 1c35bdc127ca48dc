"""The first piece of a network on images as they come: whole numbers, height by width by channels."""

import torch
from torch import Tensor, nn

from ..contract import Prepare


class Raw(nn.Module):
    """A piece whose first input is an image [1, H, W, C] of whole numbers, which is normalised as the network wants it."""

    def __init__(self, piece: nn.Module, prepare: Prepare, largest: int):
        """`largest` is the number that stands for 1."""
        super().__init__()
        self.piece = piece
        mean, std = torch.tensor(prepare.mean)[:, None, None], torch.tensor(prepare.std)[:, None, None]
        self.register_buffer("scale", 1 / (largest * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.piece(torch.addcmul(self.shift, image.permute(0, 3, 1, 2).float(), self.scale))
