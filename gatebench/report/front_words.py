"""Sentences on fronts: what a panel shows, and which network is the best under a budget."""

from ..words import are, counted
from .front import AXES, Best, Panel, Point
from .front_limits import ACCURACY, Kept

UNITS = {cost: "M MACs" if cost == "macs_executed" else axis.unit for cost, axis in AXES.items()}
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


def sentence(answer: Best | Kept) -> str:
    """ "Under 2 ms on cifar10 (AMD EPYC, 1 thread, batch 1): resnet14, 87.45 % at 1.45 ms; resnet20 is as good within its interval."."""
    if isinstance(answer, Kept):
        return _of_several(answer)
    panel, accurate = answer.panel, answer.wanted == "accuracy"
    limit = f"Under {answer.limit:g} {UNITS[panel.cost]}" if accurate else f"At {answer.limit:g} % or more, least {AXES[panel.cost].title}"
    start = f"{limit}{_on(panel)}: "
    if not answer.best:
        nearest = min(panel.points, key=lambda point: point.x if accurate else -point.y)
        return f"{start}none of {len(panel.points)}. The {'cheapest' if accurate else 'best'} is {_costing(nearest, panel)}."
    parts = [_costing(answer.best, panel)]
    if answer.tied:
        parts.append(_among(answer.tied, f"as {'good' if accurate else 'cheap'} within"))
    if answer.perhaps:
        first, *others = answer.perhaps
        parts.append(f"{1 + len(others)} more may keep to it, such as {first.label}" if others else f"{first.label} may keep to it, too")
    return f"{start}{'; '.join(parts)}."


def _of_several(answer: Kept) -> str:
    """ "Under 2 ms, at 90 % or more on cifar10: 3 of 12 do; the most accurate is resnet20, 91.40 % at 1.95 ms, the cheapest ..."."""
    count = len(answer.panel.points)
    start = f"{_limits(answer)}{_on(answer.panel)}: "
    if not answer.best:
        nearest = " and ".join(_costing(point, answer.panel, answer) for point in answer.nearest)
        return f"{start}none of {count} does. The nearest {are(len(answer.nearest))} {nearest}."
    best, *others = answer.best
    if not others:
        return f"{start}1 of {count} does: {_costing(best, answer.panel, answer)}."
    cheapest = min(answer.best, key=lambda point: point.x)
    beside = f"; the cheapest is {_costing(cheapest, answer.panel, answer)}" if cheapest is not best else ", and the cheapest"
    return f"{start}{len(answer.best)} of {count} do. The most accurate is {_costing(best, answer.panel, answer)}{beside}."


def _limits(answer: Kept) -> str:
    """ "Under 2 ms and 40 M MACs, at 90 % or more"."""
    costs = " and ".join(f"{limit:g} {UNITS[name]}" for name, limit in answer.limits.items() if name in UNITS)
    return f"Under {costs}" + (f", at {answer.limits[ACCURACY]:g} % or more" if ACCURACY in answer.limits else "")


def question(answer: Best | Kept) -> str:
    """What an answer is to: "most accurate under 2 ms"."""
    if isinstance(answer, Kept):
        return _limits(answer)
    if answer.wanted == "accuracy":
        return f"most accurate under {answer.limit:g} {UNITS[answer.panel.cost]}"
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


def _on(panel: Panel) -> str:
    """ " on cifar10 (validation) (AMD EPYC, 1 thread, batch 1)"; the test part is not named."""
    return f" on {panel.dataset}{'' if panel.split == 'test' else f' ({panel.split})'}{where(panel)}"


def _costing(point: Point, panel: Panel, answer: Kept | None = None) -> str:
    """ "resnet14, 87.45 % at 1.45 ms"; with the other costs that an answer has limits of, and how many seeds this is of if not of all."""
    costs = {panel.cost: point.x}
    costs |= {each.cost: answer.cost(point, each.cost) for each in answer.beside} if answer else {}
    shown = " and ".join(f"{cost:.{3 if cost < 1 else 2}f} {UNITS[name]}" for name, cost in costs.items() if cost is not None)
    seeds = f" ({len(point.by_seed)} of {point.trained} seeds timed)" if len(point.by_seed) < point.trained else ""
    return f"{point.label}, {point.y:.2f} % at {shown}{seeds}{' (it executes nothing)' * point.runs_nothing}"


def _among(points: list[Point], said: str) -> str:
    first = points[0].label
    return f"{first} is {said} its interval" if len(points) == 1 else f"{len(points)} more are {said} their intervals, such as {first}"
