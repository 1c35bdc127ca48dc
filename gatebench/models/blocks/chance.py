"""Blocks left out by chance, without a look at the input: what any gate has to beat at the same mean.

Shapes: N inputs, B blocks.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...contract import Execution, Output
from ...errors import UsageError
from ...pieces import Piece
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet
from .settings import RandomGate

ODD = 0x9E3779B97F4A7C15 - 2**64
"""2^64 over the golden ratio, as a signed number: consecutive multiples are spread evenly (Knuth, section 6.4)."""


class RandomSkip(BlockGatedResNet):
    """A block runs with the same probability for every input, drawn anew in training. At inference the draw is a hash of the input's own
    bits, so that one input always gets the same blocks, alone or in a batch."""

    when = "up-front"
    soft_gates = False

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
        gate: RandomGate = RandomGate(),
    ):
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        self.rate = gate.rate

    def up_front_logits(self, x: Tensor) -> Tensor:
        """The same for every input, as it is in training."""
        return torch.logit(torch.full((len(x), len(self.blocks)), self.rate, device=x.device), 1e-6)

    def relax(self, logits: Tensor) -> Tensor:
        return torch.bernoulli(torch.sigmoid(logits))

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        raise UsageError("random-skip decides by chance, so there is nothing to export. Export a network that looks at its input.")

    def recorded(self, example: Tensor, record: Callable[..., Callable[[Tensor], Any]]) -> None:
        """What is drawn is not among what a recorded piece gives."""

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        if decisions is None and policy is None:
            decisions = drawn(x, len(self.blocks)) < self.rate
        return super()._infer(x, execution, decisions, policy)


def drawn(x: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1), float64 [N, `count`], evenly spread over inputs [N, ...] and the same for the same input."""
    bits = x.float().contiguous().flatten(1).view(torch.int32).long()
    place = torch.arange(1, bits.shape[1] + 1, device=x.device)
    hashed = _mixed((bits * (2 * place + 1) * ODD).sum(1))
    each = _mixed(hashed[:, None] + ODD * torch.arange(1, count + 1, device=x.device))
    return ((each >> 11) & (2**53 - 1)).double() / 2**53


def _mixed(values: Tensor) -> Tensor:
    """Whole numbers with their bits mixed (the finaliser of SplitMix64, Steele et al. 2014), modulo 2^64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64)):
        values = (values ^ ((values >> shift) & (2 ** (64 - shift) - 1))) * factor
    return values ^ ((values >> 31) & (2**33 - 1))
