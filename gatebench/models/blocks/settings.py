"""Settings of block gates, and the losses of their own. Nothing here imports torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from ...losses import Term
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


class Consistency(Term):
    """How far gating turns a block's output from the ungated one (CosineGate, Eq. 20)."""

    kind = "consistency"


class Prediction(Term):
    """Squared error of the predicted CIR (ours)."""

    kind = "prediction"
