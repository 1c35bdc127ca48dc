"""The operating points of a sweep and their times, read back from run folders.

Nothing here imports torch.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..errors import GatebenchError
from ..measure.conditions import Conditions
from ..report.results import Run, read_runs, same_point
from ..runs import RunFolder


def read(folder: RunFolder, value: float | None, conditions: Conditions) -> Run:
    """A finished run with the times that count; its rows hold the trade-off's `value` where that is a setting of the run.

    Raises GatebenchError where the folder is damaged.
    """
    runs, left_out = read_runs(folder.path)
    if not runs:
        raise GatebenchError(f"{left_out[0]}. Remove the folder or train into another with --fresh.")
    own = {} if value is None else {"tradeoff": value}
    times = [own | row for row in runs[0].times if counts(row, conditions)]
    return replace(runs[0], points=[own | row for row in runs[0].points], times=times)


def counts(row: dict, conditions: Conditions) -> bool:
    """Whether a row of times was taken under these conditions, one input at a time and without interruption."""
    return conditions.match(row) and row["batch_size"] == 1 and row["execution"] != "masked" and not row.get("interrupted")


def swept(run: Run) -> list[dict]:
    """The rows of the headline's way at every value of the trade-off, the whole scored part first, then one severity after the other."""
    rows = [row for row in run.points if row.get("policy") == run.headline.get("policy") and "tradeoff" in row]
    return sorted(rows, key=lambda row: "severity" in row)


def timed(run: Run, row: dict) -> dict | None:
    """The times of an operating point: the newest of those that count."""
    return next((each for each in run.times if same_point(each, row)), None)


def untimed(runs: Sequence[Run]) -> list[list[dict]]:
    """Of each run the operating points of the sweep, without its headline, if any run has one that was not timed; else nothing."""
    points = [[row for row in swept(run) if "severity" not in row] for run in runs]
    missing = any(timed(run, row) is None for run, rows in zip(runs, points, strict=True) for row in rows)
    return [[row for row in rows if not same_point(row, run.headline)] for run, rows in zip(runs, points, strict=True)] if missing else []
