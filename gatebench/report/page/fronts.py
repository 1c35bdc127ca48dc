"""Fronts as the page draws them: every panel of two points or more, on images of all severities."""

from collections.abc import Sequence

from ...foreign import plain
from ..front import Panel
from ..front_words import message
from ..quantities import machine_name
from .numbers import rounded

MOST_POINTS = 400
"""Of one panel, those on the front first."""


def drawn(fronts: Sequence[Panel]) -> list[dict]:
    """Plain data: what a panel is of, its message, and its points as label, x, low, high, y, low, high, state, static."""
    made = []
    for panel in fronts:
        if len(panel.points) < 2 or "," in panel.split:
            continue
        states = panel.states()
        order = sorted(range(len(states)), key=lambda index: (states[index] != "front", panel.points[index].x))[:MOST_POINTS]
        made.append({
            "cost": panel.cost, "dataset": plain(panel.dataset), "batch": panel.place.get("batch_size"),
            "machine": plain(machine_name(panel.where)) if panel.where else None, "message": message(panel),
            "points": [_point(panel, index, states[index]) for index in order],
        })  # fmt: skip
    return made


def _point(panel: Panel, index: int, state: str) -> list:
    each = panel.points[index]
    numbers = (each.x, each.x_low, each.x_high, each.y, each.y_low, each.y_high)
    return [plain(each.label), *map(rounded, numbers), state, int(each.static)]
