"""Losses: settings that a recipe names by kind, each bound to a model and its parents and then called with every batch.

Nothing here imports torch when it is imported, so that recipes can be checked without it.
Shapes: N inputs, S switches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from .errors import UsageError, nearest
from .settings import IN_EPOCHS, Part, unset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .contract import GatedModel, Output


@dataclass(frozen=True)
class Batch:
    """What a loss may look at besides the model's output."""

    x: Tensor
    """Images [N, C, H, W], as the network sees them."""
    labels: Tensor
    """[N]."""
    outputs: Tensor | None = None
    """Cached logits [N, P, classes] of the frozen parents on these images, in the order of the recipe's parents; None: not cached."""


@dataclass(frozen=True)
class Clock:
    """When in the training a batch is taken."""

    epoch: float
    """From 0, with the share of the epoch that is done."""
    epochs: int
    """Of the whole training."""


Bound = Callable[["Output", Batch, Clock], "Tensor"]
"""A loss bound to its model: the weighted scalar of a batch."""


class Loss(Part):
    """Base of every loss. `kind` is its name in recipes, where a model's losses stand below `losses`."""

    kind: ClassVar[str]
    parents: ClassVar[tuple[str, ...]] = ()
    """Roles of the parent runs that it needs, such as a teacher."""
    rules_out: ClassVar[Mapping[str, str]] = {}
    """Kinds of losses that move nothing beside it: why, and what to do instead."""

    def check(self, model: GatedModel) -> None:
        """Raises UsageError naming the setting where the model does not have what the loss needs."""

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        """The loss of this model; `parents` are the networks of its parent runs by role."""
        raise NotImplementedError

    def findings(self, model: GatedModel, batch: Batch, last_epoch: dict, epochs: int) -> list[str]:
        """What a reader of the run's row must know about it; `last_epoch` is the last line of epochs.csv, `batch` a training batch."""
        return []


class CrossEntropy(Loss):
    """Cross-entropy of the answer."""

    kind = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1, exclude_if=unset)

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        from torch.nn.functional import cross_entropy

        return lambda output, batch, clock: cross_entropy(output.logits.float(), batch.labels, label_smoothing=self.label_smoothing)


class Term(Loss):
    """A term that the model's `forward` gives under the name of this kind: averaged over inputs, summed over units, times the weight."""

    weight: NonNegativeFloat

    def check(self, model: GatedModel) -> None:
        if self.kind not in model.terms:
            raise UsageError(
                f"losses.{self.kind}: the model has no such term.{nearest(self.kind, model.terms)}"
                f" It has: {', '.join(model.terms) or 'none'}."
            )

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        return lambda output, batch, clock: self.weight * output.terms[self.kind].reshape(len(batch.labels), -1).sum(1).mean()


class Budget(Loss):
    """weight x prog(t) x max(0, mean gate - target)^2 (CosineGate, Eq. 17-19)."""

    kind = "budget"
    weight: NonNegativeFloat
    target: float = Field(ge=0, le=1)
    """Mean gate above which the penalty sets in."""
    of: Literal["gates", "macs"] = Field("gates", exclude_if=lambda value: value == "gates")
    """The mean over gates, each alike as printed, or each by the MACs that it leaves out."""
    warmup_epochs: Annotated[NonNegativeFloat, IN_EPOCHS] = 0
    """Epochs over which the penalty grows to its full weight."""
    start_epoch: Annotated[NonNegativeFloat, IN_EPOCHS] = Field(0, exclude_if=unset)
    """Epoch, counted from 0, at which that begins; there is no penalty before."""
    detached: bool = False
    """The released notebook computes the penalty from a plain number: it shows in the loss and moves no gate."""

    def check(self, model: GatedModel) -> None:
        if not (model.units and model.soft_gates):
            raise UsageError("losses.budget: the model has no gates that a budget could hold down; leave it out.")

    def bind(self, model: GatedModel, parents: Mapping[str, nn.Module]) -> Bound:
        def loss(output: Output, batch: Batch, clock: Clock) -> Tensor:
            if output.gates is None:  # a method need not give any; the audit says that nothing moves them
                return output.logits.new_zeros(())
            grown = warmup(clock.epoch - self.start_epoch, self.warmup_epochs)
            return self.weight * grown * self.penalty(output.gates, model)

        return loss

    def penalty(self, gates: Tensor, model: GatedModel) -> Tensor:
        """max(0, mean - target)^2 of gates [N, S], a scalar (Eq. 17-18)."""
        if self.detached:
            gates = gates.detach()
        mean = gates.float().mean() if self.of == "gates" else macs_share(gates, model)
        return (mean - self.target).clamp(min=0).square()

    def findings(self, model: GatedModel, batch: Batch, last_epoch: dict, epochs: int) -> list[str]:
        """Whether the penalty cannot move a gate, is idle at the end of training, or comes too late."""
        if not self.weight:
            return []
        found = [] if self._moves_gates(model, batch) else ["penalty without gradient: the budget's penalty cannot move any gate"]
        name, column = {"gates": ("mean gate", "train_mean_gate"), "macs": ("share of the MACs", "train_macs_share")}[self.of]
        value = last_epoch[column]
        if value is not None and value <= self.target - 0.01:
            found.append(f"penalty idle: in training the {name}, {value:.3f}, is under its target {self.target:.2f}")
        reached = warmup(epochs - self.start_epoch, self.warmup_epochs)
        if reached < 1:
            found.append(f"penalty late: after {epochs} epochs it has {100 * reached:.0f} % of its weight")
        return found

    def _moves_gates(self, model: GatedModel, batch: Batch) -> bool:
        """Whether there are gates whose mean, taken on a copy in training mode, has a gradient."""
        import copy

        import torch

        if self.detached:
            return False
        copied = copy.deepcopy(model).train()
        gates = copied(batch.x).gates
        if gates is None or not gates.requires_grad:
            return False
        trained = [weight for weight in copied.parameters() if weight.requires_grad]

        def largest(value: Tensor) -> float:
            gradients = torch.autograd.grad(value, trained, allow_unused=True, retain_graph=True)
            return max((float(gradient.abs().max()) for gradient in gradients if gradient is not None), default=0.0)

        single = max(largest(gate) for gate in gates.float().mean(0))  # the mean of gates that add up to one has rounding for a gradient
        return largest(gates.float().mean()) > 1e-4 * single / gates.shape[1]


def warmup(epoch: float, warmup_epochs: float) -> float:
    """prog(t) = min(1, t / T_warmup) (CosineGate, Eq. 19); `epoch` counts from 0 and may be fractional; 0 before that."""
    if epoch < 0:
        return 0.0
    return 1.0 if warmup_epochs == 0 else min(1.0, epoch / warmup_epochs)


def macs_share(gates: Tensor, model: GatedModel) -> Tensor:
    """Share of the MACs of the costliest decisions that gates [N, S] let run, outside of units not counted; differentiable."""
    return model.unit_macs(gates.float()).sum(1).mean() / model.macs_most


LOSSES: tuple[type[Loss], ...] = (CrossEntropy, Budget)
"""What every model may be trained with."""
