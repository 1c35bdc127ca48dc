"""Findings that a reader of a row must know; each is computed from what the run did.

Shapes: N inputs, S switches.
"""

from collections.abc import Iterable

import numpy as np

from ..contract import GatedModel
from ..losses import Batch, Loss
from .outcome import Outcome


def audit(model: GatedModel, losses: Iterable[Loss], outcome: Outcome, last_epoch: dict, epochs: int, batch: Batch) -> list[str]:
    """All findings of a run, those of its losses among them.

    `last_epoch` is the last line of epochs.csv, `batch` a training batch.
    """
    if not model.units:
        return []
    findings = constant_gates(model, outcome)
    for loss in losses:
        findings += loss.findings(model, batch, last_epoch, epochs)
    possible = min(1.0, sum(unit.macs for unit in model.units) / model.macs_static)
    claimed, executed = model.claimed(outcome.decisions, outcome.gates), 100 * (1 - outcome.macs_ratio(model))
    return findings + unexecuted_claim(claimed, executed, possible)


def constant_gates(model: GatedModel, outcome: Outcome) -> list[str]:
    """Switches that decide the same for every input: they are a static network, not an adaptive one."""
    means = outcome.decisions.mean(0)
    findings = []
    if len(np.unique(outcome.decisions, axis=0)) == 1:
        findings.append("gate constant over inputs: every input gets the same decisions")
    starts = np.cumsum([0, *(unit.width for unit in model.units)])
    free = ~model.least().numpy()
    for state, same in (("always on", (means == 1) & free), ("always off", means == 0)):  # what must be on is no finding
        spans = zip(model.units, starts, starts[1:], strict=False)
        names = [unit.name for unit, start, end in spans if end > start and same[start:end].all()]
        if names:
            findings.append(f"{state}: {', '.join(names)}")
    return findings


def unexecuted_claim(claimed: float, executed: float, possible: float) -> list[str]:
    """A claimed saving of which less than half is executed; both in percent. `possible` is the share of the network that has gates."""
    if claimed < 1 or executed >= possible * claimed / 2:
        return []
    return [f"claimed saving not executed: {claimed:.1f} % are claimed, {executed:.1f} % of the MACs are saved"]
