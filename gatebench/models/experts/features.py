"""The part of SqueezeNet 1.1 on a small copy of the image that gaters look through (Routing Beats Latency, section 3.3).

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..backbones.libraries import IMAGENET
from .decider import Decider

MODULES = 5
"""Of SqueezeNet 1.1: a convolution, ReLU, pooling and two Fire modules."""
FEATURES = 128
"""Channels after them."""


class Pooled(Decider):
    """Base of gaters that look at the pooled features."""

    def __init__(self, size: int, pretrained: bool, input_shape: tuple[int, int, int]):
        from torchvision.models import squeezenet1_1

        super().__init__()
        channels = input_shape[0]
        if size < 15:
            raise ValueError(f"model.gater.size = {size} leaves nothing of an image after pooling; give at least 15")
        if pretrained and channels != 3:
            raise ValueError("pretrained weights are for RGB images; set model.gater.pretrained = false")
        self.size, self.statistics = (size, size), IMAGENET if pretrained else None
        self.features = squeezenet1_1().features[:MODULES]
        if channels != 3:
            self.features[0] = nn.Conv2d(channels, 64, 3, 2)

    def first_weights(self) -> Mapping[str, Tensor]:
        """The five modules, as torchvision's squeezenet1_1 names them."""
        return {f"features.{name}": tensor for name, tensor in self.features.state_dict().items()}

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take the five modules out of weights of torchvision's squeezenet1_1. Raises ValueError naming what does not fit."""
        own = self.features.state_dict()
        for name, tensor in own.items():
            given = state.get(f"features.{name}") if isinstance(state, Mapping) else None
            if given is None:
                raise ValueError(f"they have no features.{name}")
            if getattr(given, "shape", None) != tensor.shape:
                raise ValueError(f"features.{name} is {list(getattr(given, 'shape', []))}, wanted is {list(tensor.shape)}")
        self.features.load_state_dict({name: state[f"features.{name}"] for name in own})

    def pooled(self, x: Tensor) -> Tensor:
        """The embedding h [N, 128]."""
        if x.shape[2:] != self.size:  # contiguous: torch takes half as long again to scale channels_last images down
            x = interpolate(x.contiguous(), self.size, mode="bilinear", antialias=self.size[0] < x.shape[2])
        return self.features(x).mean((2, 3))


@torch.no_grad()
def standardise(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature of [N, F], none of them 0: [F] each."""
    return features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
