"""The static twin of a network that was built on a trunk."""

from torch import Tensor, nn


class StaticPath(nn.Module):
    """A trunk without its gates, over the same weights: images [N, C, H, W] -> logits [N, classes]."""

    def __init__(self, trunk: nn.Module):
        """`trunk` has `static_logits`."""
        super().__init__()
        self.trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk.static_logits(x)
