"""The static networks that stand beside a sweep in its picture, read from the run folders beside its own.

Nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..measure.conditions import Conditions
from ..report.claims import COMPARABLE
from ..report.quantities import place
from ..report.results import Run, read_runs
from .points import counts


def read(out: Path, runs: Sequence[Run], conditions: Conditions) -> list[Run]:
    """Static networks below `out`, of any kind and size, that were trained and scored as the sweep's runs were; with the times that count.

    Times of another place than the sweep's do not.
    """
    own, settings = {run.name for run in runs}, {_setting(run) for run in runs}
    places = {place(row) for run in runs for row in run.times}
    static = [run for run in read_runs(out)[0] if not run.headline["adaptive"] and _setting(run) in settings and run.name not in own]

    def compares(row: dict) -> bool:
        return place(row) in places and counts(row, conditions, runs[0].headline["dataset"])

    return [replace(run, times=list(filter(compares, run.times))) for run in static]


def digest(lines: str, rivals: Sequence[Run]) -> str:
    """Of what a picture is drawn of: the lines of the sweep's table, and these rivals."""
    return hashlib.sha256(json.dumps([lines, *([run.points, run.times] for run in rivals)]).encode()).hexdigest()


def _setting(run: Run) -> tuple:
    """What compared runs agree in."""
    return tuple(run.headline.get(key) for key in (*COMPARABLE, "data_digest"))
