"""What is left of a convolution and its norm when only some filters run, on some inputs.

Shapes: N inputs, C channels, K channels that are held, A filters that are active, H x W pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
"""Of weights and feature maps."""


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
        self.norm = None
        if norm is not None:
            mean, variance, gain, shift = (_chosen(each, active) for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
            if scale is not None:
                gain, shift = gain * scale, shift * scale
            self.norm = mean, variance, gain, shift, norm.eps
        elif scale is not None:
            self.weight, self.bias = self.weight * scale[:, None, None, None], self.bias * scale

    def laid_out(self, layout: str) -> "Cut":
        """The same, reading maps and weights of a layout (`LAYOUTS`), for a cut that is used again and again."""
        self.layout = LAYOUTS[layout]
        self.weight = self.weight.contiguous(memory_format=self.layout)
        return self

    def in_layout_of(self, conv: nn.Conv2d) -> "Cut":
        """The same with its weights laid out as those of the whole convolution; maps are read as they are."""
        self.weight = self.weight.contiguous(memory_format=LAYOUTS[layout_of(conv.weight)])
        return self

    def __call__(self, x: Tensor) -> Tensor:
        if self.layout is not None:
            x = x.contiguous(memory_format=self.layout)
        if not x.shape[1] or not self.weight.shape[0]:  # nothing to read or to compute
            height, width = (-(-size // step) for size, step in zip(x.shape[2:], self.stride, strict=True))
            y = x.new_zeros(x.shape[0], self.weight.shape[0], height, width)
            y = y if self.bias is None else y + self.bias[:, None, None]
        else:
            y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if self.norm is None or not self.weight.shape[0]:
            return y
        mean, variance, gain, shift, eps = self.norm
        return F.batch_norm(y, mean, variance, gain, shift, eps=eps)


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
