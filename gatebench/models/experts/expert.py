"""Experts: any classifier of timm or torchvision, as a network without gates.

Shapes: N inputs, C channels, H x W pixels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ...contract import Execution, GatedModel, Output, Prepare
from ...errors import UsageError, first_line
from ...measure.macs import count_macs
from ...settings import Side
from ...words import counted
from ..backbones.libraries import LIBRARIES, classifier


class Expert(GatedModel):
    """A library's network that scales images to its own size and decides nothing; it has no units."""

    def __init__(self, network: nn.Module, num_classes: int, input_shape: tuple[int, int, int], size: tuple[int, int]):
        """`network` maps images [N, C, *size] to logits [N, num_classes]; images of `input_shape` are scaled to that."""
        super().__init__()
        self.network, self.num_classes, self.input_shape, self.size = network, num_classes, tuple(input_shape), size
        self.macs_static = count_macs(network, (1, input_shape[0], *size))

    def forward(self, x: Tensor) -> Output:
        return Output(self.classify(x))

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        """There is nothing to decide: every execution is the dense one."""
        nothing = torch.zeros(len(x), 0, dtype=torch.bool, device=x.device)
        return Output(self.classify(x), decisions=nothing, count=self.counting(nothing))

    def classify(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of prepared images [N, C, H, W], which are scaled bilinearly to the network's own size."""
        if x.shape[2:] != self.size:
            x = interpolate(x, self.size, mode="bilinear", antialias=self.size[0] < x.shape[2])
        answer = self.network(x)
        return getattr(answer, "logits", answer)  # Inception and GoogLeNet train further classifiers

    def first_weights(self) -> Mapping[str, Tensor]:
        return self.network.state_dict()

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights by the library's names, or by this class's.

        The head is left as it is where the weights are for another number of classes. Raises ValueError naming the first tensor that
        does not fit.
        """
        if not (isinstance(state, Mapping) and all(isinstance(each, Tensor) for each in state.values())):
            raise ValueError("they are not tensors by name, as a state_dict is")
        own = self.network.state_dict()
        given = {name.removeprefix("network."): tensor for name, tensor in state.items()}
        for name, tensor in own.items():
            if name not in given:
                if not name.endswith("num_batches_tracked"):
                    raise ValueError(f"they have no {name}")
                given[name] = tensor
        extra = next((name for name in given if name not in own), None)
        if extra:
            raise ValueError(f"they have {extra} too")
        other = [name for name in own if given[name].shape != own[name].shape]
        classes = given[other[0]].shape[:1] if other else None
        for name in other:
            here, there = own[name].shape, given[name].shape
            if here[:1] != (self.num_classes,) or there != (*classes, *here[1:]):
                raise ValueError(f"{name} is {list(there)}, wanted is {list(here)}")
            given[name] = own[name]
        self.network.load_state_dict(given)


def expert(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (3, 128, 128),
    network: str = "torchvision:squeezenet1_1",
    size: Side | None = None,
    pretrained: bool = True,
) -> Expert:
    """A network of timm or torchvision with random weights and a head for `num_classes`.

    `network` is LIBRARY:NAME; `size` the side in pixels to which images are scaled, None that of the data. Where `pretrained`, training
    starts from the library's weights and images are normalised as those want it, else by the statistics of the data. Raises UsageError
    for an unknown network, for images that it cannot take, and for pretrained weights on images that are not RGB.
    """
    channels, *shape = input_shape
    if pretrained and channels != 3:
        many = counted(channels, "channel")
        raise UsageError(f"Pretrained weights are for RGB images; these have {many}. Add --set model.pretrained=false.")
    library, name = split(network)
    built, statistics, usual = classifier(library, name, num_classes, channels)
    size = (size, size) if size else tuple(shape)
    try:
        model = Expert(built, num_classes, input_shape, size)
    except (AssertionError, RuntimeError, ValueError) as error:
        why = f"{network} cannot take images of {size[0]} x {size[1]} ({first_line(error)})"
        raise UsageError(f"{why}. Add --set model.size={usual}.") from None
    if pretrained:
        model.prepare = Prepare(tuple(shape), *(tuple(values) for values in statistics))
    return model


def split(network: str) -> tuple[str, str]:
    """Library and name of a network. Raises UsageError where no library is named."""
    library, _, name = network.partition(":")
    if library not in LIBRARIES or not name:
        raise UsageError(f"model.network = {network!r} names no library. Write timm:NAME or torchvision:NAME.")
    return library, name
