"""Where the gate of a channel comes from.

Shapes: N inputs, C channels that are gated, D channels of the layer's input, H x W pixels.
"""

import torch
from torch import Tensor, nn

from ...gating import straight_through
from .settings import FreeGate, Gate, InputGate

LEAST_HIDDEN = 8


class FreeGates(nn.Module):
    """A free logit a channel; every input has the same gates."""

    of_input = False

    def __init__(self, settings: FreeGate, inputs: int, channels: int):
        super().__init__()
        self.logits = nn.Parameter(torch.full((channels,), settings.start))

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits [1, C]."""
        return self.logits[None]


class InputGates(nn.Module):
    """Logits from the pooled input of the layer, through two linear layers."""

    of_input = True

    def __init__(self, settings: InputGate, inputs: int, channels: int):
        super().__init__()
        hidden = max(LEAST_HIDDEN, inputs // settings.reduction)
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))
        nn.init.constant_(self.layers[2].bias, settings.start)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits [N, C] from the pooled input [N, D]."""
        return self.layers(pooled)


def build(settings: Gate, inputs: int, channels: int) -> nn.Module:
    """The gates of a convolution with so many inputs and outputs."""
    return (FreeGates if isinstance(settings, FreeGate) else InputGates)(settings, inputs, channels)


def relaxed(settings: Gate, logits: Tensor, temperature: float) -> Tensor:
    """Gates in training, of logits at a temperature."""
    soft = torch.sigmoid(logits.float() / temperature)
    hard = isinstance(settings, InputGate) and settings.estimator == "straight-through"
    return straight_through(soft) if hard else soft
