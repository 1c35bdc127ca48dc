"""Small heads that forecast what blocks will be like before they are computed, for gates to decide by.

Shapes: N inputs, C channels, H x W pixels, D features, B blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones.feature_maps import global_average

START = 1.3
"""Gate logit of every block, in the mean over inputs, before anything is learned: with the noise three of four decisions are on, about
the budget of the recipe `predictive`, so that which ones is for the labels to say and not for the penalty."""


def interior(x: Tensor) -> Tensor:
    """The map [N, C, H, W] without an eighth of its side all round, where a random crop puts its zeros in training, and a pixel more.

    Gates that see those zeros learn to decide by them, and on whole images decide otherwise than they were trained to. The pixel is as
    far as the stem carries them; what blocks have carried further, a gate before a later block still sees.
    """
    _, _, height, width = x.shape
    top, left = (min(side // 8 + 1, (side - 1) // 2) for side in (height, width))  # something of a small map must be left
    return x[:, :, top : height - top, left : width - left]


class Forecast(nn.Module):
    """From pooled features [N, D] what blocks will be like before they are computed: CIR and the controller term c, [N, 2, B].

    Features are normalised over inputs: pooled ones hardly differ, and a gate that sees no difference closes for all or none. So is
    what c makes of them: a gate that the budget pushes down closes for a few inputs first, and not for all at once.
    """

    def __init__(self, features: int, blocks: int, gain: float):
        super().__init__()
        self.gain = gain
        self.normalise = nn.BatchNorm1d(features, affine=False)
        self.linear = nn.Linear(features, 2 * blocks)  # CIR, then scores, whose bias the norm takes out again
        self.spread = nn.BatchNorm1d(blocks, affine=False)
        self.offset = nn.Parameter(torch.zeros(blocks))
        self.start = START / gain - 1
        with torch.no_grad():  # CIR starts at 1, unrelated directions
            self.linear.weight[:blocks] = 0
            self.linear.bias[:blocks] = 1

    def forward(self, features: Tensor) -> Tensor:
        cir, score = self.linear(self.normalise(features)).float().chunk(2, 1)
        return torch.stack([cir, self.start + self.offset + self.spread(score) / self.gain], 1)

    def logits(self, features: Tensor) -> Tensor:
        """Gate logits [N, B] = gain (CIR + c)."""
        return self.gain * self(features).sum(1)

    def merged(self) -> "MergedForecast":
        """The same logits from one layer, for inference; the norm before it must be folded."""
        scale = torch.rsqrt(self.spread.running_var + self.spread.eps)
        (to_cir, to_score), (cir, score) = self.linear.weight.chunk(2), self.linear.bias.chunk(2)
        weight = self.gain * to_cir + scale[:, None] * to_score
        bias = self.gain * (cir + self.start + self.offset) + scale * (score - self.spread.running_mean)
        return MergedForecast(weight, bias)


class MergedForecast(nn.Module):
    """Gate logits [N, B] from features [N, D]: what is left of a `Forecast` when nobody asks for CIR."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)

    def logits(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weight, self.bias)


class UpFrontHead(nn.Module):
    """One small head on the stem's output that decides for every block at once.

    Pooling to a quarter of the resolution keeps it below 1 % of ResNet-20's MACs and, at batch 1, to a handful of operations.
    """

    def __init__(self, channels: int, blocks: int, hidden: int, gain: float):
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden, affine=False)  # a learned scale shrinks until nothing passes the ReLU
        self.forecast = Forecast(hidden, blocks, gain)

    def forward(self, x: Tensor) -> Tensor:
        return global_average(F.relu(self.norm(self.conv(shrunk(x))), inplace=True))

    def logits(self, x: Tensor) -> Tensor:
        """Gate logits [N, B]."""
        return self.forecast.logits(self(x))

    def merged(self) -> "MergedUpFrontHead":
        """The same logits for inference; the norms before it must be folded."""
        return MergedUpFrontHead(self.conv, self.forecast.merged())


class MergedUpFrontHead(nn.Module):
    """Gate logits [N, B] from the stem's output in as few calls as can be: at batch 1 each costs more than its arithmetic."""

    def __init__(self, conv: nn.Conv2d, forecast: MergedForecast):
        super().__init__()
        self.kernel, self.shift, self.bias = conv.weight, conv.bias, forecast.bias
        self.weight = nn.Parameter(forecast.weight.t().contiguous(), requires_grad=False)

    def logits(self, x: Tensor) -> Tensor:
        x = torch.conv2d(shrunk(x), self.kernel, self.shift, 1, 1)
        return torch.addmm(self.bias, x.relu_().mean((2, 3)), self.weight)


def shrunk(x: Tensor) -> Tensor:
    """What an `UpFrontHead` looks at: the interior at a quarter of the resolution."""
    return F.avg_pool2d(interior(x), 4, ceil_mode=True)


class BlockHead(nn.Module):
    """Decides about one block from its own input."""

    def __init__(self, channels: int, hidden: int, gain: float):
        super().__init__()
        self.linear = nn.Linear(channels, hidden)
        self.forecast = Forecast(hidden, 1, gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.linear(global_average(interior(x))), 0.1, inplace=True)

    def logits(self, x: Tensor) -> Tensor:
        """Gate logits [N, 1]."""
        return self.forecast.logits(self(x))
