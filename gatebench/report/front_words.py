"""Sentences on fronts: what a panel shows, and which network is the best under a budget."""

from ..words import are, counted
from .front import AXES, Best, Panel, Point

SAME = 0.001
"""Relative difference of costs that are the same."""


def message(panel: Panel) -> str:
    """The title of a panel: "3 of 21 networks are on the front, 2 of them static"."""
    states, costs = panel.states(), [point.x for point in panel.points]
    if max(costs) <= (1 + SAME) * min(costs):
        return f"All {len(states)} networks cost the same: accuracy alone tells them apart"
    front, static = states.count("front"), [state for point, state in zip(panel.points, states, strict=True) if point.static]
    among = static.count("front")
    how_many = "none" if not among else "all" if among == front else among
    return _on_front(panel) + (f", {how_many} of them static" if static else "")


def summary(panel: Panel) -> str:
    """A line below a table: "Executed MACs per input: 3 of 21 networks are on the front, 2 are tied with it."."""
    title, tied = AXES[panel.cost].title, panel.states().count("tied")
    said = "one network, and nothing to compare it with" if len(panel.points) == 1 else _on_front(panel)
    beside = f", {tied} {are(tied)} tied with it" if tied else ""
    return f"{title[0].upper()}{title[1:]}{where(panel)}: {said[0].lower()}{said[1:]}{beside}."


def sentence(answer: Best) -> str:
    """ "Under 2 ms on cifar10 (AMD EPYC, 1 thread, batch 1): resnet14, 87.45 % at 1.45 ms; resnet20 is as good within its interval."."""
    panel, accurate = answer.panel, answer.wanted == "accuracy"
    limit = f"Under {answer.limit:g} {_unit(panel)}" if accurate else f"At {answer.limit:g} % or more, least {AXES[panel.cost].title}"
    start = f"{limit} on {panel.dataset}{'' if panel.split == 'test' else f' ({panel.split})'}{where(panel)}: "
    if not answer.best:
        nearest = min(panel.points, key=lambda point: point.x if accurate else -point.y)
        return f"{start}none of {len(panel.points)}. The {'cheapest' if accurate else 'best'} is {_costing(nearest, panel)}."
    parts = [_costing(answer.best, panel)]
    if answer.tied:
        parts.append(_among(answer.tied, f"as {'good' if accurate else 'cheap'} within"))
    if answer.perhaps:
        parts.append(f"{answer.perhaps[0].label} may keep to it, too")
    return f"{start}{'; '.join(parts)}."


def question(answer: Best) -> str:
    """What an answer is to: "most accurate under 2 ms"."""
    if answer.wanted == "accuracy":
        return f"most accurate under {answer.limit:g} {_unit(answer.panel)}"
    return f"least {AXES[answer.panel.cost].title} at {answer.limit:g} %"


def where(panel: Panel) -> str:
    """ " (AMD EPYC, 2 cores, 1 thread, batch 1)"; nothing for MACs."""
    if not panel.where:
        return ""
    place = panel.place
    special = [place[key] for key, usual in (("device", "cpu"), ("runtime", "torch")) if place[key] != usual]
    return f" ({', '.join([place['machine'], *special, counted(place['threads'], 'thread')])}, batch {place['batch_size']})"


def _on_front(panel: Panel) -> str:
    front, count = panel.states().count("front"), len(panel.points)
    return f"{f'{front} of' if front < count else 'All'} {count} networks {are(front)} on the front"


def _costing(point: Point, panel: Panel) -> str:
    nothing = " (it executes nothing)" * point.runs_nothing
    return f"{point.label}, {point.y:.2f} % at {point.x:.{3 if point.x < 1 else 2}f} {_unit(panel)}{nothing}"


def _among(points: list[Point], said: str) -> str:
    first = points[0].label
    return f"{first} is {said} its interval" if len(points) == 1 else f"{len(points)} more are {said} their intervals, such as {first}"


def _unit(panel: Panel) -> str:
    return "M MACs" if panel.cost == "macs_executed" else AXES[panel.cost].unit
