"""What is left of a convolution and its norm when only some filters run, on some inputs.

Shapes: N inputs, C channels, K channels that are held, A filters that are active, H x W pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
"""Of weights and feature maps."""
PRODUCT = "product"
"""In place of a layout: one input's convolution as a matrix product. A convolution rearranges its weights in every call, this does not."""


Pair = tuple[int, int]


class Cut:
    """The active filters of a layer, on the held channels of its input: [N, K, H, W] -> [N, A, H', W']."""

    def __init__(self, layer: Sequence[nn.Module], held: Tensor | None, active: Tensor | None, scale: Tensor | None = None):
        """`layer` is a convolution and its norm, unless that is folded. `held` [K] and `active` [A] are numbers of channels; None: all.

        The output is multiplied by `scale` [A], which costs nothing: it is a part of the norm, or of the folded weights.
        """
        conv, norm = conv_and_norm(layer)
        weight = conv.weight if active is None else conv.weight.index_select(0, active)
        self.weight = weight if held is None else weight.index_select(1, held)
        self.bias = _chosen(conv.bias, active)
        self.stride, self.padding = conv.stride, conv.padding
        self.layout: torch.memory_format | None = None
        self.columns: Tensor | None = None
        self.norm = None
        if norm is not None:
            mean, variance, gain, shift = (_chosen(each, active) for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
            if scale is not None:
                gain, shift = gain * scale, shift * scale
            self.norm = mean, variance, gain, shift, norm.eps
        elif scale is not None:
            self.weight, self.bias = self.weight * scale[:, None, None, None], self.bias * scale

    def laid_out(self, layout: str) -> "Cut":
        """The same, reading maps and weights of a layout (`LAYOUTS`, `PRODUCT`), for a cut that is used again and again."""
        self.layout = LAYOUTS["contiguous" if layout == PRODUCT else layout]
        self.weight = self.weight.contiguous(memory_format=self.layout)
        self.columns = as_columns(self.weight) if layout == PRODUCT else None
        return self

    def in_layout_of(self, conv: nn.Conv2d) -> "Cut":
        """The same with its weights laid out as those of the whole convolution; maps are read as they are."""
        self.weight = self.weight.contiguous(memory_format=LAYOUTS[layout_of(conv.weight)])
        return self

    def __call__(self, x: Tensor) -> Tensor:
        if self.layout is not None:
            x = x.contiguous(memory_format=self.layout)
        if not x.shape[1] or not self.weight.shape[0]:  # nothing to read or to compute
            size = output_size(x.shape[2:], self.weight.shape[2:], self.stride, self.padding)
            y = x.new_zeros(x.shape[0], self.weight.shape[0], *size)
            y = y if self.bias is None else y + self.bias[:, None, None]
        elif self.columns is not None:
            y = product(x, self.columns, self.bias, self.weight.shape[2:], self.stride, self.padding)
        else:
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if self.norm is None or not self.weight.shape[0]:
            return y
        mean, variance, gain, shift, eps = self.norm
        return F.batch_norm(y, mean, variance, gain, shift, eps=eps)


def as_columns(weight: Tensor) -> Tensor:
    """The weights [A, K, *taps] of a convolution as `product` reads them, [K x taps, A]."""
    return weight.permute(1, 2, 3, 0).flatten(0, 2).contiguous()


def product(x: Tensor, columns: Tensor, bias: Tensor | None, taps: Pair, stride: Pair, padding: Pair) -> Tensor:
    """The convolution of one input [1, K, H, W] as a matrix product: [1, A, H', W']."""
    pixels = F.unfold(x, taps, padding=padding, stride=stride)[0].t()
    y = pixels @ columns if bias is None else torch.addmm(bias, pixels, columns)
    return as_map(y, output_size(x.shape[2:], taps, stride, padding))


def as_map(y: Tensor, size: Pair) -> Tensor:
    """[P, A], a row for each pixel, as a map [1, A, H', W'] of this size."""
    return y.t().reshape(1, -1, *size)


def output_size(size: Pair, taps: Pair, stride: Pair, padding: Pair) -> Pair:
    """Height and width of a convolution's output for an input H x W."""
    height, width = ((each + 2 * pad - tap) // step + 1 for each, tap, step, pad in zip(size, taps, stride, padding, strict=True))
    return height, width


def layout_of(x: Tensor) -> str:
    """That of a convolution's weights, or of a feature map."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return "channels_last" if last else "contiguous"


def conv_and_norm(layer: Sequence[nn.Module]) -> tuple[nn.Conv2d, nn.BatchNorm2d | None]:
    """The convolution of a layer and its norm; None where it was folded."""
    conv, *rest = layer
    return conv, rest[0] if rest and isinstance(rest[0], nn.BatchNorm2d) else None


def _chosen(values: Tensor | None, active: Tensor | None) -> Tensor | None:
    return values if values is None or active is None else values.index_select(0, active)
