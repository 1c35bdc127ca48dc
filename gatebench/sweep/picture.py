"""The picture of a sweep."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from ..report import front, front_figure
from ..report.groups import groups
from ..report.results import Run
from .points import untimed


def picture(runs: Sequence[Run], rivals: Sequence[Run]) -> Figure:
    """The fronts of the whole scored part: accuracy against latency, where the sweep's runs were all timed, and below it against executed
    MACs; `rivals` in both, in the first where they were timed."""
    members = _without_shared_changes([*runs, *rivals])
    complete = [replace(run, points=[row for row in run.points if "severity" not in row]) for run in members]
    latency = [] if untimed(runs) else front.panels(complete, [], "latency_ms")
    return front_figure.front([*latency, *front.panels(complete, groups(complete), "macs_executed")])


def _without_shared_changes(runs: Sequence[Run]) -> list[Run]:
    """The same runs, but for the changes that all have: names then say in what they differ."""
    shared = set.intersection(*(set(run.headline.get("changes", [])) for run in runs))

    def shortened(rows: list[dict]) -> list[dict]:
        return [{**row, "changes": [each for each in row.get("changes", []) if each not in shared]} for row in rows]

    return [replace(run, points=shortened(run.points), times=shortened(run.times)) for run in runs]
