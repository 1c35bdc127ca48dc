"""What is reached without looking at the input: one of several fixed choices, or two of them mixed at random.

Shapes: K choices, such as exits or experts.
"""

from dataclasses import dataclass

import numpy as np


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

    def _line(self, accuracies: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Costs and accuracies of the corners in the order of their cost, which need not be that on validation."""
        order = self.corners[np.argsort(costs[self.corners], kind="stable")]
        return costs[order], accuracies[order]


def _turns_down(first: int, second: int, third: int, accuracies: np.ndarray, costs: np.ndarray) -> bool:
    """Whether the second of three points, in the order of cost, lies above the line between the others."""
    rise, run = accuracies[[second, third]] - accuracies[first], costs[[second, third]] - costs[first]
    return bool(rise[0] * run[1] > rise[1] * run[0])
