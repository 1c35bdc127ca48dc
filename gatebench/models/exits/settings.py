"""Settings of networks with exits: trunks, the loss of confidence-gated training, and the choice of thresholds. Nothing imports torch.

Shapes: N inputs, E exits, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat

from ...errors import UsageError
from ...losses import Bound, Loss
from ...settings import IN_EPOCHS, Part, each_once, unset
from ...studies import Study
from ..backbones.settings import WIDE, Depth, Shortcut, Widths

if TYPE_CHECKING:
    from torch import nn

    from ...data.batches import Batches
    from ...data.settings import Data
    from .network import EarlyExit
    from .study import ExitStudy

Rule = Literal["max-softmax", "entropy", "margin", "patience"]
"""By which an input leaves a network with exits; see `policy`."""


class Cnn(Part):
    """3x3 convolutions with batch norm, some of each width, pooling between; an exit after each width. Ours, for Fashion-MNIST."""

    kind: Literal["cnn"] = "cnn"
    widths: Widths = (32, 64, 128)
    convolutions: int = Field(2, ge=1, le=100)
    """Of each width. With one, asking two heads takes a fifth of the network's time at batch 1."""


class Spectral(Part):
    """For patches of a hyperspectral cube: 1x1 convolutions over the bands, then 3x3 ones around. Ours, for Indian Pines."""

    kind: Literal["spectral"]
    widths: Widths = (64, 64, 128)


class SmallResNet(Part):
    """The ResNet of He et al. for small images, with an exit after each stage."""

    kind: Literal["resnet"]
    depth: Depth = 20
    widths: Widths = (16, 32, 64)
    shortcut: Shortcut = "zero-pad"


class ResNet18(Part):
    """ResNet-18 with a stride-1 stem and no first pooling, an exit after each stage, attention heads: the one of CGT's released code."""

    kind: Literal["resnet18"]
    widths: Widths = WIDE


Backbone = Annotated[Cnn | Spectral | SmallResNet | ResNet18, Field(discriminator="kind")]
"""What a network with exits is cut from; see `trunks.build`."""


class ExitLoss(Loss):
    """A cross-entropy at every exit, weighted for each input: lambda_e(epoch) x eligibility + floor, normalised over exits (CGT)."""

    kind = "exits"
    eligibility: Literal["hard", "soft", "residual", "all"] = "all"
    """Which exits an input trains: those before which none was sure and right (hard), or the less the surer the ones before were of
    the truth, through a sigmoid as released (soft) or by the rest of the probability as printed (residual); or all."""
    confidence: float = Field(0.9, gt=0, lt=1)
    """tau of hard and soft."""
    scale: PositiveFloat = 1.0
    """Steepness of soft's sigmoid; at the released 1 it hardly depends on the input."""
    weights: tuple[NonNegativeFloat, ...]
    """lambda of each exit, at the first step where `final_weights` are given."""
    final_weights: tuple[NonNegativeFloat, ...] | None = None
    """What lambda anneals to, linearly."""
    anneal_epochs: Annotated[NonNegativeFloat, IN_EPOCHS] = 0
    floor: NonNegativeFloat = 1e-3
    label_smoothing: float = Field(0.0, ge=0, lt=1, exclude_if=unset)

    def check(self, model: EarlyExit) -> None:
        exits = _exits(model, "losses.exits: the model has one answer and no exits before it; leave it out.")
        if (self.final_weights is None) != (self.anneal_epochs == 0):
            raise UsageError("losses.exits: final_weights and anneal_epochs want each other; give both or neither.")
        for name in ("weights", "final_weights"):
            weights = getattr(self, name)
            if weights is None:
                continue
            if len(weights) != exits:
                raise UsageError(f"losses.exits.{name}: the model has {exits} exits; give one weight for each.")
            always = sum(weights) if self.eligibility == "all" else weights[0]  # later exits may not be eligible for an input
            if always + self.floor == 0:
                raise UsageError(
                    f"losses.exits.{name}: an input might train no exit at all. Give the first a weight, or set losses.exits.floor."
                )

    def bind(self, model: EarlyExit, parents: Mapping[str, nn.Module]) -> Bound:
        from .loss import exit_loss

        return lambda output, batch, clock: exit_loss(output.details["exits"], batch.labels, self, clock.epoch)


class ExitChoice(Study):
    """Exit policies, chosen on the validation part once training is over."""

    kind = "exits"
    budgets: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1), AfterValidator(each_once)]
    """Shares of the static twin's MACs for which exit thresholds are chosen; the first is that of the headline row. 1: no bound."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1), AfterValidator(each_once)] = ("max-softmax",)
    """By which inputs leave; the first is the headline's, and the model's own."""
    temperature: bool = False
    """Whether each exit's logits are divided by a temperature, fitted first."""

    def check(self, model: EarlyExit, data: Data, sized: bool) -> None:
        _exits(model, "study: there are thresholds to choose only for a model with exits; leave it out.")
        if self.rules[0] != model.policy.rule:
            raise UsageError(f"study.rules: the first must be the model's own, {model.policy.rule!r}; --set model.rule changes that.")
        if not data.validation or data.scored == "validation":
            raise UsageError(
                "study: thresholds are chosen on a validation part and scored on test. Set data.validation to a number of images, and"
                " leave data.scored at test."
            )
        if sized:
            self._check_budgets(model)

    def _check_budgets(self, model: EarlyExit) -> None:
        least = float(model.tally(model.least()[None]).sum()) / model.macs_static
        for budget in self.budgets:
            if budget < least:
                raise UsageError(
                    f"study.budgets: {budget:g} is less of the static twin's MACs than the first exit costs, {least:.3f}."
                    f" Give larger ones, as --set 'study.budgets=[{(1 + least) / 2:.2f}]'."
                )

    def run(self, model: EarlyExit, validation: Batches, scored: Batches, precision: str) -> ExitStudy:
        from .study import ExitStudy

        return ExitStudy(model, self, validation, scored, precision)


def _exits(model: EarlyExit, refusal: str) -> int:
    """Number of the model's exits. Raises UsageError where it has none."""
    exits = getattr(model, "exits", 1)
    if exits == 1:
        raise UsageError(refusal)
    return exits
