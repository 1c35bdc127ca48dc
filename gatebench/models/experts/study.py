"""What a router is worth on the scored part beside experts alone, their random mix and the oracle.

Everything that is chosen is chosen on validation: thresholds of rules, the best single expert, the mix. Experts are not run: their
outputs are cached. Times are looked up, as in the paper: those of the chosen experts, without what it takes to choose.
Shapes: N images, E experts, K scores of an image.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from torch import Tensor

from ...data.batches import Batches
from ...device import autocast
from ...evaluation.explained import explained
from ...evaluation.fixed import FixedChoices, Mix
from ...evaluation.row import decided
from ...evaluation.scores import scores as quality
from ...runs import RunFolder
from .decider import Policy
from .reference_rows import reference_outcomes, reference_rows
from .router import BaseRouter
from .settings import RoutingStudy
from .worth import ExpertOutputs, Routed, curve_area, gap_recovered, mix_gain, oracle, single_area

LAMBDAS = np.linspace(0, 1, 41)
"""Of the curve of a rule."""
MIXES = 21
"""Points of the curve of the random mix."""
OF_EPOCHS = ("accuracy_peak", "peak_epoch")
"""What a row says of epochs before anything was chosen."""


@dataclass(frozen=True)
class PartOutputs:
    """What experts answer and what decisions are made by, on a part of the data."""

    experts: ExpertOutputs
    scores: Tensor
    """[N, K], fp32, on the CPU."""
    severity: np.ndarray | None
    """Numbers of the images' severities [N]; None where there are none."""


def part_outputs(model: BaseRouter, batches: Batches, precision: str) -> PartOutputs:
    """The scores of every image of a part, with the experts' cached outputs."""
    model.eval()
    scores = []
    with torch.inference_mode(), autocast(batches.labels.device, precision):
        for batch in batches.in_order():
            scores.append(model.scores(batch.x, batch.outputs).float().cpu())
    labels = batches.labels.cpu().numpy()
    source = np.arange(len(labels)) if batches.source is None else batches.source
    experts = ExpertOutputs(labels, batches.outputs.float().cpu().numpy(), source)
    return PartOutputs(experts, torch.cat(scores).clone(), batches.severity)


