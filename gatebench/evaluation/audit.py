"""Findings that a reader of a row must know; each is computed from what the run did.

Shapes: N inputs, S switches.
"""

import copy

import numpy as np
import torch

from ..contract import GatedModel
from ..device import autocast
from ..objectives import warmup
from ..recipe import Budget, Recipe
from .outcome import Outcome


def audit(model: GatedModel, recipe: Recipe, outcome: Outcome, last_epoch: dict, batch, precision: str) -> list[str]:
    """All findings of a run.

    `last_epoch` is the last row of epochs.csv, `batch` one training batch (x, labels).
    """
    if not model.units:
        return []
    findings = constant_gates(model, outcome)
    rule = recipe.objective.budget
    if rule and rule.weight:
        findings += penalty_gradient(model, rule, batch, precision) + penalty_inactive(rule, last_epoch)
        findings += penalty_late(rule, recipe.training.epochs)
    return findings + unexecuted_claim(model.claimed(outcome.decisions), 100 * (1 - outcome.macs_ratio(model)))


def constant_gates(model: GatedModel, outcome: Outcome) -> list[str]:
    """Switches that decide the same for every input: they are a static network, not an adaptive one."""
    means = outcome.decisions.mean(0)
    findings = []
    if len(np.unique(outcome.decisions, axis=0)) == 1:
        findings.append("gate constant over inputs: every input gets the same decisions")
    starts = np.cumsum([0, *(unit.width for unit in model.units)])
    free = ~model.least().numpy()  # what must be on is no finding
    for state, share in (("always on", 1.0), ("always off", 0.0)):
        same = (means == share) & free
        names = [unit.name for unit, start, end in zip(model.units, starts, starts[1:], strict=False) if same[start:end].all()]
        if names:
            findings.append(f"{state}: {', '.join(names)}")
    return findings


def penalty_gradient(model: GatedModel, rule: Budget, batch, precision: str) -> list[str]:
    """Whether the budget can move a gate at all: it sees the mean gate, whose gradient is taken on a copy in training mode."""
    twin = copy.deepcopy(model).train()
    with autocast(batch[0].device, precision):
        gates = twin(batch[0]).gates
    mean = None if gates is None or rule.detached else gates.float().mean()
    if mean is not None and mean.requires_grad:
        gradients = torch.autograd.grad(mean, [weight for weight in twin.parameters() if weight.requires_grad], allow_unused=True)
        if any(gradient is not None and gradient.any() for gradient in gradients):
            return []
    return ["penalty without gradient: the budget's penalty cannot move any gate"]


def penalty_inactive(rule: Budget, last_epoch: dict) -> list[str]:
    """What is well under its target leaves the penalty at zero: it is not what keeps the gates down."""
    name, column = {"gates": ("mean gate", "train_mean_gate"), "macs": ("share of the MACs", "train_macs_share")}[rule.of]
    if last_epoch[column] is None or last_epoch[column] > rule.target - 0.01:  # a method need not have soft gates
        return []
    return [f"penalty idle: in training the {name}, {last_epoch[column]:.3f}, is under its target {rule.target:.2f}"]


def penalty_late(rule: Budget, epochs: int) -> list[str]:
    """A warm-up that training does not see the end of."""
    reached = warmup(epochs - rule.start_epoch, rule.warmup_epochs)
    if reached == 1:
        return []
    return [f"penalty late: after {epochs} epochs it has {100 * reached:.0f} % of its weight"]


def unexecuted_claim(claimed: float, executed: float) -> list[str]:
    """A claimed saving of which less than half is executed; both in percent."""
    if claimed < 1 or executed >= claimed / 2:
        return []
    return [f"claimed saving not executed: {claimed:.1f} % of the gates are off, {executed:.1f} % of the MACs are saved"]
