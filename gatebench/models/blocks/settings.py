"""Settings of block gates. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from ...settings import Part


class CirGate(Part):
    """The paper's gate: logit = gamma (CIR + c(x)) (Eq. 11), relaxed with noise in training, thresholded at inference."""

    kind: Literal["cir"] = "cir"
    gamma: float = -2.5
    """Negative as printed: the gate falls as CIR rises. Positive: the paper's prose, low CIR skips."""
    learn_gamma: bool = False
    temperature: PositiveFloat = 1.0
    threshold: float = Field(0.45, gt=0, lt=1)
    noise: Literal["gumbel-softmax", "gumbel-sigmoid"] = "gumbel-softmax"
    controller: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(max_length=8)] = (4,)
    """Hidden widths of c(x)."""
    controller_bias: bool = False
    consistency: Literal["all", "last"] = "all"
    """Blocks that the consistency term counts (Eq. 20: all; the released notebook: the last)."""


class PredictiveGate(Part):
    """Ours: logit = gain (predicted CIR + c), decided before F(x) is computed."""

    kind: Literal["predictive"]
    decides: Literal["up-front", "before"] = "up-front"
    """All blocks at once from the stem's output, or each block from its own input."""
    gain: PositiveFloat = 2.5
    """Of predicted CIR; what c adds for an input has its own scale, one."""
    hidden: int = Field(32, ge=1, le=8192)
    threshold: float = Field(0.5, gt=0, lt=1)
    watch: float = Field(0.1, ge=0, lt=1)
    """Share of the training in which every block runs and the gates only learn to predict. Gates that act from the first step
    close blocks that have not learned anything yet, for good."""
    settle: float = Field(0.5, gt=0, le=1)
    """Share of the training after which gates are no longer noisy: the network learns under the decisions it will run with."""


Gate = Annotated[CirGate | PredictiveGate, Field(discriminator="kind")]
"""CosineGate's, or ours that predicts it."""


class RecurrentGate(Part):
    """SkipNet's recurrent gate: one LSTM for all blocks, and a linear layer on each block's pooled input before it."""

    kind: Literal["recurrent"] = "recurrent"
    size: int = Field(10, ge=1, le=8192)
    """Of the LSTM, and of what it is given."""


class FeedForwardGate(Part):
    """SkipNet's feed-forward gates, one a block: 2 convolutions on maxima (FFGate-I), or 1 with stride 2 (FFGate-II)."""

    kind: Literal["feed-forward"]
    convolutions: Literal[1, 2] = 2


SkipNetGate = Annotated[RecurrentGate | FeedForwardGate, Field(discriminator="kind")]


class AigGate(Part):
    """ConvNet-AIG's gate: pooled features, one hidden layer with batch norm, two logits with Gumbel noise in training."""

    hidden: int = Field(16, ge=1, le=8192)
    temperature: PositiveFloat = 1.0


class PolicyGate(Part):
    """BlockDrop's policy network."""

    shrink: int = Field(4, ge=1, le=32)
    """It looks at the stem's output at so many times fewer pixels a side. 1, the published size, costs as much as a ResNet-8."""
    sureness: float = Field(0.8, gt=0.5, lt=1)
    """Probabilities p are bounded in training: sureness x p + (1 - sureness) x (1 - p)."""


class UnsureGate(Part):
    """Ours: the rest of the last stage runs where the answer without it is not sure."""

    watch: float = Field(0.3, ge=0, lt=1)
    """Share of the training in which every block runs for every image."""
    whole: float = Field(0.5, ge=0, le=1)
    """Share of the images that every block runs for in training, whatever is decided, so that the last blocks learn from all kinds."""


class RandomGate(Part):
    """Blocks left out by chance: what any gate has to beat."""

    rate: float = Field(0.8, ge=0, le=1)
    """Probability of a block to run."""


Survival = Annotated[float, Field(gt=0, le=1)]
"""Probability of the last block to run in a batch of stochastic depth."""


class Decided(Part):
    """The blocks that a network with gates has on for most training images: as many as cost the MACs that its decisions ask for in the
    mean, gates included. Weights are drawn anew."""

    kind: Literal["decisions"]


class Searched(Part):
    """The blocks with which a trained network without gates is right most often, on training images."""

    kind: Literal["search"] = "search"
    macs: float = Field(0.8, gt=0, le=1)
    """Share of the network's MACs that they may cost."""
    retrained: bool = False
    """With weights of its own, drawn anew, instead of that network's."""


Subset = Annotated[Decided | Searched, Field(discriminator="kind")]
"""Which blocks of a network stay where the others are left out for good."""
