"""What a network with exits is worth at every threshold, from one pass over validation and one over test.

Thresholds and temperatures are chosen on validation alone; test is only scored.
Shapes: N inputs, E exits, C classes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ...data.batches import Batches
from ...evaluation.explained import explained
from ...evaluation.fixed import FixedChoices
from ...evaluation.scores import scores
from ...runs import RunFolder
from . import thresholds
from .answers import Answers, ask_all
from .calibration import calibration, calibration_error, fit_temperatures
from .network import EarlyExit
from .policy import NEVER, ExitPolicy
from .settings import ExitChoice

BY_OTHER_THRESHOLDS = ("accuracy_peak", "peak_epoch")
"""What a headline row says of epochs before thresholds were chosen."""


@dataclass(frozen=True)
class Choice:
    """A policy, and how its thresholds were chosen."""

    policy: ExitPolicy
    budget: float
    """Share of the static twin's MACs that it was to keep to."""
    way: str
    """one threshold, one each, or budgeted batch; see `thresholds`."""

    @property
    def name(self) -> str:
        return f"{self.policy.rule}, {self.way}" + ", temperatures" * bool(self.policy.temperatures)


class ExitStudy:
    """Policies chosen on validation, and what they and all others are worth on the scored split; the model is left with the headline's."""

    outcomes = ()

    def __init__(self, model: EarlyExit, settings: ExitChoice, validation: Batches, scored: Batches, precision: str):
        self.model, self.settings = model, settings
        self.validation = ask_all(model, validation, precision)
        self.scored = ask_all(model, scored, precision)
        self.temperatures = fit_temperatures(self.validation) if settings.temperature else None
        self.choices = choose(model, self.validation, settings, self.temperatures)
        model.policy = self.choices[0].policy

    def rows(self, headline: dict) -> list[dict]:
        """The headline row with what its policy adds, and a row for each other policy."""
        of_run = {
            "overthinking_pct": overthinking(self.scored),
            "oracle_accuracy": 100 * float(self.scored.right.any(1).mean()),
            "oracle_macs": float(leaving_macs(self.model)[oracle(self.scored)].mean()),
            "calibration_error_pct": [calibration_error(self.scored, number, self.temperatures) for number in range(self.model.exits)],
        }
        fixed = fixed_exits(self.model, self.validation)
        first, *others = (point(self.model, fixed, self.scored, choice) for choice in self.choices)
        measured = {key: value for key, value in first.items() if key not in headline}
        headline = {key: value for key, value in headline.items() if key not in BY_OTHER_THRESHOLDS}
        same = {key: value for key, value in headline.items() if key not in ("audit", "mean_gate_hard")}
        return [{**headline, **measured, **of_run}, *({**same, **other, **of_run} for other in others)]

    def write(self, folder: RunFolder) -> None:
        """exits.csv and calibration.csv."""
        table = curves(self.model, self.validation, self.scored, self.settings, self.temperatures)
        folder.write_text("exits.csv", table.to_csv(index=False, float_format="%.10g"))
        reliability = calibration(self.scored, self.temperatures)
        folder.write_text("calibration.csv", reliability.to_csv(index=False, float_format="%.10g"))


def leaving_macs(model: EarlyExit, policy: ExitPolicy | None = None) -> np.ndarray:
    """MACs [E] of an input that leaves at each exit, with the heads on the way that the policy asks; None: with all."""
    return model.tally(torch.cat(model.leaving(policy)).cpu()).sum(1).numpy()


def leave(model: EarlyExit, answers: Answers, policy: ExitPolicy) -> tuple[np.ndarray, np.ndarray]:
    """Exits [N] at which inputs leave by a policy, and the MACs [N] of each."""
    taken = thresholds.leave(answers.scores(policy.rule, policy.temperatures).numpy(), policy.thresholds)
    return taken, leaving_macs(model, policy)[taken]


def choose(model: EarlyExit, validation: Answers, settings: ExitChoice, temperatures: tuple[float, ...] | None) -> list[Choice]:
    """All policies the recipe asks for, the headline's first."""
    costs = leaving_macs(model) / model.macs_static
    limits = [budget if budget < 1 else float(costs.max()) for budget in settings.budgets]  # all of it affords the heads on the way too
    choices = []
    for rule in settings.rules:
        scores, right = validation.scores(rule, temperatures).numpy(), validation.right
        ways = {"one threshold": thresholds.one_for_all(scores, right, costs, limits)}
        if rule != "patience":  # whose scores are a few whole numbers
            ways["one each"] = thresholds.one_each(scores, right, costs, limits)
            ways["budgeted batch"] = [thresholds.by_shares(scores, costs, limit) for limit in limits]
        for number, budget in enumerate(settings.budgets):
            choices += [Choice(ExitPolicy(rule, each[number], temperatures), budget, way) for way, each in ways.items()]
    return choices


