"""Gaussian blur, then Gaussian noise, on whole batches of 8-bit images.

Blur adds whole numbers in float64 and noise comes from a table, so rounding does not depend on the order of a sum or on a library: an
image comes out the same on every device and machine, in whatever batch.

Shapes: N images, H x W pixels, C channels.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from .settings import Corruption

TOTAL = 2**20
"""Sum of a blur's weights, as whole numbers."""
DRAWN = 2**30
"""Streams of noise from here on are an epoch's own; those before are fixed."""
QUANTILES = 2**16
"""Values that noise is drawn from."""


def noise_keys(numbers: Tensor, stream: int) -> Tensor:
    """Keys int64 [N] of images from their numbers [N]; another number or another stream (under 2^31) gives independent noise."""
    return numbers + (stream << 32)


def corrupt(pixels: Tensor, corruption: Corruption, keys: Tensor) -> Tensor:
    """Images uint8 [N, H, W, C], blurred, with noise added, clipped and rounded: uint8 [N, H, W, C].

    Blur reflects at the edges without repeating the edge pixel. Noise is a function of an image's key (int64 [N]) and of the place.
    """
    if not (corruption.blur or corruption.noise):
        return pixels
    x = pixels.permute(0, 3, 1, 2).to(torch.float64, memory_format=torch.contiguous_format)
    if corruption.blur:
        down, across = (_blur_matrix(size, corruption.blur).to(x.device) for size in x.shape[2:])
        x = torch.matmul(down, torch.matmul(x, across.T)).div_(TOTAL**2)
    if corruption.noise:
        x += _normal(keys, x[0].numel()).view_as(x).mul_(255 * corruption.noise)
    return x.round_().clamp_(0, 255).permute(0, 2, 3, 1).to(torch.uint8, memory_format=torch.contiguous_format)


def corrupt_each(pixels: Tensor, corruptions: Sequence[Corruption], chosen: Tensor, keys: Tensor) -> Tensor:
    """`corrupt`, each image by the corruption whose index is `chosen` for it (int64 [N], on the CPU)."""
    corrupted = torch.empty_like(pixels, memory_format=torch.contiguous_format)
    for index, corruption in enumerate(corruptions):
        where = torch.nonzero(chosen == index)[:, 0].to(pixels.device)
        if len(where):
            corrupted[where] = corrupt(pixels[where], corruption, keys[where])
    return corrupted


@lru_cache(maxsize=16)
def _blur_matrix(size: int, sigma: float) -> Tensor:
    """What a line of `size` pixels is multiplied by to be blurred, in whole numbers: float64 [size, size], rows sum to TOTAL.

    The kernel ends at four sigma.
    """
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma).double() ** 2)
    weights = torch.round(TOTAL * weights / weights.sum())
    weights[radius] += TOTAL - weights.sum()
    period = max(2 * size - 2, 1)
    places = (torch.arange(size)[:, None] + offsets) % period
    places = torch.where(places < size, places, period - places)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, places, weights.expand(size, -1))


def _normal(keys: Tensor, count: int) -> Tensor:
    """`count` normal deviates of each key, float64 [N * count], counted in 2^-12.

    A hash of key and place has four 16-bit numbers, each of which picks a quantile.
    """
    places = torch.arange(math.ceil(count / 4), device=keys.device)
    hashed = _mixed(_mixed(keys)[:, None] + places * _STEP)
    picks = hashed.view(torch.int16)[:, :count].int() + QUANTILES // 2
    return _quantiles().to(keys.device).index_select(0, picks.flatten())


@lru_cache(maxsize=1)
def _quantiles() -> Tensor:
    shares = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    return torch.round(torch.special.ndtri(shares) * 4096) / 4096


_STEP = 0x1E3779B97F4A7C15


def _mixed(values: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) on int64, whose products wrap."""
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        values = (values ^ ((values >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return values ^ ((values >> 31) & ((1 << 33) - 1))
