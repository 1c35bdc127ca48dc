"""Accuracy against cost: which networks nothing beats, what the intervals say of the others, and the best one under a budget.

Panels keep apart what does not compare: data sets, and for times machines, runtimes, threads and batch sizes. MACs know no machine.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Literal

import moocore
import numpy as np

from ..errors import UsageError
from .groups import Group, gather
from .published import printed
from .quantities import PLACE, in_order, interval, mean, place, place_name
from .results import Run

Cost = Literal["macs_executed", "latency_ms", "energy_mj"]


@dataclass(frozen=True)
class Axis:
    """A cost, how it is written, and the box in which the hypervolume is taken: fixed, so that volumes of any results compare."""

    title: str
    unit: str
    scale: float
    """Of a row's number into the unit."""
    least: float
    most: float
    """In the unit; the reference point is the most, at an accuracy of 0 %."""


AXES: dict[Cost, Axis] = {
    "macs_executed": Axis("executed MACs per input", "M", 1e-6, 1.0, 10_000.0),
    "latency_ms": Axis("latency per call", "ms", 1.0, 0.01, 1_000.0),
    "energy_mj": Axis("energy per call", "mJ", 1.0, 0.1, 10_000.0),
}
State = Literal["front", "tied", "dominated", "constant"]
"""front: no other is both cheaper and better. tied: another is, but the intervals overlap. dominated: they do not. constant: it executes
nothing, so it gives every input the same answer."""


@dataclass(frozen=True)
class Point:
    """One network's accuracy (%) and cost (in the axis' unit), with 95 % intervals."""

    label: str
    x: float
    x_low: float
    x_high: float
    y: float
    y_low: float
    y_high: float
    static: bool = False
    scored_in: str | None = None
    """Precision that accuracy was scored in, where the time was taken in another."""
    by_seed: dict[int, tuple[float, float]] = field(default_factory=dict)
    runs_nothing: bool = False
    """Whether it executes no MACs."""
    members: frozenset[tuple] = frozenset()
    """Runs and their operating points that it stands for, by which it is found again in another panel."""
    trained: int = 0
    """Seeds that were trained and scored; 0 where that is unknown."""

    def is_same(self, other: "Point") -> bool:
        """Whether both stand for an operating point of one run."""
        return not self.members.isdisjoint(other.members)


@dataclass(frozen=True)
class Panel:
    """Points that compare."""

    cost: Cost
    dataset: str
    split: str
    where: tuple | None
    points: list[Point]
    published: list[Point]

    @property
    def title(self) -> str:
        where = f"; {place_name(self.where)}" if self.where else ""
        return f"{self.dataset} ({self.split}){where}"

    @property
    def images(self) -> tuple[str, str]:
        """Data set and part, whose accuracy it is of."""
        return self.dataset, self.split

    @property
    def place(self) -> dict:
        """Where its times were taken, by the names in `PLACE`; empty for MACs."""
        return dict(zip(PLACE, self.where or (), strict=False))

    def again(self, point: Point) -> Point | None:
        """The same network, where it has a point here."""
        return next((each for each in self.points if each is point or each.is_same(point)), None)

    def listed(self) -> list[Point]:
        """The front, without what has less than half of the best accuracy."""
        least = max(point.y for point in self.points) / 2
        return [point for point, state in zip(self.points, self.states(), strict=True) if state == "front" and point.y >= least]

    def states(self) -> list[State]:
        """Of every point, by its place in `points`."""
        on_front = moocore.is_nondominated(_costs(self.points), keep_weakly=True)
        beaten = _beaten(self.points)
        states = ["front" if front else "dominated" if lost else "tied" for front, lost in zip(on_front, beaten, strict=True)]
        return ["constant" if point.runs_nothing else state for point, state in zip(self.points, states, strict=True)]

    def hypervolume(self) -> float:
        """Percent of the axis' box, logarithmic in the cost, that the points dominate; what costs less than its least, or nothing, as
        much as that."""
        axis = AXES[self.cost]
        decades = math.log10(axis.most / axis.least)
        inside = [(math.log10(max(each.x, axis.least) / axis.least), -each.y) for each in self.points if each.x < axis.most and each.y > 0]
        return float(moocore.hypervolume(np.array(inside), ref=[decades, 0.0])) / decades if inside else 0.0

    def attainment(self) -> dict[str, np.ndarray]:
        """What the fronts of single seeds attain, [K, 2] corners of cost and accuracy: in the best, the median and the worst case.

        Over the networks that were trained with most seeds; nothing where that is one.
        """
        most = max((len(each.by_seed) for each in self.points), default=0)
        members = [each for each in self.points if len(each.by_seed) == most]
        seeds = sorted(set.intersection(*(set(each.by_seed) for each in members))) if members else []
        if len(seeds) < 2:
            return {}
        rows = [(x, -y, number) for number, seed in enumerate(seeds) for x, y in (each.by_seed[seed] for each in members)]
        middle = 100 * math.ceil(len(seeds) / 2) / len(seeds)
        levels = {"best seed": 100 / len(seeds), "median": middle, "worst seed": 100.0}
        corners, sets = np.array(rows)[:, :2], np.array(rows)[:, 2]
        surfaces = moocore.eaf(corners, sets, percentiles=sorted(set(levels.values())))
        attained = {name: surfaces[np.isclose(surfaces[:, 2], level), :2] * [1, -1] for name, level in levels.items()}
        return {name: surface[np.argsort(surface[:, 0])] for name, surface in attained.items()}


