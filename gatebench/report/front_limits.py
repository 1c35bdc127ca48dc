"""The networks that keep to several limits at once, such as 2 ms and 90 % accuracy."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .front import Best, Cost, Panel, Point, answered, cheapest, most_accurate

ACCURACY = "accuracy"
Limits = dict[str, float]
"""By cost, in the unit of its axis, the most that is allowed; by `ACCURACY` the least, in percent."""


@dataclass(frozen=True)
class Kept:
    """The answer to a question such as: which networks take under 2 ms here and reach 90 %?"""

    panel: Panel
    limits: Limits
    beside: tuple[Panel, ...] = ()
    """Panels of the other costs that are limited."""

    @cached_property
    def best(self) -> list[Point]:
        """Those that keep to all limits, the most accurate first."""
        return sorted(self._keeping(self.limits), key=lambda point: (-point.y, point.x))

    @cached_property
    def nearest(self) -> list[Point]:
        """For every limit the network that comes nearest to it of those that keep to all others, each once; of all where none does."""
        others = {name: self._keeping(other for other in self.limits if other != name) for name in self.limits}
        some = others if any(others.values()) else dict.fromkeys(self.limits, self.panel.points)
        first = [min(points, key=lambda point, name=name: self._lacking(point, name)) for name, points in some.items() if points]
        return list({id(point): point for point in first}.values())

    @property
    def points(self) -> list[Point]:
        return self.best

    def cost(self, point: Point, cost: str) -> float | None:
        """What a network of the panel costs, in the unit of the axis; None where that was not measured."""
        found = (panel.again(point) for panel in (self.panel, *self.beside) if panel.cost == cost)
        same = next(found, None)
        return same.x if same else None

    def _keeping(self, names: Iterable[str]) -> list[Point]:
        """The networks that keep to the limits of these names."""
        names = list(names)
        return [point for point in self.panel.points if all(self._lacking(point, name) <= 0 for name in names)]

    def _lacking(self, point: Point, name: str) -> float:
        """By how much a network misses a limit; infinite where its cost was not measured."""
        if name == ACCURACY:
            return self.limits[name] - point.y
        cost = self.cost(point, name)
        return math.inf if cost is None else cost - self.limits[name]


def answers(limits: Limits, shown: dict[Cost, list[Panel]]) -> Sequence[Best | Kept]:
    """What the limits leave in each panel: the best under one; under several those that keep to all, where the time was taken if one of
    them is a time."""
    asked = answered(shown)
    if len(limits) > 1:
        cost, *others = [cost for cost in reversed(asked) if cost in limits]
        beside = [panel for other in others for panel in shown[other]]
        return [Kept(panel, limits, tuple(each for each in beside if each.images == panel.images)) for panel in asked[cost]]
    found: list[Best] = []
    for name, limit in limits.items():
        found += [most_accurate(panel, limit) for panel in asked.get(name, [])]
        found += [cheapest(panel, limit) for each in asked.values() for panel in each if name == ACCURACY]
    return found
