"""Ours: the last blocks run for those images alone whose answer without them is not sure.

All blocks up to the first of the last stage always run. A small classifier of its own then says what it would answer; the less sure it is,
the more there is to gain from the rest of the stage, which runs as a whole or not at all. That classifier learns from labels without
changing the network. An image that goes no further is answered by the network's classifier all the same.

Shapes: N inputs, B gated blocks, C channels, H x W pixels, K classes.
"""

import torch
from torch import Tensor, nn

from ...contract import Output
from ...gating import straight_through
from ...measure.macs import count_macs
from ..backbones.feature_maps import global_average
from ..backbones.resnet import blocks_of_stages
from ..backbones.settings import Depth, Shortcut, Widths
from .network import BlockGatedResNet
from .settings import UnsureGate


class EarlyClassifier(nn.Module):
    """A linear classifier on pooled features, and how far its two best classes are apart in comparison with other images."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.classifier = nn.Linear(channels, classes)
        self.normalise = nn.BatchNorm1d(1, affine=False)
        self.offset = nn.Parameter(torch.zeros(()))

    def answer(self, x: Tensor) -> Tensor:
        """Logits of classes [N, K] from maps [N, C, H, W], which get no gradient."""
        return self.classifier(global_average(x.detach()))

    def unsure(self, answer: Tensor) -> Tensor:
        """Gate logits [N, 1] = offset - how much surer than the mean image, in standard deviations. Answers [N, K] get no gradient."""
        return self.offset - self.normalise(margin(answer.detach().float()))

    def forward(self, x: Tensor) -> Tensor:
        """Gate logits [N, 1] from maps."""
        return self.unsure(self.answer(x))

    def merged(self) -> "MergedEarlyClassifier":
        """The same gate logits for inference in fewer calls."""
        return MergedEarlyClassifier(self)


class MergedEarlyClassifier(nn.Module):
    """What is left of an `EarlyClassifier` at inference."""

    def __init__(self, early: EarlyClassifier):
        super().__init__()
        self.classifier = early.classifier
        scale = torch.rsqrt(early.normalise.running_var + early.normalise.eps)
        self.slope = nn.Parameter(-scale, requires_grad=False)
        self.offset = nn.Parameter(early.offset + early.normalise.running_mean * scale, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.offset, margin(self.classifier(x.mean((2, 3))).float()), self.slope)


def margin(answer: Tensor) -> Tensor:
    """By how much the largest logit is above the second, [N, 1], from [N, K]; a single class is as sure as can be told."""
    best = answer.topk(min(2, answer.shape[1]), 1).values
    return best[:, :1] - best[:, -1:]


class WhenUnsure(BlockGatedResNet):
    """One decision about all blocks of the last stage but its first, hard in training too (straight-through)."""

    when = "up-front"

    def __init__(
        self,
        num_classes: int = 10,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        depth: Depth = 20,
        widths: Widths = (16, 32, 64),
        shortcut: Shortcut = "zero-pad",
        gate: UnsureGate = UnsureGate(),
    ):
        """Raises ValueError as `ResidualTrunk`, and where the last stage has a single block."""
        counts = blocks_of_stages(depth, len(widths))
        if counts[-1] == 1:
            raise ValueError(
                f"at depth {depth} the last stage has one block, behind which nothing is left out; take {depth + 2 * len(widths)}"
            )
        self.always_on = sum(counts[:-1]) + 1
        super().__init__(num_classes, input_shape, depth, widths, shortcut)
        self.watch, self.whole = gate.watch, gate.whole
        self.early = EarlyClassifier(widths[-1], num_classes)
        self.macs_gate = count_macs(self.early, self.map_shapes()[0])
        self.begin_epoch(0.0)

    def begin_epoch(self, progress: float) -> None:
        self.watching = progress < self.watch

    def up_front_logits(self, x: Tensor) -> Tensor:
        return self.early(x).expand(-1, len(self.blocks))

    def forward(self, x: Tensor) -> Output:
        """Gates [N, B], alike for all blocks of an image. `details`: the answer that they come of, `early_answer` [N, K]."""
        x = self.stem(x)
        answer = self.early.answer(x)
        gate = straight_through(torch.sigmoid(self.early.unsure(answer)), self.threshold)
        whole = torch.full_like(gate, self.watching or self.whole).bernoulli().bool()
        used = torch.where(whole, 1.0, gate).to(x.dtype)[:, :, None, None]
        for block in self.blocks:
            x = self.combine(block.shortcut(x), block.residual(x) * used)
        return Output(self.classify(x), gate.expand(-1, len(self.blocks)), details={"early_answer": answer})
