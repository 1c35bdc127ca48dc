"""Thresholds for a budget, chosen on validation: one for all exits, one for each, or by MSDNet's shares.

An exit at which no validation input leaves is closed: its threshold is NEVER, and its head is not asked.
Shapes: N inputs, E exits. `scores` [N, E] are those of a rule, `right` [N, E] whether each exit is, `costs` [E] of leaving at each
with every head on the way, as shares of the static twin's MACs, as the budget is.
"""

import itertools
import math
import random
from collections.abc import Sequence

import numpy as np
import torch

from ...gating import first_sure, means_of_first_sure
from .policy import NEVER

CANDIDATES = 1000
"""Thresholds that are tried where there is one for all exits: quantiles of the scores."""
COMBINATIONS = 5_000
"""Combinations that are tried, about, where each exit has its own."""


Thresholds = tuple[float, ...]
"""One for each exit but the last."""


def leave(scores: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Numbers [N] of the exits at which inputs leave."""
    return first_sure(torch.from_numpy(scores), thresholds).numpy()


def closed(scores: np.ndarray, thresholds: Thresholds) -> Thresholds:
    """The same thresholds, and NEVER at the exits where none of these inputs leaves."""
    used = set(leave(scores, thresholds).tolist())
    return tuple(each if number in used else NEVER for number, each in enumerate(thresholds))


def one_for_all(scores: np.ndarray, right: np.ndarray, costs: np.ndarray, budgets: Sequence[float]) -> list[Thresholds]:
    """For each budget the one threshold, for every exit but the last, with the best accuracy of those whose mean cost keeps to it."""
    early = scores[:, :-1]
    tried = [(float(value),) * early.shape[1] for value in _candidates(early, CANDIDATES)]
    return _best(tried, scores, right, costs, budgets)


def one_each(scores: np.ndarray, right: np.ndarray, costs: np.ndarray, budgets: Sequence[float]) -> list[Thresholds]:
    """The same with a threshold for each exit, of a grid over their quantiles; of a grid that is too large, random combinations."""
    early = scores[:, :-1]
    steps = max(2, int(COMBINATIONS ** (1 / early.shape[1])))
    columns = [_candidates(column, steps).tolist() for column in early.T]
    if math.prod(map(len, columns)) <= 2 * COMBINATIONS:
        tried = list(itertools.product(*columns))
    else:
        draw = random.Random(0)
        tried = [tuple(map(draw.choice, columns)) for _ in range(COMBINATIONS)]
    return _best(tried, scores, right, costs, budgets)


def by_shares(scores: np.ndarray, costs: np.ndarray, budget: float) -> Thresholds:
    """A threshold for each exit, such that the shares that leave are a geometric series whose mean cost is the budget.

    Budgeted batch classification of MSDNet (Huang et al. 2018, arXiv 1703.09844, section 5.2). It looks at scores alone, not at who is
    right. Where many inputs share a score, an exit takes all or none of them, and those after it make up for that.
    """
    wanted = np.cumsum(_series(costs, budget)) * len(scores)
    remaining, thresholds = np.arange(len(scores)), []
    for number in range(scores.shape[1] - 1):
        values, counts = np.unique(-scores[remaining, number], return_counts=True)  # the surest first
        gone = len(scores) - len(remaining) + np.concatenate([[0], np.cumsum(counts)])
        taken = int(np.abs(gone - wanted[number]).argmin())
        thresholds.append(float(-values[taken - 1]) if taken else NEVER)
        remaining = remaining[scores[remaining, number] < thresholds[-1]]
    return tuple(thresholds)


def _candidates(scores: np.ndarray, count: int) -> np.ndarray:
    """Quantiles of the scores, every score where there are no more, and never."""
    values = np.unique(scores)
    if len(values) > count:
        values = np.unique(np.quantile(scores, np.linspace(0, 1, count)))
    return np.append(values, NEVER)


def _best(tried: list[Thresholds], scores: np.ndarray, right: np.ndarray, costs: np.ndarray, budgets: Sequence[float]) -> list[Thresholds]:
    """Of equally accurate ones the last: it errs on the side of going on. Where none keeps to a budget, everything leaves at once."""
    accuracy, cost = means_of_first_sure(scores, tried, right, costs)
    chosen = []
    for budget in budgets:
        accuracies = np.where(cost <= budget * (1 + 1e-9), accuracy, -1.0)  # a mean of equal costs is rounded
        best = len(tried) - 1 - int(accuracies[::-1].argmax())
        chosen.append(tried[best] if accuracies[best] >= 0 else (-NEVER,) * (scores.shape[1] - 1))
    return [closed(scores, each) for each in chosen]


def _series(costs: np.ndarray, budget: float) -> np.ndarray:
    """Shares [E] that are a geometric series and cost the budget in the mean; as near to it as can be."""

    def shares(ratio: float) -> np.ndarray:
        series = ratio ** np.arange(len(costs), dtype=np.float64)
        return series / series.sum()

    low, high = 1e-6, 1e6
    for _ in range(100):
        ratio = float(np.sqrt(low * high))
        low, high = (ratio, high) if shares(ratio) @ costs <= budget else (low, ratio)
    return shares(low)
