"""The operating points of a sweep and their times, read back from run folders.

Nothing here imports torch.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..errors import GatebenchError
from ..measure.conditions import Conditions
from ..report.groups import shows_all
from ..report.results import Run, in_torch, is_masked, read_runs, same_point
from ..runs import RunFolder


def read(folder: RunFolder, value: float | None, conditions: Conditions) -> Run:
    """A finished run with the times that count; its rows hold the trade-off's `value` where that is a setting of the run.

    Raises GatebenchError where the folder is damaged.
    """
    runs, left_out = read_runs(folder.path)
    if not runs:
        raise GatebenchError(f"{left_out[0]}. Remove the folder or train into another with --fresh.")
    own = {} if value is None else {"tradeoff": value}
    times = [own | row for row in runs[0].times if counts(row, conditions, runs[0].headline["dataset"])]
    return replace(runs[0], points=[own | row for row in runs[0].points], times=times)


def counts(row: dict, conditions: Conditions, dataset: str) -> bool:
    """Whether a row of times is as a sweep takes it: under these conditions, on inputs of the run's own `dataset`, one at a time, by torch,
    beside the run's own reference and not a network that --vs named, and without interruption."""
    as_a_sweep_does = row.get("dataset") == dataset and row["batch_size"] == 1 and not is_masked(row)
    return conditions.match(row) and as_a_sweep_does and in_torch(row) and not row.get("vs") and not row.get("interrupted")


def swept(run: Run) -> list[dict]:
    """The rows of the headline's way at every value of the trade-off, the whole scored part first, then one severity after the other.

    Where a family shows all policies, the rows of every way.
    """
    rows = [row for row in run.points if "tradeoff" in row and (shows_all(run) or _as_the_headline(run, row))]
    return sorted(rows, key=lambda row: "severity" in row)


def timed(run: Run, row: dict) -> dict | None:
    """The times of an operating point: the newest of those that count."""
    return max((each for each in run.times if same_point(each, row)), key=lambda each: each.get("when", ""), default=None)


def untimed(runs: Sequence[Run]) -> list[list[dict]]:
    """Of each run the operating points of the sweep, without its headline, if any run has one that was not timed; else nothing.

    Only the headline's way is timed.
    """
    points = [[row for row in swept(run) if "severity" not in row and _as_the_headline(run, row)] for run in runs]
    missing = any(timed(run, row) is None for run, rows in zip(runs, points, strict=True) for row in rows)
    return [[row for row in rows if not same_point(row, run.headline)] for run, rows in zip(runs, points, strict=True)] if missing else []


def _as_the_headline(run: Run, row: dict) -> bool:
    return row.get("policy") == run.headline.get("policy")
