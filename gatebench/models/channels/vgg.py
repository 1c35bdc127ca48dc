"""VGG with gates on its channels."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..backbones.settings import Width
from ..backbones.vgg import VggTrunk
from .engines import Engine, PartialMap
from .network import ChannelGated, Layer
from .settings import FreeGate, Gate, Inference


class GatedVgg(ChannelGated, VggTrunk):
    """VGG whose convolutions are gated; the head reads what the last one leaves."""

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: int = 11,
        width: Width = 1.0,
        gate: Gate = FreeGate(),
        inference: Inference = "hard",
    ):
        """Raises ValueError as `VggTrunk`."""
        super().__init__(num_classes, input_shape, depth, width)
        self.add_gates(gate, inference)

    def gated_layers(self) -> list[Sequence[nn.Module]]:
        return list(self.layers)

    def weighted_layers(self) -> list[Layer]:
        gated = [Layer(f"layers.{index}", layer[0], True) for index, layer in enumerate(self.layers)]
        return [*gated, Layer("head", self.head, False)]

    def inputs(self, on: list[Tensor]) -> list[Tensor]:
        image = on[0].new_full((len(on[0]),), self.input_shape[0])
        return [image, *(each.sum(1) for each in on)]

    def walk(self, x: Tensor, engine: Engine) -> Tensor:
        part = PartialMap(x)
        for index, layer in enumerate(self.layers):
            part = engine.relu(engine.convolve(index, part, layer))
            part = part._replace(x=self.pool(index, part.x))
        return engine.classify(part, self.head)
