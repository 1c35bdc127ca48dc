"""Fronts and answers to budgets: short tables for people, all points for programs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from .flat import Flat
from .front import AXES, Best, Cost, Panel, Point, answered
from .front_limits import Kept
from .front_words import question, sentence, summary
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
    fronts = [panel.listed() for panel in panels]
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
        rows.append((first.label, _seeds(line), first.y, Cell(low=first.y_low, high=first.y_high), *costs, " ".join(on)))
    notes = [f"{letter}: {summary(panel)}" for letter, panel in zip(LETTERS, panels, strict=False)]
    left, fewer = len(lines) - len(rows), any(seeds.text for _, seeds, *_ in rows)
    notes += ["Accuracy is of all seeds. A front with fewer takes the accuracy of these alone."] if fewer else []
    notes += [f"{left} more on a front are in --json, and in the CSV beside the picture."] if left else []
    return make_sheet(f"front-{dataset}", f"{dataset}: nothing else is both cheaper and more accurate", headings, rows, "\n".join(notes))


def _seeds(line: list[Point | None]) -> Cell:
    """How many the accuracy is of, and where a cost is of others: "3, 1 in B"."""
    counts = {letter: len(point.by_seed) for letter, point in zip(LETTERS, line, strict=False) if point}
    count = next(iter(counts.values()))
    others = [f"{other} in {letter}" for letter, other in counts.items() if other != count]
    return Cell(count, text=", ".join([str(count), *others]) if others else "")


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


def as_dict(shown: dict[Cost, list[Panel]], answers: Sequence[Best | Kept]) -> dict:
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
            {**_panel(each.panel), "question": question(each), "answer": sentence(each), "networks": list(map(_point, each.points))}
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
            line = [panel.again(point) for panel in panels]
            if not any(_says_more(other, line) for other in lines):
                lines.append(line)
    return sorted(lines, key=lambda line: [each.x if each else float("inf") for each in line])


def _says_more(line: list[Point | None], other: list[Point | None]) -> bool:
    """Whether a line has the accuracy and every cost that another has."""
    pairs = list(zip(line, other, strict=True))
    return all(theirs is None or (own is not None and (own.x, own.y) == (theirs.x, theirs.y)) for own, theirs in pairs)


def _thinned(lines: list) -> Iterator[list]:
    """As many as a table has, from the first to the last."""
    most = min(MOST_LINES, len(lines))
    yield from (lines[round(index * (len(lines) - 1) / max(1, most - 1))] for index in range(most))


def _heading(panel: Panel) -> str:
    return "MACs, M" if panel.cost == "macs_executed" else AXES[panel.cost].unit


def _panel(panel: Panel) -> dict:
    return {"cost": panel.cost, "unit": AXES[panel.cost].unit, "dataset": panel.dataset, "split": panel.split, **panel.place}


def _point(point: Point) -> dict:
    values = {name: getattr(point, key) for name, key in POINT}
    scored_in = {"scored_in": point.scored_in} if point.scored_in else {}
    return {"label": point.label, **values, "static": point.static, **scored_in, "seeds": sorted(point.by_seed)}
