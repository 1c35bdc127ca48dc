"""Where the gate of a channel comes from, and when a channel is on.

Shapes: N inputs, C channels that are gated, D channels of the layer's input, H x W pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...gating import straight_through
from .settings import FreeGate, Gate, InputGate, SaliencyGate

TINY = 1e-6
"""Mean saliency that is divided by at least."""
LEAST_HIDDEN = 8
"""Units of the hidden layer of an `InputGates`."""
ROUNDING = 1e-6
"""More than what fp32 makes of a density: 0.3 of 10 channels are 3."""


class SigmoidGates(nn.Module):
    """Gates sigmoid(logit / temperature); a channel is on where its logit is above 0."""

    bounded = True
    """Whether gates are shares in [0, 1]."""

    def __init__(self, settings: FreeGate | InputGate):
        super().__init__()
        self.annealed, self.hard = settings.temperature, settings.estimator == "straight-through"
        self.register_buffer("temperature", torch.tensor(self.annealed.at(0.0)))

    def begin_epoch(self, progress: float) -> None:
        """Called before every epoch with the share of the training that is done."""
        self.temperature.fill_(self.annealed.at(progress))

    def relaxed(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of the channels in training, and gates in [0, 1]: here the same, of the shape of the logits."""
        gates = self.soft(logits)
        gates = straight_through(gates) if self.hard else gates
        return gates, gates

    def soft(self, logits: Tensor) -> Tensor:
        """What a channel that runs is scaled by where inference is not hard, fp32."""
        return torch.sigmoid(logits.float() / self.temperature)

    def on(self, logits: Tensor) -> Tensor:
        """Decisions, boolean."""
        return logits > 0


class FreeGates(SigmoidGates):
    """A free logit a channel; every input has the same gates."""

    of_input = False

    def __init__(self, settings: FreeGate, inputs: int, channels: int):
        super().__init__(settings)
        self.logits = nn.Parameter(torch.full((channels,), settings.start))


class InputGates(SigmoidGates):
    """Logits from the pooled input of the layer, through two linear layers."""

    of_input = True

    def __init__(self, settings: InputGate, inputs: int, channels: int):
        super().__init__(settings)
        hidden = max(LEAST_HIDDEN, inputs // settings.reduction)
        self.layers = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels))
        nn.init.constant_(self.layers[2].bias, settings.start)

    def pool(self, x: Tensor) -> Tensor:
        """What the gates see of the layer's input: [N, D, H, W] -> [N, D]."""
        return x.mean((2, 3))

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits [N, C] from the pooled input [N, D]. Calling modules takes as long as what they compute for one input."""
        first, _, second = self.layers
        return F.linear(F.relu(F.linear(pooled, first.weight, first.bias), inplace=True), second.weight, second.bias)


class SaliencyGates(nn.Module):
    """Saliencies relu(linear(pooled input)); of every input the same number of channels is on, those with the largest.

    A channel is scaled by its saliency over the mean of the layer's. The paper does not divide; without it a saliency grows with its
    input, so that they multiply from layer to layer, and training ends in NaN within a few steps.
    """

    of_input = True
    bounded = False

    def __init__(self, settings: SaliencyGate, inputs: int, channels: int):
        super().__init__()
        self.settings, self.channels = settings, channels
        self.layers = nn.Sequential(nn.Linear(inputs, channels))
        nn.init.kaiming_normal_(self.layers[0].weight)
        nn.init.ones_(self.layers[0].bias)
        self.register_buffer("density", torch.tensor(1.0))

    def begin_epoch(self, progress: float) -> None:
        done = min(1.0, progress / self.settings.shrink) if self.settings.shrink else 1.0
        self.density.fill_(1 - (1 - self.settings.density) * done)

    def pool(self, x: Tensor) -> Tensor:
        return x.abs().mean((2, 3))

    def forward(self, pooled: Tensor) -> Tensor:
        """[N, C] from the pooled input [N, D]; a saliency is what of it is above 0."""
        return self.layers(pooled)

    def relaxed(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        on = self.on(logits)
        return self.soft(logits) * on, on.float()

    def soft(self, logits: Tensor) -> Tensor:
        saliencies = torch.relu(logits.float())
        return saliencies / saliencies.mean(1, keepdim=True).clamp(min=TINY)

    def penalty(self, logits: Tensor) -> Tensor:
        """The sum of each input's saliencies [N]."""
        return torch.relu(logits.float()).sum(1)

    @property
    def count(self) -> int:
        """Channels that are on, one at least: in training more at first, at inference as many as the settings say."""
        density = float(self.density) if self.training else self.settings.density
        return max(1, math.ceil((density - ROUNDING) * self.channels))

    def on(self, logits: Tensor) -> Tensor:
        return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, logits.topk(self.count, 1).indices, True)


KINDS = {FreeGate: FreeGates, InputGate: InputGates, SaliencyGate: SaliencyGates}


def build(settings: Gate, inputs: int, channels: int) -> FreeGates | InputGates | SaliencyGates:
    """The gates of a convolution with so many inputs and outputs."""
    return KINDS[type(settings)](settings, inputs, channels)
