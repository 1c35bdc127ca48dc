"""Losses of block gates. Nothing here imports torch when it is imported.

Shapes: N inputs, B blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat

from ...errors import UsageError
from ...losses import Batch, Bound, Clock, Loss, Term

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...contract import GatedModel, Output


class Consistency(Term):
    """How far gating turns a block's output from the ungated one (CosineGate, Eq. 20)."""

    kind = "consistency"


class Prediction(Term):
    """Squared error of the predicted CIR (ours)."""

    kind = "prediction"


class TargetRate(Loss):
    """weight x mean over blocks of (target - the batch's mean gate)^2 (ConvNet-AIG, Eq. 4): each block is on for that share of the inputs,
    whichever they are."""

    kind = "target_rate"
    weight: NonNegativeFloat = 2.0
    target: float = Field(0.6, ge=0, le=1)

    def check(self, model: GatedModel) -> None:
        if not (model.units and model.soft_gates):
            raise UsageError("losses.target_rate: the model has no gates that a target could hold; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        return lambda output, batch, clock: self.weight * (self.target - output.gates.float().mean(0)).square().mean()


class DecisionEntropy(Loss):
    """-weight x mean over blocks of the entropy of the batch's mean gate, in bits (ours): each block is to run for some of the inputs.

    An input more that each block runs for, and one that it does not, keep the gradient finite.
    """

    kind = "decision_entropy"
    weight: NonNegativeFloat = 0.3

    def check(self, model: GatedModel) -> None:
        if not (model.units and model.soft_gates):
            raise UsageError("losses.decision_entropy: the model has no gates whose decisions could differ; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        from torch.special import entr

        def loss(output: Output, batch: Batch, clock: Clock) -> Tensor:
            mean = (output.gates.float().sum(0) + 1) / (len(output.gates) + 2)
            return -self.weight / math.log(2) * (entr(mean) + entr(1 - mean)).mean()

        return loss


class EarlyAnswer(Loss):
    """weight x cross-entropy of the answer that decides whether the last blocks run (ours)."""

    kind = "early_answer"
    weight: NonNegativeFloat = 1.0

    def check(self, model: GatedModel) -> None:
        if not hasattr(model, "early"):
            raise UsageError("losses.early_answer: only when-unsure has an early answer; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        from torch.nn.functional import cross_entropy

        return lambda output, batch, clock: self.weight * cross_entropy(output.details["early_answer"].float(), batch.labels)


class Reinforce(Loss):
    """-weight x sum over batch and blocks of log p(gate) R (SkipNet, Eq. 4-6), for gates that are drawn: nothing else moves them.

    R is minus the input's cross-entropy, and `reward` / B for every block from this one on that is left out. As released, it is a sum over
    the batch, beside a mean cross-entropy.
    """

    kind = "reinforce"
    rules_out = {
        "budget": "losses.reinforce has the gates drawn, so a budget has no gradient; leave it out and set losses.reinforce.reward"
    }
    weight: NonNegativeFloat = 0.01
    reward: NonNegativeFloat = 0.1

    def check(self, model: GatedModel) -> None:
        if not hasattr(model, "draws"):
            raise UsageError("losses.reinforce: only skipnet's gates can be drawn; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        from ...gating import log_probability

        model.draws = True

        def loss(output: Output, batch: Batch, clock: Clock) -> Tensor:
            likely = log_probability(output.details["gate_logits"].float(), output.gates.float())
            return -self.weight * (likely * self.returns(output, batch)).sum()

        return loss

    def returns(self, output: Output, batch: Batch) -> Tensor:
        """R [N, B], without a gradient."""
        from torch.nn.functional import cross_entropy

        wrong = cross_entropy(output.logits.detach().float(), batch.labels, reduction="none")
        saved = self.reward / output.gates.shape[1] * (1 - output.gates.detach().float())
        return saved.flip(1).cumsum(1).flip(1) - wrong[:, None]


class PolicyGradient(Loss):
    """-weight x log p(drawn gates) x (their reward - that of the surest gates) (BlockDrop, Eq. 3-7): the reward is 1 - (share of blocks
    that run)^2 for a right answer, and `-penalty` for a wrong one."""

    kind = "policy_gradient"
    weight: NonNegativeFloat = 1.0
    penalty: NonNegativeFloat = 10.0
    curriculum: float = Field(0.0, ge=0, le=1)
    """Share of the training over which one more block at a time, from the last on, is decided about; 0: all from the start."""

    def check(self, model: GatedModel) -> None:
        if not hasattr(model, "decider"):
            raise UsageError("losses.policy_gradient: only blockdrop draws all its gates up front; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        model.curriculum = self.curriculum

        def loss(output: Output, batch: Batch, clock: Clock) -> Tensor:
            details = output.details
            drawn = self.rewards(output.logits.detach(), output.gates, batch.labels)
            gain = drawn - self.rewards(details["greedy_logits"], details["greedy"], batch.labels)
            return -self.weight * (details["log_probability"].float().sum(1) * gain).mean()

        return loss

    def rewards(self, logits: Tensor, gates: Tensor, labels: Tensor) -> Tensor:
        """[N]."""
        return (1 - gates.float().mean(1).square()).where(logits.argmax(1) == labels, -self.penalty)
