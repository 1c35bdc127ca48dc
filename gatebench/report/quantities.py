"""Quantities of rows as tables and fronts take them: by column, derived, or a setting; over seeds, with 95 % intervals; by place."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from scipy.special import stdtrit

from ..foreign import is_number
from ..row import Row, TimeRow
from ..words import counted
from .groups import Group
from .results import Run, is_masked, same_point
from .sheet import Cell

PLACE = ("machine", "device", "runtime", "threads", "batch_size")
"""Where a time was taken; only those of one place compare."""
TIMED = frozenset(TimeRow.model_fields) - frozenset(Row.model_fields)
"""Columns that only times have."""


def mean(group: Group, key: str) -> float | None:
    """The mean over the group's runs; None where one of them has not measured it."""
    values = values_of(group, key)
    return None if values is None else statistics.mean(values)


def interval(group: Group, key: str) -> tuple[float, float] | None:
    """The 95 % interval by which networks are compared: the wider of Student's t over seeds and the mean interval within a run.

    Seeds that were scored on the same inputs, or timed in one session, share the error that the interval within a run is of.
    """
    values = values_of(group, key)
    if values is None:
        return None
    middle, intervals = statistics.mean(values), []
    if len(values) > 1:
        intervals.append(over_seeds(values))
    ends = (f"{key}_low", f"{key}_high")
    if all(end in row for row in group.rows for end in ends):
        below, above = (statistics.mean(abs(row[end] - row[key]) for row in group.rows) for end in ends)
        intervals.append((middle - below, middle + above))
    return (min(low for low, _ in intervals), max(high for _, high in intervals)) if intervals else None


def over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of two values or more."""
    middle, half = statistics.mean(values), float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return middle - half, middle + half


def spread(group: Group, key: str, digits: int | None = None) -> Cell:
    """Mean, standard deviation and Student's interval over seeds; with one seed the value and its own interval, if it has one."""
    values = values_of(group, key)
    if values is None:
        return Cell(digits=digits)
    several = len(values) > 1
    ends = (over_seeds(values) if several else interval(group, key)) or (None, None)
    return Cell(statistics.mean(values), *ends, statistics.stdev(values) if several else None, digits=digits)


def estimate(row: dict, key: str, digits: int | None = None, absent: str = "-") -> Cell:
    """A value of one row, and its interval, if it has one."""
    return Cell(row.get(key), row.get(f"{key}_low"), row.get(f"{key}_high"), digits=digits, absent=absent)


def values_of(group: Group, key: str) -> list[float] | None:
    """A quantity of every run; None where one of them has not measured it."""
    values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
    return None if any(value is None for value in values) else values


def value_of(run: Run, row: dict, key: str) -> float | None:
    """A quantity of a row, or None where it was not measured.

    It is a column, derived from columns, an entry of a list (shares_pct.0), a setting of the recipe (training.epochs), or a time of one
    input, where that was measured in one place alone.
    """
    if key in DERIVED:
        return DERIVED[key](run, row)
    name, _, number = key.rpartition(".")
    if number.isdigit():
        return _entry(row, name, int(number))
    if key in TIMED and key not in row:
        row = times_of(run, row)
    value = run.setting(key) if "." in key else row.get(key)
    return value if is_number(value) else None


def times_of(run: Run, row: dict) -> dict:
    """The times of one input at an operating point; nothing unless they were measured in one place alone."""
    times = [each for each in run.times if each["batch_size"] == 1 and not is_masked(each) and same_point(each, row)]
    return times[0] if len({place(each) for each in times}) == 1 else {}


def place(row: dict) -> tuple:
    """The place of a row's time."""
    return tuple(row.get(key) for key in PLACE)


def in_order(places: Iterable[tuple]) -> list[tuple]:
    """Places, or other tuples of texts and numbers, by their entries: numbers by their size, what is absent first."""

    def key(where: tuple) -> list[tuple]:
        return [(each is not None, not is_number(each), each if is_number(each) else str(each)) for each in where]

    return sorted(places, key=key)


def place_name(where: tuple) -> str:
    """For a title: "desk, 2 cores; cpu, torch, 1 thread, batch 1"."""
    return f"{machine_name(where)}, batch {where[PLACE.index('batch_size')]}"


def machine_name(where: tuple) -> str:
    """A place without its batch size."""
    machine, device, runtime, threads, _ = where
    return f"{machine}; {device}, {runtime}, {counted(threads, 'thread')}"


def _entry(row: dict, name: str, number: int) -> float | None:
    """An entry of a list; in percent where the list is named so and stored as shares."""
    shares = name.removesuffix("_pct") if name not in row else name
    values = row.get(shares, ())
    value = values[number] if isinstance(values, list) and number < len(values) else None
    return value if value is None or shares == name else 100 * value


def _times_100(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * row[key] if key in row else None


def _rest(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * (1 - row[key]) if key in row else None


def _at_epoch(run: Run, epoch: int | None, column: str) -> float | None:
    return next((line.get(column) for line in run.epochs if line["epoch"] == epoch), None)


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
