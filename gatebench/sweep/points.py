"""The operating points of a sweep and their times, read back from run folders.

Nothing here imports torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import GatebenchError
from ..report.results import Run, read_runs, same_point
from ..runs import RunFolder


@dataclass(frozen=True)
class Where:
    """The place whose times count."""

    machine: str
    device: str
    threads: int

    def took(self, row: dict) -> bool:
        """Whether a row of times was taken here, one input at a time and without interruption."""
        here = (row["machine"], row["device"], row["threads"]) == (self.machine, self.device, self.threads)
        return here and row["batch_size"] == 1 and row["execution"] != "masked" and not row.get("interrupted")


def read(folder: RunFolder, value: float | None, where: Where) -> Run:
    """A finished run with the times of one place; its rows hold the trade-off's `value` where that is a setting of the run.

    Raises GatebenchError where the folder is damaged.
    """
    runs, left_out = read_runs(folder.path)
    if not runs:
        raise GatebenchError(f"{left_out[0]}. Remove the folder or train into another with --fresh.")
    own = {} if value is None else {"tradeoff": value}
    return replace(runs[0], points=[own | row for row in runs[0].points], times=[own | row for row in runs[0].times if where.took(row)])


def swept(run: Run) -> list[dict]:
    """The rows of the headline's way at every value of the trade-off, the whole scored part first, then one severity after the other."""
    rows = [row for row in run.points if row.get("policy") == run.headline.get("policy") and "tradeoff" in row]
    return sorted(rows, key=lambda row: "severity" in row)


def beside(run: Run) -> list[dict]:
    """The rows of other ways that have no trade-off: what the sweep is to be compared with."""
    return [row for row in run.points if row.get("policy") != run.headline.get("policy") and "tradeoff" not in row]


def timed(run: Run, row: dict) -> dict | None:
    """The times of an operating point: the newest of those that count."""
    return next((each for each in run.times if same_point(each, row)), None)


def untimed(runs: Sequence[Run]) -> list[list[dict]]:
    """Of each run the operating points of the sweep, without its headline, if any run has one that was not timed; else nothing."""
    points = [[row for row in swept(run) if "severity" not in row] for run in runs]
    missing = any(timed(run, row) is None for run, rows in zip(runs, points, strict=True) for row in rows)
    return [[row for row in rows if not same_point(row, run.headline)] for run, rows in zip(runs, points, strict=True)] if missing else []
