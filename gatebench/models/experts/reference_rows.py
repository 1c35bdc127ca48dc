"""What a router is compared with on the scored images, as rows of their own: each expert alone, and the oracle.

Shapes: N images, E experts, U units (the experts).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from ...evaluation.outcome import Outcome
from ...evaluation.row import decided
from ...evaluation.scores import scores as quality
from ...row import Place
from .router import BaseRouter
from .worth import ExpertOutputs, oracle

ORACLE = "oracle"
"""The name of `worth.oracle`."""
KEPT = (
    "model", "recipe", "digest", "seed", "epochs", "recipe_epochs", "schedule", "parents", "weights", "split", "macs_dense",
    *Place.model_fields,
)  # fmt: skip
"""Columns of the headline row that name the run and what was scored; all others are of the router."""


class Reference(Outcome):
    """What experts did that were given their images: nothing was spent to decide."""

    def decided_macs(self, model: BaseRouter) -> np.ndarray:
        return self.executed


def reference_outcomes(model: BaseRouter, experts: ExpertOutputs) -> dict[str, Reference]:
    """What each expert alone ("lite0 alone"), and the oracle, do on the images of a part, by name."""
    everyone = np.ones(len(experts.labels), int)
    alone = {f"{role} alone": number * everyone for number, role in enumerate(model.roles)}
    chosen = {**alone, ORACLE: oracle(experts.right, np.array(model.costs))}
    return {name: _answered_by(numbers, model, experts) for name, numbers in chosen.items()}


def reference_rows(model: BaseRouter, outcomes: Mapping[str, Reference], headline: dict) -> Iterator[dict]:
    """A row for each reference, in the place of the headline's. `expected_ms` is its looked-up time: none of them is timed here."""
    place = {key: headline[key] for key in KEPT if key in headline}
    for name, outcome in outcomes.items():
        measured: dict[str, Any] = {**quality(outcome.labels, outcome.predictions), **decided(model, outcome)}
        row = {**place, "reference": name, "adaptive": name == ORACLE, **measured}
        yield {key: value for key, value in row.items() if value is not None}


def _answered_by(chosen: np.ndarray, model: BaseRouter, experts: ExpertOutputs) -> Reference:
    """Image by image by the experts of these numbers [N]."""
    everyone = np.arange(len(chosen))
    on = np.arange(len(model.roles)) == chosen[:, None]
    macs = model.tally(torch.from_numpy(on)).numpy()
    macs[:, len(model.units) :] = 0  # no gater looked
    return Reference(
        labels=experts.labels,
        predictions=experts.predictions[everyone, chosen],
        confidence=softmax(experts.logits[everyone, chosen], axis=1).max(1),
        gates=None,
        decisions=on,
        executed_macs=macs,
    )
