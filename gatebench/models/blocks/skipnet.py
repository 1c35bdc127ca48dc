"""SkipNet (Wang et al. 2018, arXiv 1711.09485): a gate looks at a block's input before the block is computed.

The first block always runs. Trained in two steps: hard gates with the soft ones' gradient, then gates that are drawn, with REINFORCE
(the loss `reinforce`). The released code computes every block and multiplies; here a block that is off is left out.
Shapes: N inputs, C channels, H x W pixels, B gated blocks.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ...measure.macs import count_macs
from ..backbones.feature_maps import global_average, max_pool
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet, Paths, State
from .settings import FeedForwardGate, RecurrentGate, SkipNetGate


def draw(convolutions: Iterable[nn.Module], answers: Iterable[nn.Linear]) -> None:
    """Weights of gates as the released code draws them, with a wider spread than torch's.

    With torch's, gates that hardly differ close together, and a block that is off for every input learns nothing and stays off.
    """
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    for layer in answers:
        nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight.numel()))


class ConvolutionalGate(nn.Module):
    """FFGate-I: 2 x 2 maxima, a 3x3 convolution, another with stride 2. FFGate-II: the second alone. Then pooled to two logits."""

    def __init__(self, channels: int, convolutions: int):
        super().__init__()
        self.pools = convolutions == 2
        layers: list[nn.Module] = []
        for stride in (1, 2) if self.pools else (2,):
            layers += [nn.Conv2d(channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.answer = nn.Linear(channels, 2)
        draw([layer for layer in layers if isinstance(layer, nn.Conv2d)], [self.answer])

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N]: of running the block, over leaving it out."""
        left_out, runs = self.answer(global_average(self.layers(max_pool(x) if self.pools else x))).unbind(1)
        return runs - left_out


class ConvolutionalGates(nn.Module):
    """One `ConvolutionalGate` a block, without a state."""

    def __init__(self, shapes: list[tuple[int, int, int, int]], gate: FeedForwardGate):
        """`shapes` are those of the blocks' inputs for one image."""
        super().__init__()
        self.gates = nn.ModuleList(ConvolutionalGate(shape[1], gate.convolutions) for shape in shapes)
        self.macs = sum(count_macs(each, shape) for each, shape in zip(self.gates, shapes, strict=True))

    def start(self, x: Tensor) -> State:
        return ()

    def forward(self, index: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.gates[index](x), state


class RecurrentGates(nn.Module):
    """One LSTM for all blocks: each block's input is pooled and brought to the LSTM's size by a linear layer of its own."""

    def __init__(self, shapes: list[tuple[int, int, int, int]], gate: RecurrentGate):
        """As `ConvolutionalGates`."""
        super().__init__()
        size = gate.size
        self.looks = nn.ModuleList(nn.Linear(shape[1], size) for shape in shapes)
        self.cell, self.answer = nn.LSTMCell(size, size), nn.Linear(size, 1)
        draw(self.looks, [self.answer])  # 1x1 convolutions there
        self.macs = sum(shape[1] * size for shape in shapes) + len(shapes) * (8 * size * size + size)  # four gates, from two vectors

    def start(self, x: Tensor) -> State:
        return x.new_zeros(len(x), self.cell.hidden_size), x.new_zeros(len(x), self.cell.hidden_size)

    def forward(self, index: int, x: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, memory = self.cell(self.looks[index](global_average(x)), state)
        return self.answer(hidden).squeeze(1), (hidden, memory)


class SkipNet(BlockGatedResNet):
    """Gates decide one after another, each from its block's input."""

    when = "before"
    always_on = 1
    draws = False
    """Whether gates are drawn in training, as the loss `reinforce` wants them; else they are hard, with the soft ones' gradient."""

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
        gate: SkipNetGate = RecurrentGate(),
    ):
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        kind = {"recurrent": RecurrentGates, "feed-forward": ConvolutionalGates}[gate.kind]
        self.gates = kind(self.map_shapes()[:-1], gate)
        self.macs_gate = self.gates.macs

    def start(self, x: Tensor) -> State:
        return self.gates.start(x)

    def logits(self, index: int, x: Tensor, state: State, paths: Paths | None) -> tuple[Tensor, State]:
        return self.gates(index, x, state)

    def relax(self, logits: Tensor) -> Tensor:
        """Hard gates [N] with the sigmoid's gradient; or drawn ones, whose gradient is for a loss to estimate."""
        return torch.bernoulli(torch.sigmoid(logits.detach())) if self.draws else super().relax(logits)
