"""Choosing an expert by one number of an image: its range is cut into intervals, each of which goes to one expert.

Shapes: N images, E experts, B bins.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .decider import Policy
from .objective import normalised, objective

BINS = 64
"""Of equally many validation images; intervals begin where a bin does."""


class ByIntervals:
    """What a Decider with one score [N, 1] inherits from first; it calls `keep_intervals` once.

    The policy has E - 1 thresholds, which ascend, and then the number of the expert of each of the E intervals: an image whose score is
    t or more lies above threshold t.
    """

    chooses = True

    experts: int
    """Their number."""

    def keep_intervals(self, experts: int) -> None:
        """Begin with sending every image to the last of so many experts."""
        self.experts = experts
        self.keep((*[math.inf] * (experts - 1), *[float(experts - 1)] * experts))

    def choose(self, scores: Tensor, policy: Policy) -> Tensor:
        thresholds, chosen = policy[: self.experts - 1], policy[self.experts - 1 :]
        interval = torch.bucketize(scores[:, 0].float(), scores.new_tensor(thresholds, dtype=torch.float32), right=True)
        return scores.new_tensor(chosen, dtype=torch.long)[interval]

    def described(self, policy: Policy) -> dict[str, Any]:
        thresholds, chosen = policy[: self.experts - 1], policy[self.experts - 1 :]
        return {"thresholds": [each if math.isfinite(each) else None for each in thresholds], "interval_experts": list(chosen)}

    def policy_of(self, row: Mapping[str, Any]) -> Policy:
        return (*[math.inf if each is None else each for each in row["thresholds"]], *map(float, row["interval_experts"]))

    def policies(self, scores: np.ndarray, losses: np.ndarray, costs: np.ndarray, weights: Sequence[float]) -> list[Policy]:
        edges = np.unique(np.quantile(scores[:, 0], np.linspace(0, 1, BINS + 1)[1:-1], method="higher").astype(np.float32))
        bins = np.searchsorted(edges, scores[:, 0], side="right")
        times = normalised(costs, costs)
        bounds = np.concatenate([[-np.inf], edges, [np.inf]])
        chosen = []
        for weight in weights:
            worth = np.zeros((len(edges) + 1, self.experts))
            np.add.at(worth, bins, objective(losses, times, weight))
            cuts, experts = cheapest_cut(worth, self.experts)
            thresholds = [float(bounds[cut]) for cut in cuts]
            chosen.append((*thresholds, *map(float, experts)))
        return chosen


def cheapest_cut(costs: np.ndarray, most: int) -> tuple[list[int], list[int]]:
    """The best cut of B ordered bins into at most so many intervals, each with one choice, from the cost of every choice there [B, E].

    Returns the first bin of each interval but the first, B for one that is empty, and the choice of every interval. By dynamic
    programming, so that no other cut costs less.
    """
    bins = len(costs)
    sums = np.concatenate([np.zeros((1, costs.shape[1])), np.cumsum(costs, 0)])
    within = sums[None, :] - sums[:, None]
    best, choice = within.min(2), within.argmin(2)
    total, begins = best[0].copy(), []
    for _ in range(most - 1):
        tried = np.where(np.tri(bins + 1, dtype=bool).T, total[:, None] + best, np.inf)
        begins.append(bins - tried[::-1].argmin(0))  # the last of equal ones, so that empty intervals come last
        total = tried.min(0)
    cuts, end = [], bins
    for begin in reversed(begins):
        cuts.insert(0, int(begin[end]))
        end = cuts[0]
    spans = list(zip([0, *cuts], [*cuts, bins], strict=True))
    return cuts, [int(choice[start, stop]) for start, stop in spans]
