"""What a network with exits is worth at every threshold, from one pass over validation and one over test.

Thresholds and temperatures are chosen on validation alone; test is only scored.
Shapes: N inputs, E exits, C classes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..contract import GatedModel
from ..data.batches import Batches
from ..device import autocast
from ..exit_policy import NEVER, ExitPolicy, all_scores, first_sure
from ..measure.statistics import wilson
from ..recipe import Evaluation, Rule
from ..runs import RunFolder
from .outcome import macro_scores

CANDIDATES = 1000
"""Thresholds that are tried on validation: quantiles of its scores."""
BINS = 15
"""Of confidence, in a reliability diagram (Guo et al. 2017, arXiv 1706.04599)."""


@dataclass(frozen=True)
class Answers:
    """What every exit says of every input of a split."""

    labels: np.ndarray
    """[N]."""
    logits: Tensor
    """[N, E, C], fp32, on the CPU."""

    @property
    def right(self) -> np.ndarray:
        """Boolean [N, E]."""
        return self.logits.argmax(2).numpy() == self.labels[:, None]

    def scores(self, rule: Rule, temperatures: tuple[float, ...] | None) -> Tensor:
        return all_scores(self.logits, rule, temperatures)


@dataclass(frozen=True)
class Choice:
    """A policy, and how it was come by."""

    policy: ExitPolicy
    budget: float
    """Share of the static twin's MACs that it was to keep to."""
    per_exit: bool
    """Whether every exit has a threshold of its own."""

    @property
    def name(self) -> str:
        return self.policy.rule + (", each exit" if self.per_exit else "")


class ExitStudy:
    """Policies chosen on validation, and what they and all others are worth on the scored split; the model is left with the headline's."""

    def __init__(self, model: GatedModel, evaluation: Evaluation, validation: Batches | None, scored: Batches, precision: str):
        self.model, self.evaluation = model, evaluation
        self.known = ask_all(model, validation or scored, precision)
        self.answers = ask_all(model, scored, precision)
        self.temperatures = fit_temperatures(self.known) if evaluation.temperature else None
        self.choices = settle(model, self.known, evaluation, self.temperatures)
        model.policy = self.choices[0].policy

    def rows(self, headline: dict) -> list[dict]:
        """The headline row with what is known of its policy, and a row for each other policy."""
        also = {"overthinking_pct": overthinking(self.answers)}
        first, *others = (point(self.model, self.answers, choice) for choice in self.choices)
        measured = {key: value for key, value in first.items() if key not in headline}
        headline = {key: value for key, value in headline.items() if key not in ("accuracy_peak", "peak_epoch")}  # by other thresholds
        same = {key: value for key, value in headline.items() if key not in ("audit", "mean_gate_hard")}
        return [{**headline, **measured, **also}, *({**same, **other, **also} for other in others)]

    def write(self, folder: RunFolder) -> None:
        """exits.csv and calibration.csv, and a picture of each."""
        from ..report import figures  # matplotlib takes its time

        table = curves(self.model, self.known, self.answers, self.evaluation, self.temperatures)
        reliability = calibration(self.answers, self.temperatures)
        folder.write_text("exits.csv", table.to_csv(index=False, float_format="%.10g"))
        folder.write_text("calibration.csv", reliability.to_csv(index=False, float_format="%.10g"))
        folder.write("exits.png", lambda stream: figures.save(figures.exit_curves(table, self.model.macs_static), stream))
        folder.write("calibration.png", lambda stream: figures.save(figures.reliability(reliability), stream))


def ask_all(model: GatedModel, batches: Batches, precision: str) -> Answers:
    """Every exit's answer to every image of a split."""
    model.eval()
    labels, logits = [], []
    with torch.inference_mode(), autocast(batches.labels.device, precision):
        for x, label in batches.in_order():
            logits.append(model.infer(x, "masked").exits.float().cpu())
            labels.append(label.cpu().numpy())
    return Answers(np.concatenate(labels), torch.cat(logits).clone())


def leaving_macs(model: GatedModel) -> np.ndarray:
    """MACs [E] of an input that leaves at each exit, with the heads it asked on the way."""
    reached = np.tril(np.ones((model.exits, model.exits))).repeat(2, axis=1)
    return model.macs(reached)