def panels(runs: list[Run], groups: list[Group], cost: Cost) -> list[Panel]:
    """One for each data set and split, and for times each place, that has a point."""
    return _macs_panels(groups) if cost == "macs_executed" else _timed_panels(runs, _macs_panels(groups), cost)


def only(shown: dict[Cost, list[Panel]], dataset: str | None, batch_size: int | None, machine: str | None) -> dict[Cost, list[Panel]]:
    """The panels of a data set, of a batch size, and of machines that have a text in their name; MACs know neither.

    Raises UsageError, naming those there are, for one that is not there.
    """
    panels = [panel for each in shown.values() for panel in each]
    datasets = sorted({panel.dataset for panel in panels})
    if dataset is not None and dataset not in datasets:
        raise UsageError(f"--dataset {dataset}: no network was scored on it. There are {', '.join(datasets)}.")
    panels = [panel for panel in panels if dataset in (None, panel.dataset)]
    timed = [panel for panel in panels if panel.where]
    if (machine is not None or batch_size is not None) and not timed:
        raise UsageError("--machine and --batch-size choose among times, and there are none. `gatebench profile-latency` measures them.")
    if machine is not None:
        machines = sorted({panel.place["machine"] for panel in timed})
        timed = [panel for panel in timed if machine.lower() in panel.place["machine"].lower()]
        if not timed:
            raise UsageError(f"--machine {machine}: no times are of such a machine. There are: {'; '.join(machines)}.")
    if batch_size is not None:
        sizes = sorted({panel.place["batch_size"] for panel in timed})
        timed = [panel for panel in timed if panel.place["batch_size"] == batch_size]
        if not timed:
            raise UsageError(f"--batch-size {batch_size}: no times are of it. There are {', '.join(map(str, sizes))}.")
    kept = [*(panel for panel in panels if not panel.where), *timed]
    chosen = {cost: [panel for panel in each if panel in kept] for cost, each in shown.items()}
    return {cost: each for cost, each in chosen.items() if each}


def answered(shown: dict[Cost, list[Panel]]) -> dict[Cost, list[Panel]]:
    """The panels that answers and tables are of: of each data set the images of all severities, and the smallest batches."""
    kept = {}
    for cost, panels in shown.items():
        sets = defaultdict(list)
        for panel in panels:
            sets[panel.dataset].append(panel)
        kept[cost] = [panel for members in sets.values() for panel in _plainest(members)]
    return kept


def _plainest(panels: list[Panel]) -> list[Panel]:
    """Those of the test part, else of the part with the shortest name; of their places those with the smallest batches."""
    part = min({panel.split for panel in panels}, key=lambda split: (split != "test", len(split), split))
    panels = [panel for panel in panels if panel.split == part]
    sizes = [panel.place["batch_size"] for panel in panels if panel.where]
    return [panel for panel in panels if not panel.where or panel.place["batch_size"] == min(sizes)]


@dataclass(frozen=True)
class Best:
    """The answer to a question such as: which is the most accurate under 2 ms here?"""

    panel: Panel
    wanted: Literal["accuracy", "cost"]
    """The highest accuracy at a cost of the limit at most, or the least cost at an accuracy of the limit at least."""
    limit: float
    best: Point | None
    """None where nothing keeps to the budget."""
    tied: list[Point] = field(default_factory=list)
    """That keep to it, and whose interval overlaps with the best one's."""
    perhaps: list[Point] = field(default_factory=list)
    """Whose interval overlaps with the budget, and with the best one's."""

    @property
    def points(self) -> list[Point]:
        """The best first."""
        return [*([self.best] if self.best else []), *self.tied, *self.perhaps]


def most_accurate(panel: Panel, budget: float) -> Best:
    """Under a budget of cost."""
    best, *others = sorted((each for each in panel.points if each.x <= budget), key=lambda each: (-each.y, each.x)) or [None]
    if not best:
        return Best(panel, "accuracy", budget, None)
    tied = [each for each in others if each.y_high >= best.y_low]
    perhaps = [each for each in panel.points if each.x_low <= budget < each.x and each.y_high >= best.y_low]
    return Best(panel, "accuracy", budget, best, tied, perhaps)


def cheapest(panel: Panel, accuracy: float) -> Best:
    """At an accuracy (%) of at least so much."""
    best, *others = sorted((each for each in panel.points if each.y >= accuracy), key=lambda each: (each.x, -each.y)) or [None]
    if not best:
        return Best(panel, "cost", accuracy, None)
    tied = [each for each in others if each.x_low <= best.x_high]
    perhaps = [each for each in panel.points if each.y < accuracy <= each.y_high and each.x_low <= best.x_high]
    return Best(panel, "cost", accuracy, best, tied, perhaps)


