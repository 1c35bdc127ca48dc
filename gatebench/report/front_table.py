"""Fronts and answers to budgets: sentences and short tables for people, all points for programs."""

from collections import defaultdict
from collections.abc import Iterator

from .flat import Flat
from .front import AXES, Best, Cost, Panel, Point, answered
from .quantities import PLACE
from .sheet import Cell, Heading, Sheet, make_sheet

POINT = (
    ("cost", "x"), ("cost_low", "x_low"), ("cost_high", "x_high"),
    ("accuracy", "y"), ("accuracy_low", "y_low"), ("accuracy_high", "y_high"),
)  # fmt: skip
"""Names for programs."""
MOST_LINES = 8
"""Networks in a table; a long name takes several lines."""
MOST_PLACES = 2
"""Whose times stand in a table: those with most networks."""
LETTERS = "ABCDEFGH"


def front_sheets(shown: dict[Cost, list[Panel]]) -> list[Sheet]:
    """A short table for each data set: what is on the front against any cost, the cheapest first."""
    sets: dict[str, list[Panel]] = defaultdict(list)
    for panels in answered(shown).values():
        places: dict[str, list[Panel]] = defaultdict(list)
        for panel in sorted(panels, key=lambda panel: -len(panel.points)):
            places[panel.dataset].append(panel)
        for dataset, members in places.items():
            sets[dataset] += members[:MOST_PLACES]
    return [_front_sheet(dataset, panels) for dataset, panels in sorted(sets.items())]


def _front_sheet(dataset: str, panels: list[Panel]) -> Sheet:
    panels = [panel for panel in panels if len(panel.points) > 1] or panels[:1]
    fronts = [_listed(panel) for panel in panels]
    lines = _lines(panels, fronts)
    headings = (
        Heading("network", "network"), Heading("seeds", "seeds", digits=0), Heading("accuracy", "accuracy %", digits=2),
        Heading("interval", "interval (95 %)", digits=2),
        *(Heading(f"cost_{letter}", f"{_heading(panel)} ({letter})") for letter, panel in zip(LETTERS, panels, strict=False)),
        Heading("front", "on front"),
    )  # fmt: skip
    rows = []
    for line in _thinned(lines):
        first = next(filter(None, line))
        on = [letter for letter, point, front in zip(LETTERS, line, fronts, strict=False) if any(point is each for each in front)]
        costs = [point and Cell(point.x, digits=3 if point.x < 10 else 2) for point in line]
        rows.append((first.label, len(first.by_seed), first.y, Cell(low=first.y_low, high=first.y_high), *costs, " ".join(on)))
    notes = [f"{letter}: {summary(panel)}" for letter, panel in zip(LETTERS, panels, strict=False)]
    left = len(lines) - len(rows)
    notes += [f"{left} more on a front are in --json, and in the CSV beside the picture."] if left else []
    return make_sheet(f"front-{dataset}", f"{dataset}: nothing else is both cheaper and more accurate", headings, rows, "\n".join(notes))


def summary(panel: Panel) -> str:
    """ "Executed MACs per input: 3 of 21 networks are on the front, 2 are tied with it."."""
    states = panel.states()
    front, tied, count = states.count("front"), states.count("tied"), len(states)
    said = "one network, and nothing to compare it with" if count == 1 else f"{front} of {count} networks {_are(front)} on the front"
    beside = f", {tied} {_are(tied)} tied with it" if tied else ""
    title = AXES[panel.cost].title
    return f"{title[0].upper()}{title[1:]}{where(panel)}: {said}{beside}."


def sentence(answer: Best) -> str:
    """ "Under 2 ms on cifar10 (AMD EPYC, 1 thread, batch 1): resnet14, 87.45 % at 1.45 ms; resnet20 is as good within its interval."."""
    panel, under = answer.panel, answer.limit.startswith("Under")
    start = f"{answer.limit} on {panel.dataset}{'' if panel.split == 'test' else f' ({panel.split})'}{where(panel)}: "
    if not answer.best:
        nearest = min(panel.points, key=lambda point: point.x if under else -point.y)
        return f"{start}none of {len(panel.points)}. The {'cheapest' if under else 'best'} is {_costing(nearest, panel)}."
    parts = [_costing(answer.best, panel)]
    if answer.tied:
        parts.append(_among(answer.tied, f"as {'good' if under else 'cheap'} within"))
    if answer.perhaps:
        parts.append(f"{answer.perhaps[0].label} may keep to it, too")
    return f"{start}{'; '.join(parts)}."


def where(panel: Panel) -> str:
    """ " (AMD EPYC, 2 cores, 1 thread, batch 1)"; nothing for MACs."""
    if not panel.where:
        return ""
    place = dict(zip(PLACE, panel.where, strict=True))
    special = [place[key] for key, usual in (("device", "cpu"), ("runtime", "torch")) if place[key] != usual]
    threads = f"{place['threads']} thread{'s' * (place['threads'] != 1)}"
    return f" ({', '.join([place['machine'], *special, threads])}, batch {place['batch_size']})"