def settle(model: GatedModel, validation: Answers, evaluation: Evaluation, temperatures: tuple[float, ...] | None) -> list[Choice]:
    """All policies the recipe asks for, the headline's first."""
    costs = leaving_macs(model) / model.macs_static
    choices = []
    for rule in evaluation.rules:
        scores, right = validation.scores(rule, temperatures).numpy(), validation.right
        for budget in evaluation.budgets:
            one = choose_one(scores, right, costs, budget, rule)
            choices.append(Choice(ExitPolicy(rule, one, temperatures), budget, False))
            if rule != "patience":  # whose score has too few values for shares
                each = choose_shares(scores, costs, budget)
                choices.append(Choice(ExitPolicy(rule, each, temperatures), budget, True))
    return choices


def choose_one(scores: np.ndarray, right: np.ndarray, costs: np.ndarray, budget: float, rule: Rule) -> tuple[float, ...]:
    """The one threshold with the best accuracy among those whose mean cost keeps to the budget, for every exit but the last."""
    early = scores[:, :-1]
    found = np.unique(early) if rule == "patience" else np.unique(np.quantile(early, np.linspace(0, 1, CANDIDATES)))
    best, chosen = -1.0, -NEVER
    for threshold in [*found, NEVER]:
        taken = _taken(scores, (threshold,) * early.shape[1])
        accuracy, cost = right[np.arange(len(taken)), taken].mean(), costs[taken].mean()
        if cost <= budget and accuracy >= best:  # of equals the highest: it errs on the side of going on
            best, chosen = accuracy, float(threshold)
    return (chosen,) * early.shape[1]


def choose_shares(scores: np.ndarray, costs: np.ndarray, budget: float) -> tuple[float, ...]:
    """A threshold for each exit, such that the shares that leave are a geometric series whose mean cost is the budget.

    Budgeted batch classification of MSDNet (Huang et al. 2018, arXiv 1703.09844, section 5.2).
    """

    def shares(ratio: float) -> np.ndarray:
        series = ratio ** np.arange(len(costs), dtype=np.float64)
        return series / series.sum()

    if costs.mean() == budget:
        ratio = 1.0
    else:
        low, high = 1e-6, 1e6
        for _ in range(100):
            ratio = float(np.sqrt(low * high))
            low, high = (ratio, high) if shares(ratio) @ costs <= budget else (low, ratio)
        ratio = low
    remaining, thresholds = np.arange(len(scores)), []
    for exit_number, share in enumerate(shares(ratio)[:-1]):
        count = min(len(remaining), round(share * len(scores)))
        order = np.sort(scores[remaining, exit_number])[::-1]
        thresholds.append(float(order[count - 1]) if count else NEVER)
        remaining = remaining[scores[remaining, exit_number] < thresholds[-1]]
    return tuple(thresholds)


def _taken(scores: np.ndarray, thresholds: tuple[float, ...]) -> np.ndarray:
    return first_sure(torch.from_numpy(scores), thresholds).numpy()


def point(model: GatedModel, answers: Answers, choice: Choice) -> dict:
    """The columns of a row for one policy on a split."""
    taken = first_sure(answers.scores(choice.policy.rule, choice.policy.temperatures), choice.policy.thresholds).numpy()
    predictions = answers.logits.argmax(2).numpy()[np.arange(len(taken)), taken]
    correct = predictions == answers.labels
    low, high = wilson(int(correct.sum()), len(correct))
    macs = float(leaving_macs(model)[taken].mean())
    return {
        "policy": choice.name,
        "tradeoff": choice.budget,
        "thresholds": list(choice.policy.thresholds),
        "accuracy": 100 * float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        **macro_scores(answers.labels, predictions),
        "shares": (np.bincount(taken, minlength=model.exits) / len(taken)).tolist(),
        "skip_pct": 100 * (1 - float((taken + 1).mean()) / model.exits),
        "macs_decided": macs,
        "macs_executed": macs,
        "macs_ratio": macs / model.macs_static,
        "adaptivity_gain": 100 * float(correct.mean()) - fixed_accuracy(answers, leaving_macs(model), macs),
    }


