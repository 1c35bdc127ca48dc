"""CosineGate (arXiv 2512.22206): residual blocks gated by the cosine between the identity path and the residual path.

This is the paper's network. Its gate reads F(x), so it saves nothing at inference: every block is computed in order to decide.
With a `PredictiveGate` the model `cosinegate` is ours (`predictive.py`).

Shapes: N inputs, C channels, H x W pixels, B blocks.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...contract import Output
from ...gating import gumbel_sigmoid, gumbel_softmax, incompatibility
from ...measure.macs import count_macs
from ..backbones.feature_maps import gated_sum, global_average, inner_products, with_inner_products
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet, Paths, State
from .predictive import PredictiveCosineGate
from .settings import CirGate, Gate


class Controller(nn.Module):
    """c(x) = W2 relu(W1 GAP(x)) (Eq. 12), [N]; the notebook's has biases and two hidden layers."""

    def __init__(self, channels: int, hidden: Sequence[int], bias: bool):
        super().__init__()
        sizes = [channels, *hidden]
        layers: list[nn.Module] = []
        for size, following in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(size, following, bias=bias), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(global_average(x)).squeeze(1)


class CosineGate(BlockGatedResNet):
    """The paper's network: the gate logit is gamma (CIR + c(x)) (Eq. 11)."""

    when = "after"
    terms = ("consistency",)

    def __init__(self, gate: CirGate = CirGate(), **backbone):
        """`backbone` are `ResNet`'s arguments."""
        super().__init__(**backbone)
        self.threshold, self.temperature, self.consistency = gate.threshold, gate.temperature, gate.consistency
        self.relax = {"gumbel-softmax": gumbel_softmax, "gumbel-sigmoid": gumbel_sigmoid}[gate.noise]
        self.gamma = nn.Parameter(torch.full((len(self.blocks),), gate.gamma), requires_grad=gate.learn_gamma)
        inputs, outputs = self.map_shapes()[:-1], self.map_shapes()[1:]
        self.controllers = nn.ModuleList(Controller(shape[1], gate.controller, gate.controller_bias) for shape in inputs)
        cosines = sum(3 * math.prod(shape) for shape in outputs)  # three inner products over each block's output
        self.macs_gate = cosines + sum(count_macs(controller, shape) for controller, shape in zip(self.controllers, inputs, strict=True))

    def logits(self, index: int, x: Tensor, state: State, paths: Paths) -> tuple[Tensor, State]:
        return self._logits(index, x, inner_products(*paths)), state

    def _logits(self, index: int, x: Tensor, products: Tensor) -> Tensor:
        return self.gamma[index] * (incompatibility(products) + self.controllers[index](x).float())

    def forward(self, x: Tensor) -> Output:
        """Relaxed gates [N, B] (Eq. 15); the term `consistency` is [N, B], or [N, 1] where only the last block counts."""
        x = self.stem(x)
        gates, products = [], []
        for index, block in enumerate(self.blocks):
            shortcut, residual, three = with_inner_products(block.shortcut(x), block.residual(x))
            gates.append(self.relax(self._logits(index, x, three), self.temperature))
            products.append(three)
            x = gated_sum(shortcut, residual, gates[-1])
        counted = slice(-1, None) if self.consistency == "last" else slice(None)
        gates = torch.stack(gates, 1)
        drifts = consistency(torch.stack(products, 1)[:, counted], gates[:, counted])
        return Output(self.classify(x), gates, terms={"consistency": drifts})


def consistency(products: Tensor, gate: Tensor) -> Tensor:
    """||Norm(x + F) - Norm(x + gate F)||^2 (Eq. 20), one for each gate.

    `products` [..., 3] are <x, x>, <x, F> and <F, F>: both sums lie in the plane of x and F, so the distance of their
    directions needs nothing else and no tensor of the size of x is made. `gate` is [...].
    """
    xx, xf, ff = products.unbind(-1)
    full = xx + 2 * xf + ff
    gated = xx + 2 * gate * xf + gate.square() * ff
    inner = xx + (1 + gate) * xf + gate * ff
    norms = (full * gated).clamp(min=1e-12)
    cosine = inner * norms.rsqrt()
    # 2 - 2 cos, as 2 sin^2 / (1 + cos) where the directions agree: near an open gate the difference of 2 and 2 is all rounding
    apart = (1 - gate).square() * (xx * ff - xf.square()).clamp(min=0) / norms
    return torch.where(cosine > 0, 2 * apart / (1 + cosine.clamp(min=0)), 2 - 2 * cosine)


def cosinegate(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 32, 32),
    depth: Depth = 20,
    widths: Widths = (16, 32, 64),
    shortcut: Shortcut = "zero-pad",
    gate: Gate = CirGate(),
) -> BlockGatedResNet:
    """The network of the paper, or ours, by the kind of gate."""
    network = {"cir": CosineGate, "predictive": PredictiveCosineGate}[gate.kind]
    return network(gate, num_classes=num_classes, input_shape=input_shape, depth=depth, widths=widths, shortcut=shortcut)