def _macs_panels(groups: list[Group]) -> list[Panel]:
    parts = defaultdict(list)
    for group in groups:
        parts[group.row["dataset"], _part(group.row)].append(group)
    made = []
    for (dataset, split), members in sorted(parts.items()):
        points = _points(members, "macs_executed")
        made.append(Panel("macs_executed", dataset, split, None, points, _published(dataset, members) if split == "test" else []))
    return made


def _timed_panels(runs: list[Run], scored: list[Panel], cost: Cost) -> list[Panel]:
    """Networks have the names that they have in the panels of all that were `scored`."""
    known = {member: point for panel in scored for point in panel.points for member in point.members}
    places = defaultdict(list)
    for run in runs:
        for row in run.joined_times:
            if cost in row and "accuracy" in row:
                places[row["dataset"], _part(row), place(row)].append((run, row))
    made = []
    for dataset, split, *where in in_order((dataset, split, *where) for dataset, split, where in places):
        members = places[dataset, split, tuple(where)]
        made.append(Panel(cost, dataset, split, tuple(where), _as_scored(_points(gather(members), cost), known), []))
    return made


def _as_scored(points: list[Point], known: dict[tuple, Point]) -> list[Point]:
    """Points of times with the name of the same network among all scored ones, and how many seeds of it were trained.

    Where several of them are of one network, as over two rivals, each keeps its own name.
    """
    own = [next((known[member] for member in point.members if member in known), None) for point in points]
    times = Counter(map(id, own))
    return [
        replace(point, trained=len(same.by_seed), label=same.label if times[id(same)] == 1 else point.label) if same else point
        for point, same in zip(points, own, strict=True)
    ]


def _part(row: dict) -> str:
    """Of the data, that was scored: images of one severity of corruption are a part of their own."""
    return ", ".join(row[key] for key in ("split", "severity") if key in row)


def _points(groups: list[Group], cost: Cost) -> list[Point]:
    """Where some were trained for longer than others, the names say so, unless each kept to its recipe."""
    longer = len({group.row.get("epochs") for group in groups}) > 1

    def named(group: Group) -> str:
        epochs = f", {group.row.get('epochs')} epochs"
        own = group.row.get("epochs") == group.row.get("recipe_epochs")
        return group.label + epochs * (longer and not own and epochs not in group.label)

    return [_point(named(group), group, cost) for group in groups]


def _point(label: str, group: Group, cost: Cost) -> Point:
    scale = AXES[cost].scale
    x, y = mean(group, cost), mean(group, "accuracy")
    x_low, x_high = interval(group, cost) or (x, x)
    y_low, y_high = interval(group, "accuracy") or (y, y)
    by_seed = {row["seed"]: (scale * row[cost], row["accuracy"]) for row in group.rows}
    static, scored_in = not group.row["adaptive"], group.row.get("scored_in")
    nothing = group.row.get("timed_macs_executed", group.row.get("macs_executed")) == 0
    return Point(label, scale * x, scale * x_low, scale * x_high, y, y_low, y_high, static, scored_in, by_seed, nothing, _members(group))


def _members(group: Group) -> frozenset[tuple]:
    tradeoffs = group.tradeoffs if "policy" in group.row else ()
    return frozenset(
        (run.name, row.get("policy"), row.get("severity"), tradeoff)
        for run, row in zip(group.runs, group.rows, strict=True) for tradeoff in tradeoffs or (None,)
    )  # fmt: skip


def _published(dataset: str, groups: list[Group]) -> list[Point]:
    """What papers print on this data set as accuracy at a share of the MACs, of networks that we have, and so their MACs."""
    points = {}
    for table in printed():
        for line in table.lines:
            if not line.match or line.match.get("dataset") != dataset:
                continue
            y, share = line.values.get("accuracy"), line.values.get("mean_gate_soft", line.values.get("mean_gate_soft_pct"))
            if "mean_gate_soft_pct" in line.values and share is not None:
                share /= 100
            dense = [group.row["macs_dense"] for group in groups if group.matches(line.match) and "macs_dense" in group.row]
            if y is not None and share is not None and dense:
                x = AXES["macs_executed"].scale * share * dense[0]
                points[line.label, round(x, 3), y] = Point(f"{line.label}, {table.name}", x, x, x, y, y, y)
    return list(points.values())


def _costs(points: list[Point]) -> np.ndarray:
    """[N, 2], both to be small."""
    return np.array([(each.x, -each.y) for each in points])


def _beaten(points: list[Point]) -> list[bool]:
    """Whether another is cheaper and better than each point by more than chance: at the near ends of both intervals."""
    arrays = {name: np.array([getattr(each, name) for each in points]) for name in ("x", "x_low", "x_high", "y", "y_low", "y_high")}
    lost = []
    for index in range(len(points)):
        at_least = (arrays["x_high"] <= arrays["x_low"][index]) & (arrays["y_low"] >= arrays["y_high"][index])
        lost.append(bool((at_least & ((arrays["x"] < arrays["x"][index]) | (arrays["y"] > arrays["y"][index]))).any()))
    return lost
