"""Ways of computing a convolution of one input, whose norm is folded into it, when some of its filters are active, on some channels.

Each is fastest somewhere: slicing copies the weights that it needs, which costs as much as it saves where maps are small and weights many.
Shapes: I inputs and O filters of the layer, T taps of a filter, K channels that are held, A filters that are active, H x W pixels, P of
the output.
"""

import copy
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cuts import LAYOUTS, Cut

Share = float | np.ndarray
"""One share, or an array of them."""
CHUNK = 64
"""Channels that `Bags` reads at a time: their weights, 64 x 9 x 512 numbers, stay in a core's cache."""
WITHOUT_CHUNKS = 192
"""Up to so many channels, chunks take longer than they save."""
MOST_PIXELS = 4
"""Of an output of `Bags`, which reads weights once for every pixel: at 4 x 4 it is slower than everything else."""


class Kernel:
    """[1, K, H, W] and the numbers of these channels and of the active filters -> [1, A, H', W'], or the output of all filters."""

    name: str
    layout: str | None = None
    """Of the map that it reads (`cuts.LAYOUTS`); None: any."""
    whole = False
    """Whether it reads all channels, [1, I, H, W]."""

    def __call__(self, x: Tensor, held: Tensor | None, active: Tensor | None) -> Tensor:
        """`held` [K] and `active` [A]; None: all."""
        raise NotImplementedError

    def share(self, held: Share, active: Share) -> Share:
        """Share of the layer's MACs that is computed, from the shares of channels held and filters active."""
        return 1.0