def point(model: EarlyExit, fixed: FixedChoices, scored: Answers, choice: Choice) -> dict:
    """The columns of a row for one policy, scored on `scored`, beside leaving at `fixed` exits."""
    taken, spent = leave(model, scored, choice.policy)
    predictions = scored.logits.argmax(2).numpy()[np.arange(len(taken)), taken]
    decisions = torch.cat(model.leaving(choice.policy)).cpu().numpy()[taken]
    macs, right, everyone = float(spent.mean()), scored.right, np.arange(len(taken))
    return {
        "policy": choice.name,
        "tradeoff": choice.budget,
        "thresholds": [None if each == NEVER else each for each in choice.policy.thresholds],
        **({"temperatures": list(choice.policy.temperatures)} if choice.policy.temperatures else {}),
        **scores(scored.labels, predictions),
        "shares": (np.bincount(taken, minlength=model.exits) / len(taken)).tolist(),
        "share_names": [f"exit {number + 1}" for number in range(model.exits)],
        "skip_pct": model.claimed(decisions),
        "macs_decided": macs,
        "macs_executed": macs,
        "macs_ratio": macs / model.macs_static,
        **fixed.columns(predictions == scored.labels, spent, lambda number: right[:, number], scored.source),
        **explained(
            decisions, predictions == scored.labels, spent, lambda order: right[everyone, taken[order]],
            lambda: scored.losses_of_last, scored.difficulty, scored.source,
        ),
    }  # fmt: skip


def fixed_exits(model: EarlyExit, validation: Answers) -> FixedChoices:
    """Leaving at the same exit whatever the input: a network that is cut off there, and runs no head before."""
    macs = model.tally(model.needed(torch.cat(model.leaving())).cpu()).sum(1).numpy()
    return FixedChoices(validation.right.mean(0), macs, "validation")


def overthinking(answers: Answers) -> float:
    """Percent of inputs that an exit before the last gets right and the last one wrong."""
    right = answers.right
    return 100 * float((right[:, :-1].any(1) & ~right[:, -1]).mean())


def oracle(answers: Answers) -> np.ndarray:
    """Exits [N] of a policy that knows the truth: the first that is right, and the first of all where none is."""
    return answers.right.argmax(1)


def curves(
    model: EarlyExit, validation: Answers, test: Answers, settings: ExitChoice, temperatures: tuple[float, ...] | None
) -> pd.DataFrame:
    """exits.csv: accuracy (%) and mean MACs on the scored split.

    anytime: everything leaves at one exit (MSDNet's anytime curve). oracle: see there. <rule>: one threshold, over its range.
    <rule>, budgeted batch: MSDNet's shares, from the cost of the first exit to that of the last.
    """
    costs, right = leaving_macs(model), test.right
    everyone = np.arange(len(right))
    rows = []

    def add(curve: str, setting: float, taken: np.ndarray, macs: np.ndarray) -> None:
        rows.append({"curve": curve, "setting": setting, "accuracy": 100 * right[everyone, taken].mean(), "macs": macs.mean()})

    for number in range(model.exits):
        add("anytime", number, np.full(len(right), number), costs[number])
    add("oracle", np.nan, oracle(test), costs[oracle(test)])
    for rule in settings.rules:
        scores = validation.scores(rule, temperatures).numpy()
        early = scores[:, :-1]
        values = np.unique(early) if rule == "patience" else np.unique(np.quantile(early, np.linspace(0, 1, 41)))
        for threshold in map(float, [*values, NEVER]):
            chosen = thresholds.closed(scores, (threshold,) * early.shape[1])
            add(rule, threshold, *leave(model, test, ExitPolicy(rule, chosen, temperatures)))
        if rule != "patience":
            for budget in map(float, np.linspace(costs[0], costs[-1], 21)[1:-1] / model.macs_static):
                chosen = thresholds.by_shares(scores, costs / model.macs_static, budget)
                add(f"{rule}, budgeted batch", budget, *leave(model, test, ExitPolicy(rule, chosen, temperatures)))
    return pd.DataFrame(rows)
