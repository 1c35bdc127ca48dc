"""CosineGate's signal predicted: the gates are decided before F(x) is computed, so that a block that is off is never run.

Shapes: N inputs, C channels, H x W pixels, D features, B blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...contract import Output
from ...gating import incompatibility, logistic_like, straight_through
from ...measure.macs import count_macs
from ..backbones.feature_maps import gated_sum, global_average, inner_products
from .network import BlockGatedResNet, Paths, State
from .settings import PredictiveGate

START = 1.3
"""Gate logit of every block, in the mean over inputs, before anything is learned: with the noise three of four decisions are on, about
what the recipe's budget allows, so that which ones is for the answers to say and not for the penalty."""


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

    def weigh(self, forecast: Tensor) -> Tensor:
        """Gate logits [N, B] = gain (CIR + c)."""
        return self.gain * forecast.sum(1)

    def logits(self, features: Tensor) -> Tensor:
        return self.weigh(self(features))

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
    """The same for one block from its own input."""

    def __init__(self, channels: int, hidden: int, gain: float):
        super().__init__()
        self.linear = nn.Linear(channels, hidden)
        self.forecast = Forecast(hidden, 1, gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.linear(global_average(interior(x))), 0.1, inplace=True)

    def logits(self, x: Tensor) -> Tensor:
        """Gate logits [N, 1]."""
        return self.forecast.logits(self(x))


class PredictiveCosineGate(BlockGatedResNet):
    """Gates decided before F(x): logit = gain (predicted CIR + c), the paper's Eq. 11 with its prose's sign.

    At first every block runs and the gates only watch. Then they act, hard in training too (straight-through), and the noise that
    lets them explore shrinks to nothing.
    """

    terms = ("prediction",)

    def __init__(self, gate: PredictiveGate, **backbone):
        """`backbone` are `ResNet`'s arguments."""
        super().__init__(**backbone)
        self.when, self.threshold, self.watch, self.settle = gate.decides, gate.threshold, gate.watch, gate.settle
        self.register_buffer("noise", torch.ones(()), persistent=False)  # a tensor: torch.compile would build anew for every number
        self.begin_epoch(0.0)
        shapes = self.map_shapes()[:-1]
        if gate.decides == "up-front":
            self.up_front_head = UpFrontHead(shapes[0][1], len(shapes), gate.hidden, gate.gain)
            self.macs_gate = count_macs(ForecastPath(self.up_front_head), shapes[0])
        else:
            self.block_heads = nn.ModuleList(BlockHead(shape[1], gate.hidden, gate.gain) for shape in shapes)
            self.macs_gate = sum(count_macs(ForecastPath(head), shape) for head, shape in zip(self.block_heads, shapes, strict=True))

    def begin_epoch(self, progress: float) -> None:
        self.watching = progress < self.watch
        self.noise.fill_(max(0.0, 1.0 - progress / self.settle))

    def up_front_logits(self, x: Tensor) -> Tensor:
        return self.up_front_head.logits(x)

    def logits(self, index: int, x: Tensor, state: State, paths: Paths | None) -> tuple[Tensor, State]:
        return self.block_heads[index].logits(x).squeeze(1), state

    def forward(self, x: Tensor) -> Output:
        """Hard gates [N, B] with the soft gates' gradient; the term `prediction` is the squared error of CIR, [N, B]."""
        x = self.stem(x)
        if self.when == "up-front":
            head = self.up_front_head
            forecasts = head.forecast(head(x))
        gates, errors = [], []
        for index, block in enumerate(self.blocks):
            if self.when == "before":
                head = self.block_heads[index]
                forecast = head.forecast(head(x))
            else:
                forecast = forecasts[:, :, index : index + 1]
            logits = head.forecast.weigh(forecast).squeeze(1)
            gate = straight_through(torch.sigmoid(logits + self.noise * logistic_like(logits)), self.threshold)
            if self.watching:
                gate = torch.ones_like(gate)
            shortcut, residual = block.shortcut(x), block.residual(x)
            with torch.no_grad():
                observed = incompatibility(inner_products(shortcut, residual))
            x = gated_sum(shortcut, residual, gate)
            gates.append(gate)
            errors.append((forecast[:, 0, 0] - observed).square())
        return Output(self.classify(x), torch.stack(gates, 1), terms={"prediction": torch.stack(errors, 1)})


class ForecastPath(nn.Module):
    """All that is computed in order to decide, in one call, so that its MACs can be counted."""

    def __init__(self, head: UpFrontHead | BlockHead):
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head.logits(x)
