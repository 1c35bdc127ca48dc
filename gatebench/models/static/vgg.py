"""VGG without gates: the static twin of a channel-gated one, trained by itself."""

from ..backbones.settings import Width
from ..backbones.static import Static
from ..backbones.vgg import VggTrunk


class Vgg(Static, VggTrunk):
    """VGG with batch norm and one linear layer as head."""

    def __init__(self, num_classes: int = 10, input_shape: tuple[int, int, int] = (3, 32, 32), depth: int = 11, width: Width = 1.0):
        super().__init__(num_classes, input_shape, depth, width)
