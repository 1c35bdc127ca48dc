"""Quantities of rows as tables and fronts take them: by column, derived, or a setting; over seeds, with 95 % intervals; by place."""

import math
import statistics
from collections.abc import Callable, Sequence

from scipy.special import stdtrit

from .results import Group, Run


def mean(group: Group, key: str) -> float | None:
    """The mean over the group's runs; None where one of them has not measured it."""
    values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
    return None if any(value is None for value in values) else statistics.mean(values)


def interval(group: Group, key: str) -> tuple[float, float] | None:
    """The 95 % interval: Student's over seeds where there are several, the row's own where there is one."""
    values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
    if any(value is None for value in values):
        return None
    if len(values) > 1:
        return over_seeds(values)
    low, high = (group.row.get(f"{key}_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two values or more."""
    middle, half = statistics.mean(values), float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return middle - half, middle + half


def spread(group: Group, key: str, digits: int) -> str:
    """Mean and standard deviation over seeds; with one seed the value and its own interval, if it has one."""
    middle, ends = mean(group, key), interval(group, key)
    if middle is None:
        return "-"
    if len(group.rows) > 1:
        values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
        return f"{middle:.{digits}f} ± {statistics.stdev(values):.{digits}f}"
    return f"{middle:.{digits}f}" + (f" ({ends[0]:.{digits}f}-{ends[1]:.{digits}f})" if ends else "")


def number(row: dict, key: str, form: str) -> str:
    """A cell of a table; "-" for what is not in the row."""
    return format(row[key], form) if key in row else "-"


def value_of(run: Run, row: dict, key: str) -> float | None:
    """A quantity of a row: a column of it, derived from its columns, an entry of a list (shares_pct.0), or a setting of its recipe."""
    if key in DERIVED:
        return DERIVED[key](run, row)
    if key.startswith("shares_pct."):
        number, shares = int(key.rpartition(".")[2]), row.get("shares", [])
        return 100 * shares[number] if number < len(shares) else None
    found = run.setting(key) if "." in key else row.get(key)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _times_100(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * row[key] if key in row else None


def _rest(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * (1 - row[key]) if key in row else None


def _at_epoch(run: Run, epoch: int | None, column: str) -> float | None:
    found = [line.get(column) for line in run.epochs if line["epoch"] == epoch]
    return found[0] if found and isinstance(found[0], (int, float)) else None


def _skipped(gate: float | None) -> float | None:
    return None if gate is None else 100 * (1 - gate)


DERIVED: dict[str, Callable[[Run, dict], float | None]] = {
    "skip_soft_pct": _rest("mean_gate_soft"),
    "skip_soft_pct_peak": lambda run, row: _skipped(_at_epoch(run, row.get("peak_epoch"), "mean_gate_soft")),
    "accuracy_epoch_100": lambda run, row: _at_epoch(run, 100, f"{row['split']}_accuracy"),
    "mean_gate_soft_epoch_100": lambda run, row: _at_epoch(run, 100, "mean_gate_soft"),
    "skip_soft_pct_epoch_100": lambda run, row: _skipped(_at_epoch(run, 100, "mean_gate_soft")),
    "mean_gate_soft_pct": _times_100("mean_gate_soft"),
    "macs_pct": _times_100("macs_ratio"),
    "saved_pct": _rest("macs_ratio"),
}
"""Quantities that papers print and our rows hold in another form."""


PLACE = ("machine", "device", "runtime", "threads", "batch_size")
"""Where a time was taken; only those of one place compare."""


def place(row: dict) -> tuple:
    """The place of a row's time."""
    return tuple(row[key] for key in PLACE)


def place_name(where: tuple) -> str:
    machine, device, runtime, threads, batch_size = where
    return f"{machine}; {device}, {runtime}, {threads} thread{'s' * (threads != 1)}, batch {batch_size}"