def fixed_accuracy(answers: Answers, costs: np.ndarray, macs: float) -> float:
    """Accuracy (%) at these mean MACs without looking at the input: leaving at one exit or another by lot."""
    accuracies = 100 * answers.right.mean(0)
    best = accuracies[0] if macs <= costs[0] else 0.0
    for first in range(len(costs)):
        for second in range(first, len(costs)):
            if costs[first] <= macs <= costs[second] and costs[second] > costs[first]:
                share = (macs - costs[first]) / (costs[second] - costs[first])
                best = max(best, (1 - share) * accuracies[first] + share * accuracies[second])
            elif costs[second] <= macs:
                best = max(best, accuracies[second])
    return float(best)


def overthinking(answers: Answers) -> float:
    """Percent of inputs that an exit before the last gets right and the last one wrong."""
    right = answers.right
    return 100 * float((right[:, :-1].any(1) & ~right[:, -1]).mean())


def oracle(answers: Answers) -> np.ndarray:
    """Exits [N] of a policy that knows the truth: the first that is right, and the first of all where none is."""
    return answers.right.argmax(1)


def curves(
    model: GatedModel, validation: Answers, test: Answers, evaluation: Evaluation, temperatures: tuple[float, ...] | None
) -> pd.DataFrame:
    """exits.csv: accuracy (%) and mean MACs on the scored split.

    anytime: everything leaves at one exit (MSDNet's anytime curve). oracle: see there. <rule>: one threshold, over its range.
    <rule>, shares: MSDNet's budgeted batches, from the cost of the first exit to that of the last.
    """
    costs, right = leaving_macs(model), test.right
    everyone = np.arange(len(right))
    rows = []

    def add(curve: str, setting: float, taken: np.ndarray) -> None:
        rows.append({"curve": curve, "setting": setting, "accuracy": 100 * right[everyone, taken].mean(), "macs": costs[taken].mean()})

    for number in range(model.exits):
        add("anytime", number, np.full(len(right), number))
    add("oracle", np.nan, oracle(test))
    for rule in evaluation.rules:
        known, scores = (split.scores(rule, temperatures).numpy() for split in (validation, test))
        early = known[:, :-1]
        values = np.unique(early) if rule == "patience" else np.unique(np.quantile(early, np.linspace(0, 1, 41)))
        for threshold in [*values, NEVER]:
            add(rule, float(threshold), _taken(scores, (float(threshold),) * early.shape[1]))
        if rule != "patience":
            for budget in np.linspace(costs[0], costs[-1], 21)[1:-1] / model.macs_static:
                add(f"{rule}, shares", float(budget), _taken(scores, choose_shares(known, costs / model.macs_static, budget)))
    return pd.DataFrame(rows)


def fit_temperatures(answers: Answers) -> tuple[float, ...]:
    """For each exit the temperature with the least cross-entropy (Guo et al. 2017, arXiv 1706.04599)."""
    labels = torch.from_numpy(answers.labels)

    def entropy(log_temperature: float, logits: Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(logits / float(np.exp(log_temperature)), labels))

    return tuple(float(np.exp(minimize_scalar(entropy, (-1, 1), args=(logits,), tol=1e-4).x)) for logits in answers.logits.unbind(1))


def calibration(answers: Answers, temperatures: tuple[float, ...] | None) -> pd.DataFrame:
    """calibration.csv: for each exit and bin of its largest probability, how often it is right (%), the mean probability, inputs;
    and the expected calibration error (%) of the exit."""
    confidence = answers.scores("max-softmax", temperatures).numpy()
    parts = []
    for number, (sure, right) in enumerate(zip(confidence.T, answers.right.T, strict=True)):
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        table = pd.DataFrame({"bin": bins, "confidence": 100 * sure, "accuracy": 100.0 * right}).groupby("bin", as_index=False).agg(
            inputs=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
        )  # fmt: skip
        error = float((table["inputs"] / len(sure) * (table["accuracy"] - table["confidence"]).abs()).sum())
        parts.append(table.assign(exit=number, ece=error, temperature=1.0 if temperatures is None else temperatures[number]))
    return pd.concat(parts, ignore_index=True)
