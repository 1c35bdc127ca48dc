"""What is reached without looking at the input: one of several fixed choices, or two of them mixed at random.

Shapes: K choices, such as patterns of decisions, exits or experts; N scored inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from ..measure.statistics import Estimate

NORMAL = NormalDist().inv_cdf(0.975)
"""Standard errors to each side of a 95 % interval."""
ROUNDING = 1 + 1e-9
"""Up to which mean MACs count as no more than others."""


@dataclass(frozen=True)
class Mix:
    """The upper concave chord of choices in the plane of cost and accuracy; which ones it joins is chosen on validation."""

    corners: np.ndarray
    """Numbers of the choices on the chord, the cheapest first; each is more accurate than those before."""

    @classmethod
    def chosen_on(cls, accuracies: np.ndarray, costs: np.ndarray) -> "Mix":
        """From validation accuracies [K] and mean costs [K]."""
        corners: list[int] = []
        for number in np.lexsort((-accuracies, costs)):
            if corners and accuracies[number] <= accuracies[corners[-1]]:
                continue
            while len(corners) > 1 and not _turns_down(corners[-2], corners[-1], number, accuracies, costs):
                corners.pop()
            corners.append(int(number))
        return cls(np.array(corners))

    def accuracy(self, accuracies: np.ndarray, costs: np.ndarray, spent: float) -> float:
        """At mean cost `spent`, from accuracies [K] and costs [K] on any part; beyond the dearest corner, that of the dearest."""
        at, worth = self._line(accuracies, costs)
        return float(np.interp(spent, at, worth))

    def mean_accuracy(self, accuracies: np.ndarray, costs: np.ndarray, low: float, high: float) -> float:
        """Mean over all mean costs from `low` to `high`, which differ: the area under the chord over its width."""
        from scipy.integrate import trapezoid  # takes its time

        at, worth = self._line(accuracies, costs)
        inside = at[(at > low) & (at < high)]
        places = np.concatenate([[low], inside, [high]])
        return float(trapezoid(np.interp(places, at, worth), places) / (high - low))

    def shares(self, costs: np.ndarray, spent: float) -> dict[int, float]:
        """Which one or two choices are mixed at mean cost `spent`, and how often each is taken, from costs [K] on any part."""
        order = self.corners[np.argsort(costs[self.corners], kind="stable")]
        at = float(np.interp(spent, costs[order], np.arange(len(order))))
        low, over = int(at), at - int(at)
        taken = {int(order[low]): 1 - over}
        return taken | {int(order[low + 1]): over} if over else taken

    def _line(self, accuracies: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs and accuracies of the corners in the order of their cost, which need not be that on validation."""
        order = self.corners[np.argsort(costs[self.corners], kind="stable")]
        return costs[order], accuracies[order]


@dataclass(frozen=True)
class FixedChoices:
    """What deciding per input is compared with: the same weights under choices that are the same for every input."""

    accuracies: np.ndarray
    """Of each choice on the part that is chosen on, shares of 1 [K]."""
    macs: np.ndarray
    """MACs of an input under each choice [K]. What a fixed choice does without costs it nothing, such as gates."""
    chosen_on: str
    """That part: validation, or train where no other is put aside."""

    @cached_property
    def mix(self) -> Mix:
        return Mix.chosen_on(self.accuracies, self.macs)

    def best_within(self, spent: float) -> int | None:
        """The most accurate choice that costs no more; None where all do."""
        affordable = np.flatnonzero(self.macs <= spent * ROUNDING)
        return int(affordable[np.lexsort((self.macs[affordable], -self.accuracies[affordable]))[0]]) if len(affordable) else None

    def columns(
        self, right: np.ndarray, spent: np.ndarray, right_of: Callable[[int], np.ndarray], source: np.ndarray | None = None
    ) -> dict[str, float | str]:
        """Columns of a row whose network is right for the scored inputs as `right` [N] says, and executes `spent` [N] MACs.

        `right_of` says for which of them a choice is right, boolean [N]; only those that are needed are asked for. `source` numbers the
        underlying image of each input, where images come in several severities.
        """
        mean = float(spent.mean())
        gain, best = self._gain(right, spent, right_of, source), self.best_within(mean)
        of_best = {} if best is None else {"fixed_accuracy": 100 * float(right_of(best).mean()), "fixed_macs": float(self.macs[best])}
        named = {"adaptivity_gain": gain.value, "adaptivity_gain_low": gain.low, "adaptivity_gain_high": gain.high}
        return {**named, **of_best, "fixed_chosen_on": self.chosen_on}

    def _gain(self, right: np.ndarray, spent: np.ndarray, right_of: Callable[[int], np.ndarray], source: np.ndarray | None) -> Estimate:
        """Accuracy minus that of the mix at equal mean MACs, in points, with its 95 % interval over inputs.

        Normal, from each input's influence on the difference: what it adds to one accuracy and takes from the other, and what its own
        MACs move along the chord (the delta method).
        """
        shares = self.mix.shares(self.macs, float(spent.mean()))
        answers = {choice: right_of(choice).astype(float) for choice in shares}
        influence = right - sum(share * answers[choice] for choice, share in shares.items())
        value = float(influence.mean())
        if len(shares) == 2:
            cheap, dear = shares
            slope = (answers[dear].mean() - answers[cheap].mean()) / (self.macs[dear] - self.macs[cheap])
            influence = influence - slope * (spent - spent.mean())
        error = NORMAL * standard_error(influence, source)
        return Estimate(100 * value, 100 * (value - error), 100 * (value + error))


def standard_error(values: np.ndarray, source: np.ndarray | None) -> float:
    """Of the mean of values [N]; those of one image stay together."""
    apart = values - values.mean()
    if source is not None:
        _, number = np.unique(source, return_inverse=True)
        apart = np.bincount(number, apart)
    return float(np.sqrt(apart @ apart * len(apart) / max(1, len(apart) - 1)) / len(values))


def _turns_down(first: int, second: int, third: int, accuracies: np.ndarray, costs: np.ndarray) -> bool:
    """Whether the second of three points, in the order of cost, lies above the line between the others."""
    rise, run = accuracies[[second, third]] - accuracies[first], costs[[second, third]] - costs[first]
    return bool(rise[0] * run[1] > rise[1] * run[0])