class Slice(Kernel):
    """The weights of the active filters and held channels are copied out; those of `conv` are contiguous.

    In one copy, since two take half as long again: first the filters, then their channels. On a CPU numpy copies rows of 9 numbers a
    sixth faster than torch, and is called faster.
    """

    def __init__(self, conv: nn.Conv2d, layout: str):
        self.conv, self.layout, self.name = conv, layout, f"slice, {layout}"
        self.inputs, self.taps, self.stride, self.padding = conv.in_channels, conv.kernel_size, conv.stride, conv.padding
        self.rows, self.bias = conv.weight.detach().view(-1, math.prod(self.taps)), conv.bias.detach()
        self.on_cpu = self.rows.device.type == "cpu" and self.rows.dtype == torch.float32
        if self.on_cpu:
            self.row_array, self.bias_array = self.rows.numpy(), self.bias.numpy()

    def __call__(self, x: Tensor, held: Tensor | None, active: Tensor | None) -> Tensor:
        if held is None or active is None or not held.shape[0] or not active.shape[0]:
            return Cut((self.conv,), held, active)(x)
        weight, bias = self.numpy_copy(held, active) if self.on_cpu else self.copy(held, active)
        return F.conv2d(x, weight.view(active.shape[0], held.shape[0], *self.taps), bias, self.stride, self.padding)

    def copy(self, held: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [A x K, T] and biases [A]."""
        numbers = torch.add(held, active.unsqueeze(1), alpha=self.inputs).view(-1)
        return self.rows.index_select(0, numbers), self.bias.index_select(0, active)

    def numpy_copy(self, held: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """The same. `clip`, since other modes check every number first."""
        filters = active.numpy()
        numbers = np.add.outer(filters * self.inputs, held.numpy()).ravel()
        weights, biases = self.row_array.take(numbers, 0, None, "clip"), self.bias_array.take(filters, 0, None, "clip")
        return torch.from_numpy(weights), torch.from_numpy(biases)

    def share(self, held: Share, active: Share) -> Share:
        return held * active


class Dense(Kernel):
    """All filters on all channels."""

    whole = True

    def __init__(self, conv: nn.Conv2d, layout: str):
        self.conv, self.layout, self.name = conv, layout, f"dense, {layout}"

    def __call__(self, x: Tensor, held: Tensor | None, active: Tensor | None) -> Tensor:
        return self.conv(x)


class Bags(Kernel):
    """All filters on the held channels, of which the active ones are kept. A pixel of the output is a weighted sum of rows of `weights`
    [I x T, O], which are read where they lie."""

    name = "bags"

    def __init__(self, conv: nn.Conv2d, weights: Tensor, size: tuple[int, int]):
        """`size` is that of the input, H x W."""
        self.size = _output(conv, size)
        self.conv, self.weights, self.taps = conv, weights, math.prod(conv.kernel_size)
        numbers = torch.arange(1.0, 1 + math.prod(size), device=weights.device).view(1, 1, *size)  # 0 is what lies outside of the map
        seen = F.unfold(numbers, conv.kernel_size, padding=conv.padding, stride=conv.stride)[0].long().t()  # [P, T]
        output, self.tap = seen.nonzero(as_tuple=True)
        self.pixel = seen[output, self.tap] - 1
        self.starts = torch.searchsorted(output, torch.arange(len(seen), device=output.device))

    def __call__(self, x: Tensor, held: Tensor | None, active: Tensor | None) -> Tensor:
        channels = torch.arange(x.shape[1], device=x.device) if held is None else held
        y = self.sums(x, channels) if channels.shape[0] <= WITHOUT_CHUNKS else self.sums_of_chunks(x, channels)
        y = y + self.conv.bias
        y = y if active is None else y.index_select(1, active)
        return y.t().reshape(1, -1, *self.size)

    def sums(self, x: Tensor, channels: Tensor) -> Tensor:
        """The output [P, O] from the held channels' numbers [K]."""
        rows = torch.add(self.tap.unsqueeze(1), channels, alpha=self.taps).view(-1)
        values = x[0].flatten(1).index_select(1, self.pixel).t().flatten().to(self.weights.dtype)
        return F.embedding_bag(rows, self.weights, self.starts * channels.shape[0], mode="sum", per_sample_weights=values)

    def sums_of_chunks(self, x: Tensor, channels: Tensor) -> Tensor:
        """The same, `CHUNK` channels at a time."""
        chunks = math.ceil(len(channels) / CHUNK)
        each = math.ceil(len(channels) / chunks)
        missing = chunks * each - len(channels)  # in the last chunk: any row with weight 0
        rows = F.pad(channels, (0, missing)).view(chunks, 1, each) * self.taps + self.tap[:, None]
        values = F.pad(x[0].flatten(1), (0, 0, 0, missing)).view(chunks, each, -1).index_select(2, self.pixel).transpose(1, 2)
        first = self.starts * each + torch.arange(chunks, device=x.device)[:, None] * rows[0].numel()
        sums = F.embedding_bag(
            rows.flatten(), self.weights, first.flatten(), mode="sum", per_sample_weights=values.flatten().to(self.weights.dtype)
        )
        return sums.view(chunks, len(self.starts), -1).sum(0)

    def share(self, held: Share, active: Share) -> Share:
        return held


NAMES = *(f"{kind}, {layout}" for kind in ("slice", "dense") for layout in LAYOUTS), Bags.name


def kernels(conv: nn.Conv2d, size: tuple[int, int]) -> list[Kernel]:
    """All that can compute a convolution with a bias on maps H x W."""
    laid_out = {layout: copy.deepcopy(conv).to(memory_format=form) for layout, form in LAYOUTS.items()}
    plain = laid_out["contiguous"]
    found: list[Kernel] = [Slice(plain, layout) for layout in LAYOUTS]
    found += [Dense(each, layout) for layout, each in laid_out.items()]
    if math.prod(_output(conv, size)) > MOST_PIXELS:
        return found
    return [*found, Bags(plain, plain.weight.permute(1, 2, 3, 0).flatten(0, 2).contiguous(), size)]


def _output(conv: nn.Conv2d, size: tuple[int, int]) -> list[int]:
    """Height and width of the output for an input H x W."""
    settings = zip(size, conv.padding, conv.kernel_size, conv.stride, strict=True)
    return [(each + 2 * padding - taps) // stride + 1 for each, padding, taps, stride in settings]
