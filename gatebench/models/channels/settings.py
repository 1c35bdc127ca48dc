"""Settings of channel gates, their loss, and how a trained network is evaluated. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat

from ...errors import UsageError
from ...losses import Batch, Bound, Loss, Term
from ...settings import MOST_EPOCHS, Part, each_once
from ...studies import Study

if TYPE_CHECKING:
    from torch import nn

    from ...contract import GatedModel
    from ...data.batches import Batches
    from ...data.settings import Data
    from .study import ChannelStudy

CHANNELS = "channels.csv"
"""What the study writes of every channel."""
Inference = Literal["hard", "soft", "scaled"]
"""hard: a channel is on or off. soft: every channel runs and is scaled by its gate, as in training. scaled: a channel whose gate is 0.5 or
less is off, and the others are scaled by their gates."""

Estimator = Literal["soft", "straight-through"]
"""Of training: a channel is scaled by its gate, or on and off with the gate's gradient."""


class Annealed(Part):
    """The gates' temperature: start x decay^(share of the training x steps), `least` at least (LAG as released: once an epoch of 25)."""

    start: PositiveFloat = 5.0
    least: PositiveFloat = 0.5
    decay: float = Field(0.9, gt=0, le=1)
    steps: int = Field(25, ge=1, le=MOST_EPOCHS)
    """How often it decays."""

    def at(self, progress: float) -> float:
        """The temperature once this share of the training is done."""
        return max(self.least, self.start * self.decay ** (progress * self.steps))


class FreeGate(Part):
    """One free logit a channel, the same for every input: sigmoid(logit / temperature), as in LAG's released code."""

    kind: Literal["free"] = "free"
    start: float = 2.0
    """What the logits begin with."""
    estimator: Estimator = Field("soft", exclude_if=lambda value: value == "soft")
    temperature: Annealed = Annealed()


class InputGate(Part):
    """A logit a channel from the layer's input, pooled, through two linear layers: as LAG's page says; the sizes are ours."""

    kind: Literal["input"]
    start: float = 2.0
    """Bias that the logits begin with."""
    reduction: int = Field(8, ge=1, le=8192)
    """The hidden layer has so many times fewer units than the layer's input has channels, eight at least."""
    estimator: Estimator = "soft"
    temperature: Annealed = Annealed()


class SaliencyGate(Part):
    """Feature boosting and suppression (Gao et al. 2019, arXiv 1810.05331): saliencies from the layer's input, pooled, through one linear
    layer; the same number of channels is on for every input, those with the largest, each scaled by its saliency over the mean one."""

    kind: Literal["saliency"]
    density: float = Field(0.5, gt=0, le=1)
    """Share of a layer's channels that are on, rounded up."""
    shrink: float = Field(0.5, ge=0, le=1)
    """Share of the training over which the density falls to that, from 1."""


class Magnitude(Part):
    """The filters with the largest L1 norms, the same share of every layer, with their weights (Li et al. 2017, arXiv 1608.08710)."""

    kind: Literal["magnitude"] = "magnitude"
    density: float = Field(0.5, gt=0, le=1)
    """Share of a layer's channels that stay."""


class Decisions(Part):
    """The channels that a network with gates has on for most training images: as many as cost its mean executed MACs, gates included."""

    kind: Literal["decisions"]
    retrained: bool = False
    """With weights of its own, drawn anew, instead of that network's."""


Kept = Annotated[Magnitude | Decisions, Field(discriminator="kind")]
"""Which channels of a network stay where the others are cut for good."""


Gate = Annotated[FreeGate | InputGate | SaliencyGate, Field(discriminator="kind")]
"""Where a channel's gate comes from."""


class Sparsity(Loss):
    """weight x sum of the gates, mean over inputs: L1 (LAG as released)."""

    kind = "sparsity"
    weight: NonNegativeFloat

    def check(self, model: GatedModel) -> None:
        if not (model.units and model.soft_gates):
            raise UsageError("losses.sparsity: the model has no gates that it could close; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        return lambda output, batch, clock: self.weight * output.gates.float().sum(1).mean()

    def findings(self, model: GatedModel, batch: Batch, last_epoch: dict, epochs: int) -> list[str]:
        """Whether the mean gate can be had at any value without a change of the outputs."""
        from .absorbed import absorbed

        return absorbed(model, batch.x)


class Saliency(Term):
    """Sum of all saliencies (feature boosting and suppression, section 3.4)."""

    kind = "saliency"


class ChannelEvaluation(Study):
    """The ways in which the trained gates are run."""

    kind = "channels"
    inference: Annotated[tuple[Inference, ...], Field(min_length=1), AfterValidator(each_once)] = ("hard", "soft", "scaled")
    """The first is the headline's, and the model's own."""

    def check(self, model: GatedModel, data: Data, sized: bool) -> None:
        if model.policy not in self.inference:
            raise UsageError("study: only a model with gates on channels is run in these ways; leave it out.")
        if model.policy != self.inference[0]:
            raise UsageError(f"study.inference: the first must be the model's own, {model.policy!r}; --set model.inference changes that.")

    def run(self, model: GatedModel, validation: Batches | None, scored: Batches, precision: str) -> ChannelStudy:
        from .study import ChannelStudy

        return ChannelStudy(model, self, scored, precision)
