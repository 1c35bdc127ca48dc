"""Settings of routers: how they decide, the loss that weighs accuracy against measured time, and what is chosen after training.

Nothing here imports torch.
Shapes: N images, E experts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat

from ...errors import UsageError
from ...losses import Bound, Loss
from ...settings import MOST_IMAGES, Part, Side, each_once, unset
from ...studies import Study

if TYPE_CHECKING:
    from torch import nn

    from ...data.batches import Batches
    from ...data.settings import Data
    from .router import Router
    from .study import Routing

Score = Literal["max-softmax", "entropy", "margin"]
"""How sure an expert is of its answer, from its logits."""
SCALE = 3.0
"""s of section 3.5, by which cross-entropy is divided."""
Milliseconds = Annotated[tuple[PositiveFloat, ...], Field(min_length=2)] | Literal["measured"]
"""What each expert takes for one image; measured: on this machine, once."""


class Learned(Part):
    """The first five modules of SqueezeNet 1.1 on a small copy of the image, pooled, and a linear layer (section 3.3)."""

    kind: Literal["learned"] = "learned"
    size: Side = 96
    """Side of the copy in pixels."""
    temperature: PositiveFloat = 1.0
    """tau of the Gumbel-softmax, constant."""
    pretrained: bool = True
    """Whether the five modules start from ImageNet weights."""


class Neighbours(Part):
    """The mean cross-entropy of every expert on the most similar training images, by the same pooled features; nothing is trained."""

    kind: Literal["neighbours"]
    size: Side = 96
    neighbours: int = Field(25, ge=1, le=MOST_IMAGES)
    """k."""
    pretrained: bool = True


class Entropy(Part):
    """Predicts the mean entropy of the experts' answers by ridge regression on the same pooled features (the paper's phase 1)."""

    kind: Literal["entropy"]
    size: Side = 96
    pretrained: bool = True


class Complexity(Part):
    """Mean gradient magnitude of the image (spatial information), in the place of the paper's ICNet; nothing is learned."""

    kind: Literal["complexity"]


class Cascade(Part):
    """Runs the experts in turn, the cheapest first, until one is sure; no gater looks before."""

    kind: Literal["cascade"]
    rule: Score = "max-softmax"


Gater = Annotated[Learned | Neighbours | Entropy | Complexity | Cascade, Field(discriminator="kind")]
"""How a router decides; see the module of each name."""


class RoutingLoss(Loss):
    """lambda x cross-entropy / 3 + (1 - lambda) x normalised expected time (Routing Beats Latency, section 3.5).

    The time is expected under the soft choice, and brought to [0, 1] by the times of the fastest and the slowest expert.
    """

    kind = "routing"
    weight: float = Field(ge=0, le=1)
    """lambda: 1 looks at accuracy alone, 0 at time alone."""
    estimator: Literal["straight-through", "expected"] = Field("straight-through", exclude_if=lambda value: value == "straight-through")
    """Of cross-entropy. straight-through: that of the sampled expert's logits, as printed, whose gradient also grows with the size of an
    expert's logits. expected: of every expert, weighted by its soft share, as the time is (ours)."""

    def check(self, model: Router) -> None:
        if not getattr(model, "replays", False):
            raise UsageError("losses.routing: it is for a router between experts; leave it out.")
        if not model.trainable:
            raise UsageError("losses.routing: gradients cannot train this router; leave it out.")
        if model.milliseconds and max(model.milliseconds) == min(model.milliseconds):
            raise UsageError("losses.routing: all experts take the same time, so there is nothing to weigh. Name experts that differ.")

    def bind(self, model: Router, parents: Mapping[str, nn.Module]) -> Bound:
        from .learned import routing_loss

        return lambda output, batch, clock: routing_loss(output, batch.labels, model.milliseconds, self)


class RoutingStudy(Study):
    """What a router is worth beside experts alone, their random mix and the oracle; rules get their thresholds on validation."""

    kind = "routing"
    values: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], AfterValidator(each_once)] = Field((), exclude_if=unset)
    """lambda of section 3.5, for each of which a rule's thresholds are chosen; the first is the headline's. Empty for a learned router."""

    def check(self, model: Router, data: Data, sized: bool) -> None:
        if not getattr(model, "replays", False):
            raise UsageError("study: it is for a router between experts; leave it out.")
        if model.chooses and not self.values:
            raise UsageError("study.values: this router has thresholds to choose. Give one lambda or more, as [0.7, 0.9].")
        if self.values and not model.chooses:
            raise UsageError("study.values: a learned router has no thresholds to choose. Leave them out, and train one for each lambda.")
        if data.train_on != "holdout":
            raise UsageError(
                "data.train_on: a router learns nothing from images that its experts were trained on, which they all get right. Set"
                " data.holdout to a number of images, and data.train_on to holdout."
            )
        if not data.validation or data.scored == "validation":
            raise UsageError(
                "study: experts and thresholds are chosen on a validation part and scored on test. Set data.validation to a number of"
                " images, and leave data.scored at test."
            )

    def run(self, model: Router, validation: Batches, scored: Batches, precision: str) -> Routing:
        from .study import Routing

        return Routing(model, self, validation, scored, precision)
