"""Whether the mean gate says anything: a free gate behind a batch norm is a part of that norm.

gate x (gamma z + beta) is a batch norm again. So any mean gate can be had at equal outputs: gamma and beta go up as the gate goes down.
"""

import copy

import torch
from torch import Tensor

from .cuts import conv_and_norm
from .network import ChannelGated

SHARE = 0.5
"""Of each gate that the copy has."""
TOLERANCE = 1e-3
"""Of the largest logit."""


def absorbed(net: ChannelGated, x: Tensor) -> list[str]:
    """A finding where a copy with smaller gates and larger norms gives the logits of images [N, C, H, W] that the network gives."""
    if net.of_input:
        return []
    with torch.inference_mode(), torch.autocast(x.device.type, enabled=False):  # bf16 rounds more than is to be shown
        plain = copy.deepcopy(net).eval()
        moved = with_gates(plain, SHARE)
        first, second = (each.infer(x, "masked", policy="soft") for each in (plain, moved))
    change = float((first.logits - second.logits).abs().max() / first.logits.abs().max())
    if change > TOLERANCE:
        return []
    means = (float(each.gates.mean()) for each in (first, second))
    return ["mean gate is absorbed: equal logits at mean gate {:.2f} and {:.2f}, with other scales of batch norm".format(*means)]


def with_gates(net: ChannelGated, share: float) -> ChannelGated:
    """A copy whose free gates are `share` of what they are, and whose norms make up for it."""
    moved = copy.deepcopy(net)
    with torch.no_grad():
        for gate, layer in zip(moved.gates, moved.gated_layers(), strict=True):
            soft = torch.sigmoid(gate.logits / gate.temperature) * share
            gate.logits.copy_(torch.logit(soft) * gate.temperature)
            norm = conv_and_norm(layer)[1]
            norm.weight.div_(share)
            norm.bias.div_(share)
    return moved
