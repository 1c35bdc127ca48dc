"""Whether the mean gate says anything of what a network computes: its outputs may be the same at quite another one.

gate x (gamma z + beta) is a batch norm again, so a free gate that scales its channel is a part of that norm: gamma and beta go up as the
gate goes down. Gates that are run hard scale nothing: of a soft gate only the side of 0.5 counts.
"""

import copy

import torch
from torch import Tensor

from .cuts import conv_and_norm
from .network import ChannelGated

SHARE = 0.5
"""Of each gate that the copy has."""
THRESHOLD = 0.5
"""A channel is on where its gate is above it."""
TOLERANCE = 1e-3
"""Of the largest logit."""


def absorbed(net: ChannelGated, x: Tensor) -> list[str]:
    """A finding where images [N, C, H, W] have the logits that they have at another mean gate, as the network runs its gates."""
    if net.policy == "hard":
        return [_unused(net, x)]
    if net.of_input:
        return []
    with torch.inference_mode(), torch.autocast(x.device.type, enabled=False):  # bf16 rounds more than is to be shown
        plain = copy.deepcopy(net).eval()
        moved = with_gates(plain, SHARE)
        first, second = (each.infer(x, "masked") for each in (plain, moved))
    change = float((first.logits - second.logits).abs().max() / first.logits.abs().max())
    if change > TOLERANCE:
        return []
    means = (float(each.gates.mean()) for each in (first, second))
    return ["mean gate is absorbed: equal logits at mean gate {:.2f} and {:.2f}, with other scales of batch norm".format(*means)]


def with_gates(net: ChannelGated, share: float) -> ChannelGated:
    """A copy whose free gates are `share` of what they are, and whose norms make up for it. Run scaled, what of a gate is above 0.5 is
    shared, so that the same channels are on."""
    moved = copy.deepcopy(net)
    least = THRESHOLD if net.policy == "scaled" else 0.0
    with torch.no_grad():
        for gate, layer in zip(moved.gates, moved.gated_layers(), strict=True):
            before = gate.soft(gate.logits)
            after = torch.where(before > least, least + share * (before - least), share * before)
            gate.logits.copy_(torch.logit(after) * gate.temperature)
            norm = conv_and_norm(layer)[1]
            norm.weight.mul_(before / after)
            norm.bias.mul_(before / after)
    return moved


def _unused(net: ChannelGated, x: Tensor) -> str:
    """Of gates that are run hard: between what the soft ones may be with the same channels on."""
    with torch.inference_mode():
        on = float(copy.deepcopy(net).eval().infer(x, "masked").decisions.float().mean())
    low, high = THRESHOLD * on, THRESHOLD + THRESHOLD * on
    return (
        f"mean soft gate is not used: run hard, a channel is on or off; with these channels on ({100 * on:.1f} %) the logits are the same"
        f" at any mean gate from {low:.2f} to {high:.2f}"
    )