def next_command(results: str, shown: dict[Cost, list[Panel]], budget: bool) -> list[str]:
    """Words of a command that is useful after this."""
    timed = [panel for panel in answered(shown).get("latency_ms", []) if len(panel.points) > 1]
    if budget:
        return ["report", results]
    if not timed:
        return ["profile-latency", results]
    panel = max(timed, key=lambda panel: len(panel.points))
    costs = sorted(point.x for point in panel.points)
    return ["pareto", results, "--dataset", panel.dataset, "--max-ms", f"{costs[len(costs) // 2]:.2g}"]


def as_dict(shown: dict[Cost, list[Panel]], answers: list[Best]) -> dict:
    """All for programs."""
    return {
        "panels": [
            {
                **_panel(panel), "hypervolume_pct": panel.hypervolume(),
                "hypervolume_reference": {"cost": AXES[panel.cost].most, "accuracy": 0.0, "least_cost": AXES[panel.cost].least},
                "points": [{**_point(point), "state": state} for point, state in zip(panel.points, panel.states(), strict=True)],
                "published": [_point(point) for point in panel.published],
                "attainment": {name: surface.tolist() for name, surface in panel.attainment().items()},
            }
            for panels in shown.values() for panel in panels
        ],
        "best": [
            {**_panel(each.panel), "question": each.question, "answer": sentence(each), "networks": list(map(_point, each.points))}
            for each in answers
        ],
    }  # fmt: skip


def points_of(panels: list[Panel]) -> Flat:
    """Every point of panels of one cost, one a line."""
    cost, axis = panels[0].cost, AXES[panels[0].cost]
    named = {f"{cost}{end}": f"x{end}" for end in ("", "_low", "_high")} | {f"accuracy{end}": f"y{end}" for end in ("", "_low", "_high")}
    records = [
        {
            **{key: value for key, value in _panel(panel).items() if key not in ("cost", "unit")}, "network": point.label, "state": state,
            "seeds": len(point.by_seed), **({"scored_in": point.scored_in} if point.scored_in else {}),
            **{name: getattr(point, key) / (axis.scale if key[0] == "x" else 1) for name, key in named.items()},
        }
        for panel in panels for point, state in zip(panel.points, panel.states(), strict=True)
    ]  # fmt: skip
    columns = dict.fromkeys(name for record in records for name in record)
    units = {cost: "MACs" if cost == "macs_executed" else axis.unit, "accuracy": "%"}
    return Flat({name: next((unit for start, unit in units.items() if name.startswith(start)), "") for name in columns}, records)


def _lines(panels: list[Panel], fronts: list[list[Point]]) -> list[list[Point | None]]:
    """Of every network that is on a front: its point in each panel, None where it has none; the cheapest first, equal ones once."""
    lines: list[list[Point | None]] = []
    for front in fronts:
        for point in front:
            line = [_again(point, panel) for panel in panels]
            if not any(_says_more(other, line) for other in lines):
                lines.append(line)
    return sorted(lines, key=lambda line: [each.x if each else float("inf") for each in line])


def _says_more(line: list[Point | None], other: list[Point | None]) -> bool:
    """Whether a line has the accuracy and every cost that another has."""
    pairs = list(zip(line, other, strict=True))
    return all(theirs is None or (own is not None and (own.x, own.y) == (theirs.x, theirs.y)) for own, theirs in pairs)


def _again(point: Point, panel: Panel) -> Point | None:
    """The same network in another panel."""
    return next((each for each in panel.points if each is point or each.is_same(point)), None)


def _listed(panel: Panel) -> list[Point]:
    """The front, without what has less than half of the best accuracy."""
    best = max(point.y for point in panel.points)
    return [point for point, state in zip(panel.points, panel.states(), strict=True) if state == "front" and point.y >= best / 2]


def _thinned(lines: list) -> Iterator[list]:
    """As many as a table has, from the first to the last."""
    most = min(MOST_LINES, len(lines))
    yield from (lines[round(index * (len(lines) - 1) / max(1, most - 1))] for index in range(most))


def _costing(point: Point, panel: Panel) -> str:
    nothing = " (it executes nothing)" * point.runs_nothing
    return f"{point.label}, {point.y:.2f} % at {point.x:.{3 if point.x < 1 else 2}f} {_unit(panel)}{nothing}"


def _among(points: list[Point], said: str) -> str:
    first = points[0].label
    return f"{first} is {said} its interval" if len(points) == 1 else f"{len(points)} more are {said} their intervals, such as {first}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _unit(panel: Panel) -> str:
    return "M MACs" if panel.cost == "macs_executed" else AXES[panel.cost].unit


def _heading(panel: Panel) -> str:
    return "MACs, M" if panel.cost == "macs_executed" else AXES[panel.cost].unit


def _panel(panel: Panel) -> dict:
    place = dict(zip(PLACE, panel.where or (), strict=False))
    return {"cost": panel.cost, "unit": AXES[panel.cost].unit, "dataset": panel.dataset, "split": panel.split, **place}


def _point(point: Point) -> dict:
    values = {name: getattr(point, key) for name, key in POINT}
    scored_in = {"scored_in": point.scored_in} if point.scored_in else {}
    return {"label": point.label, **values, "static": point.static, **scored_in, "seeds": sorted(point.by_seed)}
