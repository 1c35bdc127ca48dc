"""CosineGate's signal predicted: the gates are decided before F(x) is computed, so that a block that is off is never run.

Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

import torch
from torch import Tensor, nn

from ...contract import Output
from ...gating import incompatibility, logistic_like, straight_through
from ...measure.macs import count_macs
from ..backbones.feature_maps import gated_sum, inner_products
from ..backbones.resnet import blocks_of_stages
from ..backbones.settings import Depth, Widths
from .forecast import AskingHead, BlockHead, UpFrontHead
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
        self.add_heads(gate)
        self.macs_gate = count_macs(DecidingPath(self), *self.map_shapes()[: 1 if self.when == "up-front" else -1])

    def add_heads(self, gate: PredictiveGate) -> None:
        """What forecasts, and when."""
        self.when, channels = gate.decides, [shape[1] for shape in self.map_shapes()[:-1]]
        if gate.decides == "up-front":
            self.up_front_head = UpFrontHead(channels[0], len(channels), gate.hidden, gate.gain)
        else:
            self.block_heads = nn.ModuleList(BlockHead(each, gate.hidden, gate.gain) for each in channels)

    def begin_epoch(self, progress: float) -> None:
        self.watching = progress < self.watch
        self.noise.fill_(max(0.0, 1.0 - progress / self.settle))

    def up_front_logits(self, x: Tensor) -> Tensor:
        return self.up_front_head.logits(x)

    def logits(self, index: int, x: Tensor, state: State, paths: Paths | None) -> tuple[Tensor, State]:
        return self.block_heads[index].logits(self.look(index, x)).squeeze(1), state

    def look(self, index: int, x: Tensor) -> Tensor:
        """What the head before a block is given, from the block's input."""
        return x

    def details(self, looks: list[Tensor]) -> dict[str, Tensor]:
        """What the output says of what the heads of all blocks were given."""
        return {}

    def forward(self, x: Tensor) -> Output:
        """Hard gates [N, B] with the soft gates' gradient; the term `prediction` is the squared error of CIR, [N, B]."""
        x = self.stem(x)
        if self.when == "up-front":
            forecasts = self.up_front_head.forecast(self.up_front_head(x))
        gates, errors, looks = [], [], []
        for index, block in enumerate(self.blocks):
            if self.when == "before":
                head = self.block_heads[index]
                looks.append(self.look(index, x))
                forecast = head.forecast(head(looks[-1]))
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
        return Output(self.classify(x), torch.stack(gates, 1), terms={"prediction": torch.stack(errors, 1)}, details=self.details(looks))


class AskingCosineGate(PredictiveCosineGate):
    """Before each block of the last stage the classifier is asked for its answer so far; blocks of earlier stages always run.

    Its answers learn from the loss `early_answers`. `details` hold them as `early_answers`, [N, B, classes].
    """

    asks = True
    """What the loss `early_answers` looks for."""

    def __init__(self, gate: PredictiveGate, depth: Depth, widths: Widths, **backbone):
        """As `PredictiveCosineGate`."""
        self.always_on = sum(blocks_of_stages(depth, len(widths))[:-1])
        super().__init__(gate, depth=depth, widths=widths, **backbone)

    def add_heads(self, gate: PredictiveGate) -> None:
        self.when = "before"
        self.block_heads = nn.ModuleList(AskingHead(gate.gain) for _ in self.blocks)

    def look(self, index: int, x: Tensor) -> Tensor:
        """The answer [N, classes] from a block's input when the network ends before it."""
        return self.classify(x if index else self.blocks[0].skip(x))  # later blocks of a stage hand on what they are given

    def details(self, looks: list[Tensor]) -> dict[str, Tensor]:
        return {"early_answers": torch.stack(looks, 1)}


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
