"""Batches on the device: gathered, augmented and normalised whole.

Shapes: N images, B of them in a batch, C channels, H x W pixels.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .images import Images


class Batches:
    """A split in the device's memory as uint8, with its batches.

    One gather picks the images, crops and flips them at once: the pixels lie zero-padded in one long row, and a batch is the
    list of the places its pixels come from.
    """

    def __init__(self, images: Images, mean, std, *, batch_size: int, device: torch.device, augment: bool = False):
        self.batch_size, self.augment = batch_size, augment
        self.height, self.width = images.pixels.shape[1:3]
        self.pad = max(self.height, self.width) // 8 if augment else 0
        pixels = torch.from_numpy(images.pixels).to(device)
        padded = torch.nn.functional.pad(pixels, (0, 0, self.pad, self.pad, self.pad, self.pad))
        self.row_length = padded.shape[2]
        self.places = padded.shape[1] * padded.shape[2]
        self.pixels = padded.flatten(0, 2)
        self.labels = torch.from_numpy(images.labels).to(device)
        self.scale = 1 / (255 * torch.tensor(std, device=device))
        self.shift = torch.tensor(mean, device=device) / torch.tensor(std, device=device)

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, as stored, not augmented: x float32 [B, C, H, W] channels_last, labels [B]."""
        for chosen in torch.arange(len(self.labels), device=self.labels.device).split(self.batch_size):
            yield self._batch(chosen, self._centred(chosen))

    def shuffled(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in an order and with an augmentation that `seed` decides."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.labels), generator=generator)
        for chosen in order.split(self.batch_size):
            places = self._augmented(chosen, generator) if self.augment else self._centred(chosen)
            yield self._batch(chosen.to(self.labels.device), places)

    def _batch(self, chosen: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pixels[places.to(self.pixels.device)].float().mul_(self.scale).sub_(self.shift)
        return x.permute(0, 3, 1, 2), self.labels[chosen]

    def _centred(self, chosen: Tensor) -> Tensor:
        rows = torch.arange(self.height, device=chosen.device) + self.pad
        columns = torch.arange(self.width, device=chosen.device) + self.pad
        return self._places(chosen, rows[None], columns[None])

    def _augmented(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        count = len(chosen)
        down, right = torch.randint(0, 2 * self.pad + 1, (2, count, 1), generator=generator)
        flipped = torch.randint(0, 2, (count, 1), generator=generator, dtype=torch.bool)
        columns = torch.arange(self.width)[None]
        columns = torch.where(flipped, self.width - 1 - columns, columns)
        return self._places(chosen, down + torch.arange(self.height)[None], right + columns)

    def _places(self, chosen: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Index [B, H, W] into the long row of pixels, for rows [B or 1, H] and columns [B or 1, W] of the padded images."""
        return chosen[:, None, None] * self.places + rows[:, :, None] * self.row_length + columns[:, None, :]
