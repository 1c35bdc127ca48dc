"""ResNet-18 and ResNet-34 with gates on their channels.

The shortcuts have none. So a channel of the residual stream is active where any summand is, and behind a projection all are.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ..backbones.resnet import WideTrunk
from ..backbones.settings import Width
from .engines import Engine, PartialMap
from .network import ChannelGated, Layer
from .settings import FreeGate, Gate, Inference


class GatedResNet(ChannelGated, WideTrunk):
    """A residual network whose stem and blocks' convolutions are gated."""

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: int = 18,
        width: Width = 1.0,
        gate: Gate = FreeGate(),
        inference: Inference = "hard",
    ):
        """Raises ValueError as `ResidualTrunk`."""
        super().__init__(num_classes, input_shape, depth, width)
        self.add_gates(gate, inference)

    def gated_layers(self) -> list[Sequence[nn.Module]]:
        residuals = [block.residual for block in self.blocks]
        return [self.stem, *(pair for each in residuals for pair in ((each.conv1, each.bn1), (each.conv2, each.bn2)))]

    def weighted_layers(self) -> list[Layer]:
        layers = [Layer("stem", self.stem[0], True)]
        for index, block in enumerate(self.blocks):
            layers.append(Layer(f"blocks.{index}.conv1", block.residual.conv1, True))
            layers.append(Layer(f"blocks.{index}.conv2", block.residual.conv2, True))
            if not block.shortcut_is_identity:
                layers.append(Layer(f"blocks.{index}.shortcut", block.shortcut[0], False))
        return [*layers, Layer("head", self.head, False)]

    def inputs(self, on: list[Tensor]) -> list[Tensor]:
        stream, *rest = on
        active = [stream.new_full((len(stream),), self.input_shape[0])]
        for block, inner, outer in zip(self.blocks, rest[::2], rest[1::2], strict=True):
            active += [stream.sum(1), inner.sum(1)]
            if block.shortcut_is_identity:
                stream = 1 - (1 - stream) * (1 - outer)
            else:
                active.append(stream.sum(1))
                stream = outer.new_ones(outer.shape)
        return [*active, stream.sum(1)]

    def walk(self, x: Tensor, engine: Engine) -> Tensor:
        layers = self.gated_layers()
        stream = engine.relu(engine.convolve(0, PartialMap(x), layers[0]))
        for index, block in enumerate(self.blocks, start=1):
            inner = engine.relu(engine.convolve(2 * index - 1, stream, layers[2 * index - 1]))
            outer = engine.convolve(2 * index, inner, layers[2 * index])
            shortcut = stream if block.shortcut_is_identity else engine.project(stream, block.shortcut)
            stream = engine.relu(engine.add(shortcut, outer))
        return engine.classify(stream, self.head)
