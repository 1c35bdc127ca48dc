"""Quantities of rows as tables and fronts take them: by column, derived, or a setting; over seeds, with 95 % intervals; by place."""

import math
import statistics
from collections.abc import Callable, Sequence

from scipy.special import stdtrit

from ..columns import COLUMNS, TIMES, names
from .reading import is_number
from .results import Group, Run


def mean(group: Group, key: str) -> float | None:
    """The mean over the group's runs; None where one of them has not measured it."""
    values = values_of(group, key)
    return None if values is None else statistics.mean(values)


def interval(group: Group, key: str) -> tuple[float, float] | None:
    """The 95 % interval that two networks are told apart by: Student's over seeds or the runs' own (of the inputs, of a time's rounds),
    whichever is wider, since seeds that were scored on the same inputs or timed in one session share that error."""
    values = values_of(group, key)
    if values is None:
        return None
    middle, found = statistics.mean(values), []
    if len(values) > 1:
        found.append(over_seeds(values))
    ends = INTERVALS.get(key, ())
    if ends and all(end in row for row in group.rows for end in ends):
        below, above = (statistics.mean(abs(row[end] - row[key]) for row in group.rows) for end in ends)
        found.append((middle - below, middle + above))
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two values or more."""
    middle, half = statistics.mean(values), float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return middle - half, middle + half


def spread(group: Group, key: str, digits: int) -> str:
    """Mean, standard deviation and Student's interval over seeds; with one seed the value and its own interval, if it has one."""
    values = values_of(group, key)
    if values is None:
        return "-"
    middle, ends = statistics.mean(values), over_seeds(values) if len(values) > 1 else interval(group, key)
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{middle:.{digits}f}{deviation}" + (f" ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})" if ends else "")


def number(row: dict, key: str, form: str) -> str:
    """A cell of a table; "-" for what is not in the row."""
    return format(row[key], form) if key in row else "-"


def values_of(group: Group, key: str) -> list[float] | None:
    """A quantity of every run; None where one of them has not measured it."""
    values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
    return None if any(value is None for value in values) else values


def value_of(run: Run, row: dict, key: str) -> float | None:
    """A quantity of a row: a column of it, derived from its columns, an entry of a list (shares_pct.0), a setting of its recipe, or a
    time of one input, where that was measured in one place alone."""
    if key in DERIVED:
        return DERIVED[key](run, row)
    if key.startswith("shares_pct."):
        number, shares = int(key.rpartition(".")[2]), row.get("shares", [])
        return 100 * shares[number] if number < len(shares) else None
    if key in TIMED and key not in row:
        times = [each for each in run.times if each["batch_size"] == 1 and all(each.get(name) == row.get(name) for name in SAME_POLICY)]
        times = [each for each in times if each["execution"] != "masked"]
        row = times[0] if len({place(each) for each in times}) == 1 else {}
    found = run.setting(key) if "." in key else row.get(key)
    return found if is_number(found) else None


def _times_100(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * row[key] if key in row else None


def _rest(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * (1 - row[key]) if key in row else None


def _at_epoch(run: Run, epoch: int | None, column: str) -> float | None:
    return next((line.get(column) for line in run.epochs if line["epoch"] == epoch), None)


def _skipped(gate: float | None) -> float | None:
    return None if gate is None else 100 * (1 - gate)


INTERVALS = {column.name: column.interval for column in COLUMNS if column.interval}
"""Of every column that has one, the columns of its ends."""
TIMED = frozenset(names(TIMES))
SAME_POLICY = ("tradeoff", "policy", "severity")
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
