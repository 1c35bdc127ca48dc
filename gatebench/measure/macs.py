"""Multiply-accumulates (MACs), counted by torch's own counter on what a module runs."""

import copy

import torch
from torch import nn


def count_macs(module: nn.Module, *shapes: tuple[int, ...]) -> int:
    """MACs of one call of `module` on inputs of the given shapes.

    Runs on the meta device, without arithmetic. Convolutions and matrix products count, element-wise work does not, as is usual in the
    field. `FlopCounterMode` counts two operations a MAC.
    """
    from torch.utils.flop_counter import FlopCounterMode  # takes its time

    copied = copy.deepcopy(module).to("meta").eval()
    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copied(*inputs)
    return counter.get_total_flops() // 2


def count_params(module: nn.Module) -> int:
    """Number of weights and biases, frozen ones too."""
    return sum(parameter.numel() for parameter in module.parameters())
