"""Fronts as the page draws them: every panel of two points or more, on images of all severities."""

from collections.abc import Sequence

from ...foreign import plain
from ..front import Panel
from ..quantities import PLACE
from .board import machine_of
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
            "cost": panel.cost, "dataset": plain(panel.dataset), "batch": panel.where[-1] if panel.where else None,
            "machine": _machine(panel), "message": _message(panel, states),
            "points": [_point(panel, index, states[index]) for index in order],
        })  # fmt: skip
    return made


def _machine(panel: Panel) -> str | None:
    if panel.where is None:
        return None
    return machine_of(dict(zip(PLACE, panel.where, strict=True)))


def _message(panel: Panel, states: list[str]) -> str:
    on_front = [point for point, state in zip(panel.points, states, strict=True) if state == "front"]
    gated = sum(not point.static for point in on_front)
    return f"{len(on_front)} of {len(states)} networks are on the front, {gated} of them gated"


def _point(panel: Panel, index: int, state: str) -> list:
    each = panel.points[index]
    numbers = (each.x, each.x_low, each.x_high, each.y, each.y_low, each.y_high)
    return [plain(each.label), *map(rounded, numbers), state, int(each.static)]
