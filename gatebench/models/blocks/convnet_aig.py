"""ConvNet-AIG (Veit and Belongie 2018, arXiv 1711.11503): each block's gate is drawn from its pooled input, with a target rate a block.

Gates are hard in training too, with the gradient of a Gumbel-softmax. The released code draws noise when it is evaluated as well and
computes every block; here a trained gate decides without noise, and a block that is off is left out.
Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from ...gating import gumbel_softmax, straight_through
from ...measure.macs import count_macs
from ..backbones.feature_maps import global_average
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet, Paths, State
from .settings import AigGate

START = 0.1, 2.0
"""Biases of the two logits, leave out and run: a gate is on for 87 % of the inputs before anything is learned."""


class PooledGate(nn.Module):
    """Pooled features through one hidden layer with batch norm to two logits."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.hidden, self.norm, self.relu = nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
        self.answer = nn.Linear(hidden, 2)
        nn.init.normal_(self.answer.weight, std=0.001)
        with torch.no_grad():
            self.answer.bias.copy_(torch.tensor(START))

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N]: of running the block, over leaving it out."""
        left_out, runs = self.answer(self.relu(self.norm(self.hidden(global_average(x))))).unbind(1)
        return runs - left_out

    def merged(self) -> nn.Module:
        """The same logits for inference in fewer calls."""
        return MergedPooledGate(fuse_linear_bn_eval(self.hidden, self.norm), self.answer)


class MergedPooledGate(nn.Module):
    """What is left of a `PooledGate` at inference."""

    def __init__(self, hidden: nn.Linear, answer: nn.Linear):
        super().__init__()
        self.hidden = hidden
        (left_out, runs), (bias_out, bias_runs) = answer.weight, answer.bias
        self.weight = nn.Parameter((runs - left_out)[:, None], requires_grad=False)
        self.bias = nn.Parameter((bias_runs - bias_out)[None], requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, self.hidden(x.mean((2, 3))).relu_(), self.weight).squeeze(1)


class ConvNetAig(BlockGatedResNet):
    """Gates decide one after another, each from its block's input alone."""

    when = "before"

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
        gate: AigGate = AigGate(),
    ):
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        self.temperature = gate.temperature
        shapes = self.map_shapes()[:-1]
        self.gates = nn.ModuleList(PooledGate(shape[1], gate.hidden) for shape in shapes)
        self.macs_gate = sum(count_macs(each, shape) for each, shape in zip(self.gates, shapes, strict=True))

    def logits(self, index: int, x: Tensor, state: State, paths: Paths | None) -> tuple[Tensor, State]:
        return self.gates[index](x), state

    def relax(self, logits: Tensor) -> Tensor:
        """Hard gates [N], the larger of two noisy logits, with the gradient of the softmax."""
        return straight_through(gumbel_softmax(logits, self.temperature))
