"""What routing is worth, from outputs and costs of the experts alone: no network is run here.

Shapes: N images, E experts, C classes, R resamples. Costs [E] are milliseconds or MACs of each expert.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import log_softmax

from ...evaluation.fixed import Mix
from ...evaluation.outcome import Outcome
from ...measure.statistics import RESAMPLES, Estimate, interval


@dataclass(frozen=True)
class ExpertOutputs:
    """What all experts answer on a part of the data."""

    labels: np.ndarray
    """[N]."""
    logits: np.ndarray
    """[N, E, C]."""
    source: np.ndarray
    """Number of the underlying image [N]: the same in all of its severities."""

    def subset(self, chosen: np.ndarray) -> "ExpertOutputs":
        """The chosen rows, a boolean mask [N] or their numbers."""
        return ExpertOutputs(self.labels[chosen], self.logits[chosen], self.source[chosen])

    @cached_property
    def predictions(self) -> np.ndarray:
        """[N, E]."""
        return self.logits.argmax(2)

    @cached_property
    def right(self) -> np.ndarray:
        """Boolean [N, E]."""
        return self.predictions == self.labels[:, None]

    @cached_property
    def losses(self) -> np.ndarray:
        """Cross-entropy [N, E]."""
        logs = log_softmax(self.logits.astype(np.float64), axis=2)
        return -np.take_along_axis(logs, self.labels[:, None, None], 2)[:, :, 0]


@dataclass
class Routed(Outcome):
    """What a router did on inputs on which every expert's output is at hand, so that it can be set beside other choices."""

    inputs: np.ndarray
    """Numbers [N] of these inputs among those of the part."""
    beside: Callable[["Routed"], dict[str, Any]]
    """The columns of a row that come of that."""


def oracle(right: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Numbers [N] of the cheapest expert that is right, and of the cheapest of all where none is."""
    order = np.argsort(costs, kind="stable")
    return order[right[:, order].argmax(1)]


def gap_recovered(accuracy: float, single: float, best: float) -> float | None:
    """Share of the way from the best single expert's accuracy to the oracle's; None where there is no way to go."""
    return (accuracy - single) / (best - single) if best > single else None


def resampled_means(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Means [R, K] of values [N, K] over resampled images; all rows of an image (its severities) stay together."""
    images, number = np.unique(source, return_inverse=True)
    sums = np.zeros((len(images), values.shape[1]))
    np.add.at(sums, number, values)
    draw = np.random.default_rng(0)
    counts = draw.multinomial(len(images), np.full(len(images), 1 / len(images)), RESAMPLES)
    return (counts @ sums) / (counts @ np.bincount(number))[:, None]


def mix_gain(right: np.ndarray, spent: np.ndarray, experts: ExpertOutputs, costs: np.ndarray, mix: Mix) -> Estimate:
    """Accuracy of a router minus that of the random mix of experts at equal mean cost: points, with the 95 % interval over images.

    `right` [N] is whether the router is, `spent` [N] what it spends on each image, in the unit of `costs`.
    """

    def gain(means: np.ndarray) -> float:
        return 100 * (means[0] - mix.accuracy(means[2:], costs, means[1]))

    values = np.column_stack([right, spent, experts.right]).astype(np.float64)
    resampled = resampled_means(values, experts.source)
    return interval(gain(values.mean(0)), np.array([gain(means) for means in resampled]))


def curve_area(validation: np.ndarray, scored: np.ndarray, low: float, high: float) -> float:
    """Mean accuracy (%) over mean costs from `low` to `high`, of operating points that are mixed at random.

    Points are rows (mean cost, accuracy); which are mixed is chosen on `validation` [K, 2], and they count as on `scored` [K, 2].
    """
    mix = Mix.chosen_on(validation[:, 1], validation[:, 0])
    return mix.mean_accuracy(scored[:, 1], scored[:, 0], low, high)


def single_area(validation: np.ndarray, scored: np.ndarray, low: float, high: float) -> float:
    """The same where nothing is mixed: at every mean cost the point that is best on validation of those it affords."""
    order = np.argsort(scored[:, 0], kind="stable")
    points, edges = [], np.clip(np.append(scored[order, 0], high), low, high)
    best = order[0]
    for number in order:
        best = number if validation[number, 1] > validation[best, 1] else best
        points.append(scored[best, 1])
    return float(np.diff(edges) @ points / (high - low))
