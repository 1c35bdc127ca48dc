"""Batches on the device: gathered, augmented and normalised whole.

Shapes: N images, B of them in a batch, C channels, H x W pixels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..losses import Batch
from .corruption import DRAWN, corrupt_each, noise_keys
from .images import Images
from .settings import Corruption

ALIKE = 8
"""Images of a batch that share a draw of RandAugment and erasing: drawing for each would cost more than training."""


class Batches:
    """A split in the device's memory as whole numbers, with its batches.

    One gather picks the images, crops and flips them at once: the pixels lie zero-padded in one long row, and a batch is the
    list of the places its pixels come from.
    """

    def __init__(self, images: Images, mean, std, *, batch_size: int, device: torch.device, crop: bool = False, flip: bool = False,
                 rand: bool = False, corruptions: Sequence[Corruption] = (), outputs: Tensor | None = None):  # fmt: skip
        """`rand` adds RandAugment and random erasing to a batch's crops and flips, drawn from torch's global generator.

        Of `corruptions`, an image gets one drawn at random, after crops and flips. `outputs` are cached logits [N, P, classes] of frozen
        networks on these images as stored; batches carry their rows. Raises UsageError where the images are not grey or RGB of 8 bits,
        which RandAugment is for, and where images would change whose outputs are cached.
        """
        if outputs is not None and (crop or flip or rand or corruptions):
            raise UsageError(
                "Cached outputs of parents are those of the images as they are. Give --set data.augment=none, and a data.training_severity"
                " other than random."
            )
        if rand and (images.pixels.dtype != np.uint8 or images.pixels.shape[3] not in (1, 3)):
            channels = images.pixels.shape[3]
            raise UsageError(
                f"data.augment: rand-augment is for grey or RGB images of 8 bits, not {channels} channels of {images.pixels.dtype}."
            )
        self.batch_size, self.crop, self.flip, self.corruptions = batch_size, crop, flip, tuple(corruptions)
        self.rand = _rand() if rand else None
        self.height, self.width = images.pixels.shape[1:3]
        self.pad = max(self.height, self.width) // 8 if crop else 0
        pixels = torch.from_numpy(images.pixels).to(device)
        padded = torch.nn.functional.pad(pixels, (0, 0, self.pad, self.pad, self.pad, self.pad))
        self.row_length = padded.shape[2]
        self.image_length = padded.shape[1] * padded.shape[2]
        self.pixels = padded.flatten(0, 2)
        self.labels = torch.from_numpy(images.labels).to(device)
        self.outputs = None if outputs is None else outputs.to(device)
        self.source, self.severity, self.difficulty = images.source, images.severity, images.difficulty
        scale = 1 / (torch.iinfo(pixels.dtype).max * torch.tensor(std, device=device))
        shift = torch.tensor(mean, device=device) / torch.tensor(std, device=device)
        self.scale, self.shift = (each.repeat(self.height * self.width) for each in (scale, shift))  # one long row is fast

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[Batch]:
        return self.in_order()

    def in_order(self) -> Iterator[Batch]:
        """Every image once, as stored, not augmented: x float32 [B, C, H, W] channels_last, labels [B]."""
        for chosen in torch.arange(len(self.labels), device=self.labels.device).split(self._sizes()):
            yield self._batch(chosen, self._stored(chosen))

    def shuffled(self, seed: int) -> Iterator[Batch]:
        """Every image once, in an order and with an augmentation that `seed` decides."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.labels), generator=generator)
        keys = noise_keys(torch.arange(len(self.labels)), DRAWN + seed % DRAWN).to(self.labels.device)
        for chosen in order.to(self.labels.device).split(self._sizes()):
            moved = self.crop or self.flip
            pixels = self.pixels[self._places(chosen, *self._augmented(len(chosen), generator))] if moved else self._stored(chosen)
            if self.corruptions:
                drawn = torch.randint(len(self.corruptions), (len(chosen),), generator=generator)
                pixels = corrupt_each(pixels, self.corruptions, drawn, keys[chosen])
            yield self._batch(chosen, pixels, change=self.rand)

    def _sizes(self) -> list[int]:
        """Of the batches; a single image left over joins the last one, since batch norm cannot take the variance of one."""
        whole, rest = divmod(len(self.labels), self.batch_size)
        if rest == 1 and whole:
            return [self.batch_size] * (whole - 1) + [self.batch_size + 1]
        return [self.batch_size] * whole + [rest] * (rest > 0)

    def _stored(self, chosen: Tensor) -> Tensor:
        """Pixels [B, H, W, C] of images as they are stored."""
        if self.pad:
            return self.pixels[self._places(chosen, *self._centred())]
        return self.pixels.view(len(self.labels), self.height, self.width, -1).index_select(0, chosen)

    def _places(self, chosen: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Where pixels [B, H, W] of padded images lie: images `chosen` [B], rows [B or 1, H], columns [B or 1, W]."""
        return chosen[:, None, None] * self.image_length + rows[:, :, None] * self.row_length + columns[:, None, :]

    def _batch(self, chosen: Tensor, pixels: Tensor, change: "tuple | None" = None) -> Batch:
        """The images `chosen` [B], of these pixels [B, H, W, C], normalised."""
        if change:
            groups = pixels.permute(0, 3, 1, 2).contiguous().split(ALIKE)
            pixels = torch.cat([change[0](group) for group in groups]).permute(0, 2, 3, 1)
        x = pixels.flatten(1).float().mul_(self.scale).sub_(self.shift).view(pixels.shape).permute(0, 3, 1, 2)
        if change:
            x = torch.cat([change[1](group) for group in x.split(ALIKE)]).contiguous(memory_format=torch.channels_last)
        return Batch(x, self.labels[chosen], None if self.outputs is None else self.outputs[chosen])

    def _centred(self) -> tuple[Tensor, Tensor]:
        rows, columns = (torch.arange(size, device=self.labels.device)[None] + self.pad for size in (self.height, self.width))
        return rows, columns

    def _augmented(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows and columns of `count` images, cropped and flipped at random; drawn on the CPU so that every device sees the same."""
        rows, columns = self._centred()
        if self.flip:
            flipped = torch.randint(0, 2, (count, 1), generator=generator, dtype=torch.bool).to(rows.device)
            columns = torch.where(flipped, columns.flip(1), columns)
        if self.crop:
            down, right = torch.randint(-self.pad, self.pad + 1, (2, count, 1), generator=generator).to(rows.device)
            rows, columns = rows + down, columns + right
        return rows, columns


def _rand() -> tuple:
    """What is done to the pixels of an image, and to the image once it is normalised."""
    from torchvision.transforms import v2  # takes its time

    return v2.RandAugment(), v2.RandomErasing()