class Routing:
    """Policies chosen on validation, and what they are worth; the model is left with the headline's."""

    def __init__(self, model: BaseRouter, settings: RoutingStudy, validation: Batches, scored: Batches, precision: str):
        self.model, self.values = model, settings.values
        self.validation, self.scored = (part_outputs(model, part, precision) for part in (validation, scored))
        self.costs, self.macs = np.array(model.costs), np.array([unit.macs for unit in model.units], np.float64)
        accuracies = self.validation.experts.right.mean(0)
        self.best = int(accuracies.argmax())
        self.mix = Mix.chosen_on(accuracies, self.costs)
        self.fixed = FixedChoices(accuracies, self.macs, "validation")
        self.policies = self._choose(self.values) if self.values else [model.policy]
        if self.values:
            model.policy = self.policies[0]
        self.routed = [self._routed(policy) for policy in self.policies]
        self.reference_outcomes = reference_outcomes(model, self.scored.experts)
        self.outcomes = [*self.routed, *self.reference_outcomes.values()]

    def rows(self, headline: dict) -> list[dict]:
        """The headline row with what its routing is worth, a row for each further lambda, and then those of the references."""
        return [*self._routers(headline), *reference_rows(self.model, self.reference_outcomes, headline)]

    def _routers(self, headline: dict) -> Iterator[dict]:
        if self.values:
            headline = {key: value for key, value in headline.items() if key not in OF_EPOCHS}
        if "audit" in headline:
            headline = {**headline, "audit": [*headline["audit"], *self._unordered(), *self._degenerate()]}
        for number, (policy, outcome) in enumerate(zip(self.policies, self.routed, strict=True)):
            row = {key: value for key, value in headline.items() if not (number and key == "audit")}
            if self.values:
                row |= {"policy": self._name(), "tradeoff": self.values[number], **self.model.method.described(policy)}
            row |= {**quality(outcome.labels, outcome.predictions), **decided(self.model, outcome)}
            yield {key: value for key, value in row.items() if value is not None}

    def _unordered(self) -> list[str]:
        """Findings where an expert is faster than the one before it."""
        timed = list(zip(self.model.roles, self.model.milliseconds or (), strict=False))
        return [
            f"unordered parents: {late} takes {less:g} ms and comes after {early} with {more:g} ms; name parents from the fastest to the"
            " slowest, since the last is the static twin and cascades ask in this order"
            for (early, more), (late, less) in zip(timed, timed[1:], strict=False)
            if less < more
        ]

    def _degenerate(self) -> list[str]:
        """Findings where dearer experts are no better, on validation: then there is nothing to route for."""
        accuracies, found = 100 * self.validation.experts.right.mean(0), []
        order = np.argsort(self.costs, kind="stable")
        for cheap, dear in zip(order, order[1:], strict=False):
            if accuracies[dear] <= accuracies[cheap]:
                names = self.model.roles[dear], self.model.roles[cheap]
                found.append(f"degenerate pool: {names[0]} takes longer than {names[1]} and is no more accurate on validation")
        return found

    def write(self, folder: RunFolder) -> None:
        """routing.csv; scores.csv where decisions are made by one number of an image."""
        severities = folder.read_json("data.json").get("severities", [])
        folder.write_text("routing.csv", self.curves(severities).to_csv(index=False, float_format="%.10g"))
        if self.scored.scores.shape[1] == 1:
            parts = {name: self.scored.scores[torch.from_numpy(rows), 0].numpy() for name, rows in self._parts(severities)}
            table = pd.DataFrame([{"severity": name, **distribution(scores)} for name, scores in parts.items()])
            folder.write_text("scores.csv", table.to_csv(index=False, float_format="%.6g"))

    def curves(self, severities: list[str]) -> pd.DataFrame:
        """Accuracy (%) and looked-up milliseconds of all images and of each severity.

        experts: each alone. random mix: the chord between them. oracle: `worth.oracle`. router: at every lambda of the recipe. rule: its
        thresholds for lambda from 0 to 1.
        """
        taken = {"router": [(weight, each.decisions) for weight, each in zip(self.values or [None], self.routed, strict=True)]}
        if self.values:
            taken["rule"] = [
                (weight, self._decide(self.scored, policy)) for weight, policy in zip(LAMBDAS, self._choose(LAMBDAS.tolist()), strict=True)
            ]
        lines = []
        for name, rows in self._parts(severities):
            experts = self.scored.experts.subset(rows)
            for role, right, cost in zip(self.model.roles, experts.right.mean(0), self.costs, strict=True):
                lines.append(("experts", name, role, right, cost))
            for spent in np.linspace(*self.costs[self.mix.corners[[0, -1]]], MIXES):
                lines.append(("random mix", name, None, self.mix.accuracy(experts.right.mean(0), self.costs, spent), spent))
            lines.append(("oracle", name, None, experts.right.any(1).mean(), self.costs[oracle(experts.right, self.costs)].mean()))
            for curve, points in taken.items():
                for weight, on in points:
                    answering = self.model.answering(on[rows])
                    right = experts.right[np.arange(len(experts.labels)), answering].mean()
                    lines.append((curve, name, weight, right, (on[rows] @ self.costs).mean()))
        table = pd.DataFrame(lines, columns=["curve", "severity", "setting", "accuracy", "ms"])
        return table.assign(accuracy=100 * table["accuracy"])

    def beside(self, outcome: Routed) -> dict[str, Any]:
        """The columns that set what a router did on some of the scored inputs beside what else could be done there."""
        experts = self.scored.experts.subset(outcome.inputs)
        everyone, answering = np.arange(len(experts.labels)), self.model.answering(outcome.decisions)
        right, ideal = experts.right[everyone, answering], oracle(experts.right, self.costs)
        accuracy, best = 100 * float(right.mean()), 100 * float(experts.right.any(1).mean())
        gain = mix_gain(right, outcome.decisions @ self.costs, experts, self.costs, self.mix)
        return {
            "oracle_accuracy": best,
            "oracle_ms": float(self.costs[ideal].mean()),
            "oracle_agreement_pct": 100 * float((answering == ideal).mean()),
            "gap_recovered": gap_recovered(accuracy, 100 * float(experts.right[:, self.best].mean()), best),
            "mix_gain": gain.value,
            "mix_gain_low": gain.low,
            "mix_gain_high": gain.high,
            **self.fixed.columns(right, outcome.executed, lambda number: experts.right[:, number], experts.source),
            **explained(
                outcome.decisions, right, outcome.executed, lambda order: experts.right[everyone, answering[order]],
                lambda: experts.losses[:, -1], source=experts.source,
            ),
            **self._of_scores(outcome.inputs),
            **self._areas(outcome.inputs),
        }  # fmt: skip

    def _of_scores(self, inputs: np.ndarray) -> dict[str, float]:
        """The method's own columns, on these inputs and on the validation images of their severities."""
        chosen = np.ones(len(self.validation.experts.labels), bool)
        if self.scored.severity is not None:
            chosen = np.isin(self.validation.severity, self.scored.severity[inputs])
        parts = {"": (self.scored, inputs), "_validation": (self.validation, np.flatnonzero(chosen))}
        columns = {}
        for ending, (part, rows) in parts.items():
            measured = self.model.method.columns(part.scores.numpy()[rows], part.experts.logits[rows])
            columns |= {name + ending: value for name, value in measured.items()}
        return columns

    def _areas(self, inputs: np.ndarray) -> dict[str, float]:
        """Mean accuracy over all times between the cheapest and the dearest expert: of the router, its lambdas mixed at random; of the
        best single expert; of the random mix."""
        low, high = float(self.costs.min()), float(self.costs.max())
        if len(self.values) < 2 or low == high:
            return {}
        alone = [self._alone(part, rows) for part, rows in ((self.validation, slice(None)), (self.scored, inputs))]
        routed = [self._points(self.validation, slice(None)), self._points(self.scored, inputs)]
        cheapest = int(self.costs.argmin())
        routed = [np.concatenate([experts[[cheapest]], points]) for experts, points in zip(alone, routed, strict=True)]
        return {
            "curve_area": curve_area(*routed, low, high),
            "curve_area_single": single_area(*alone, low, high),
            "curve_area_mix": curve_area(*alone, low, high),
        }

    def _alone(self, part: PartOutputs, rows: np.ndarray | slice) -> np.ndarray:
        """Looked-up time and accuracy (%) of each expert, [E, 2]."""
        return np.column_stack([self.costs, 100 * part.experts.right[rows].mean(0)])

    def _points(self, part: PartOutputs, rows: np.ndarray | slice) -> np.ndarray:
        """Looked-up time and accuracy (%) of the router at each lambda, [K, 2]."""
        points, right = [], part.experts.right[rows]
        for policy in self.policies:
            on = self._decide(part, policy)[rows]
            points.append(((on @ self.costs).mean(), 100 * right[np.arange(len(on)), self.model.answering(on)].mean()))
        return np.array(points)

    def _choose(self, weights: list[float] | tuple[float, ...]) -> list[Policy]:
        return self.model.method.policies(self.validation.scores.numpy(), self.validation.experts.losses, self.costs, weights)

    def _decide(self, part: PartOutputs, policy: Policy | None) -> np.ndarray:
        """Decisions [N, E] on a part."""
        device = next(self.model.experts.parameters()).device
        return self.model.decide(part.scores.to(device), policy).cpu().numpy()

    def _name(self) -> str:
        thresholds = "thresholds" in self.model.method.described(self.policies[0])
        return self.model.method.name + ", least objective" * thresholds

    def _parts(self, severities: list[str]) -> Iterator[tuple[str, np.ndarray]]:
        """all, and each severity: numbers of the scored images."""
        everyone = np.arange(len(self.scored.experts.labels))
        yield "all", everyone
        for number, name in enumerate(severities):
            yield name, everyone[self.scored.severity == number]

    def _routed(self, policy: Policy | None) -> Routed:
        experts, on = self.scored.experts, self._decide(self.scored, policy)
        everyone, answering = np.arange(len(on)), self.model.answering(on)
        gates = self.model.method.gates(self.scored.scores)
        return Routed(
            labels=experts.labels,
            predictions=experts.predictions[everyone, answering],
            confidence=softmax(experts.logits[everyone, answering], axis=1).max(1),
            gates=None if gates is None else gates.numpy(),
            decisions=on,
            executed_macs=self.model.tally(torch.from_numpy(on)).numpy(),
            inputs=everyone,
            beside=self.beside,
        )


def distribution(values: np.ndarray) -> dict[str, float]:
    """Mean, median and deciles of values [N]."""
    deciles = np.quantile(values, np.arange(1, 10) / 10)
    return {"mean": values.mean(), "median": np.median(values), **{f"d{number}": each for number, each in enumerate(deciles, 1)}}
