"""BlockDrop (Wu et al. 2018, arXiv 1711.08393): a small network looks at the image and says for all blocks at once which ones run.

It is trained by policy gradient (the loss `policy_gradient`): first alone, on a trained network that stays as it is, with one more of the
last blocks to decide about again and again; then together with the network. Ours looks at the stem's output, which the network needs
anyway, and may do so at a lower resolution.
Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...contract import Output
from ...gating import log_probability
from ...measure.macs import count_macs
from ..backbones.feature_maps import global_average
from ..backbones.resnet import ResidualBlock
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet
from .settings import PolicyGate

DECIDER = "decider."
"""Where the names of its own weights begin; all others are the trunk's."""


class PolicyNetwork(nn.Module):
    """One residual block a stage on the stem's output, then a linear layer: the policy network without its stem."""

    def __init__(self, widths: tuple[int, ...], blocks: int, shrink: int):
        super().__init__()
        self.shrink = shrink
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.blocks = nn.Sequential(*(ResidualBlock(before, after, 2 if stage else 1) for stage, (before, after) in enumerate(pairs)))
        self.answer = nn.Linear(widths[-1], blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, B]."""
        if self.shrink > 1:
            x = F.avg_pool2d(x, self.shrink, ceil_mode=True)
        return self.answer(global_average(self.blocks(x)))


class BlockDrop(BlockGatedResNet):
    """All gates from the stem's output."""

    when = "up-front"
    soft_gates = False
    curriculum = 0.0
    """Share of the training over which one more block at a time, from the last on, is decided about; the loss says it."""

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
        gate: PolicyGate = PolicyGate(),
    ):
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        self.sureness = gate.sureness
        self.decider = PolicyNetwork(tuple(widths), len(self.blocks), gate.shrink)
        self.macs_gate = count_macs(self.decider, self.map_shapes()[0])
        self.begin_epoch(0.0)

    def begin_epoch(self, progress: float) -> None:
        grown = progress / self.curriculum if self.curriculum else 1.0
        self.undecided = len(self.blocks) - min(len(self.blocks), 1 + math.floor(grown * len(self.blocks)))

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights of this network, or of the trunk alone."""
        alone = not any(name.startswith(DECIDER) for name in state)
        own = {name: each for name, each in self.state_dict().items() if name.startswith(DECIDER)} if alone else {}
        super().start_from({**own, **state})

    def up_front_logits(self, x: Tensor) -> Tensor:
        return self.decider(x)

    def forward(self, x: Tensor) -> Output:
        """Answers under drawn gates [N, B]. `details`: the surest ones `greedy` [N, B] and the answers under them, and the logarithm of
        the probability of what was drawn, [N, B]: 0 for the first blocks, which run while the last ones are learned about."""
        x = self.stem(x)
        logits = self.up_front_logits(x.detach())
        probable = torch.sigmoid(logits)
        bounded = torch.logit(self.sureness * probable + (1 - self.sureness) * (1 - probable))
        drawn, greedy = torch.bernoulli(torch.sigmoid(bounded.detach())), (logits > 0).to(logits.dtype)
        drawn[:, : self.undecided] = greedy[:, : self.undecided] = 1
        likely = log_probability(bounded, drawn)
        likely = torch.cat([torch.zeros_like(likely[:, : self.undecided]), likely[:, self.undecided :]], 1)
        with torch.no_grad():
            surest = self.under(x, greedy)
        details = {"greedy": greedy, "greedy_logits": surest, "log_probability": likely}
        return Output(self.under(x, drawn), drawn, details=details)

    def under(self, x: Tensor, gates: Tensor) -> Tensor:
        """Answers from the stem's output, with every block scaled by its gate [N, B]."""
        for index, block in enumerate(self.blocks):
            x = self.combine(block.shortcut(x), block.residual(x) * gates[:, index].to(x.dtype)[:, None, None, None])
        return self.classify(x)
