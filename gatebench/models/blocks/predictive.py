"""CosineGate's signal predicted: the gates are decided before F(x) is computed, so that a block that is off is never run.

Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

import torch
from torch import Tensor, nn

from ...contract import Output
from ...gating import incompatibility, logistic_like, straight_through
from ...measure.macs import count_macs
from ..backbones.feature_maps import gated_sum, inner_products
from .forecast import BlockHead, UpFrontHead
from .network import BlockGatedResNet, Paths, State
from .settings import PredictiveGate


class PredictiveCosineGate(BlockGatedResNet):
    """Gates decided before F(x): logit = gain (predicted CIR + c), the paper's Eq. 11 with its prose's sign.

    At first every block runs and the gates only watch. Then they act, hard in training too (straight-through), and the noise that
    lets them explore shrinks to nothing.
    """

    terms = ("prediction",)

    def __init__(self, gate: PredictiveGate, **backbone):
        """`backbone` are `ResidualTrunk`'s arguments."""
        super().__init__(**backbone)
        self.gain, self.threshold, self.watch, self.settle = gate.gain, gate.threshold, gate.watch, gate.settle
        self.register_buffer("noise", torch.ones(()), persistent=False)  # a tensor: torch.compile would build anew for every number
        self.begin_epoch(0.0)
        self.when, channels = gate.decides, [shape[1] for shape in self.map_shapes()[:-1]]
        if gate.decides == "up-front":
            self.up_front_head = UpFrontHead(channels[0], len(channels), gate.hidden, gate.gain)
        else:
            self.block_heads = nn.ModuleList(BlockHead(each, gate.hidden, gate.gain) for each in channels)
        self.macs_gate = count_macs(DecidingPath(self), *self.map_shapes()[: 1 if self.when == "up-front" else -1])

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
            forecasts = self.up_front_head.forecast(self.up_front_head(x))
        gates, errors = [], []
        for index, block in enumerate(self.blocks):
            if self.when == "before":
                head = self.block_heads[index]
                forecast = head.forecast(head(x))
            else:
                forecast = forecasts[:, :, index : index + 1]
            logits = (self.gain * forecast.sum(1)).squeeze(1)
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


class DecidingPath(nn.Module):
    """All that is computed in order to decide, in one call, so that its MACs can be counted."""

    def __init__(self, net: PredictiveCosineGate):
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """Gate logits from the input of every block, or up front from the first one's alone."""
        if self.net.when == "up-front":
            return [self.net.up_front_logits(*inputs)]
        return [self.net.logits(index, x, (), None)[0] for index, x in enumerate(inputs)]
