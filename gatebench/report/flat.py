"""All that was measured as two tables for programs, results.csv and times.csv: one number or text a cell, intervals under NAME_low and
NAME_high, the entries of a list under NAME_ENTRY. Absent is what was not measured."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..row import Column, Row, TimeRow
from .groups import tradeoff_of
from .quantities import PLACE, TIMED, times_of
from .results import Run
from .sheet import slug

WHERE = (*PLACE, "precision")
EXTRA = {
    "run": "name of its folder",
    "tradeoff_is": "what the trade-off is, such as a budget or a weight",
    **{f"timed_{key}": f"of the times in the same line: {TimeRow.model_fields[key].description}" for key in WHERE},
    "session": "name of the timing's files in times/",
    "scored_in": "precision in which the accuracy was scored, where the times are of another",
}
"""Columns that neither the schema nor a family has -> their meanings."""
MOST_ENTRIES = 100
"""Of a list; of a longer one none."""
Record = dict[str, float | str | bool]


@dataclass(frozen=True)
class Flat:
    """A table for programs."""

    columns: dict[str, str]
    """Names, and the unit of each."""
    records: list[Record]


def all_points(runs: Iterable[Run]) -> Flat:
    """A line for each operating point; with the times of one input where they were taken in one place alone: `timed_machine` and so on."""
    made, units = [], {}
    for run in runs:
        units |= _units(run.columns)
        for point in run.points:
            timed = times_of(run, point)
            taken = {key: timed[key] for key in TIMED & timed.keys() if not isinstance(timed[key], list)}
            where = {f"timed_{key}": timed[key] for key in WHERE if key in timed}
            made.append({**_named(run, point), **_flat(point), **_flat(where | taken)})
    return _table(made, units)


def all_times(runs: Iterable[Run]) -> Flat:
    """A line for each timing, the newest of a network in a place; with the accuracy of its operating point."""
    made, units = [], {}
    for run in runs:
        units |= _units(run.columns)
        made += [{**_named(run, row), **_flat(row)} for row in [*run.joined_times, *run.joined_elsewhere]]
    return _table(made, units)


def _named(run: Run, row: dict) -> Record:
    """The run, and what its trade-off is."""
    return {"run": run.name} | ({"tradeoff_is": tradeoff_of(run.columns).heading} if "tradeoff" in row else {})


def _flat(row: dict) -> Record:
    """Every value in a cell of its own."""
    record: Record = {}
    for name, value in row.items():
        if not isinstance(value, list):
            record[name] = value
        elif any(isinstance(each, str) for each in value):
            record |= {name: "; ".join(value)} if name != "share_names" else {}
        elif len(value) <= MOST_ENTRIES:
            record |= {f"{name}_{part}": each for part, each in zip(_parts(row, len(value)), value, strict=True) if each is not None}
    return record


def _parts(row: dict, count: int) -> list[str]:
    """Names of a list's entries: the destinations of inputs where it has as many, else numbers."""
    names = [slug(name).replace("-", "_") for name in row.get("share_names", ())]
    return names if len(names) == len(set(names)) == count and all(names) else [str(number) for number in range(1, count + 1)]


def _units(columns: Iterable[Column]) -> dict[str, str]:
    return {name: column.unit for column in columns for name in (column.name, *column.interval)}


def _table(records: list[Record], declared: dict[str, str]) -> Flat:
    """Columns in the order of the schema; those that families declare after those of operating points."""
    order = ["run", "tradeoff_is", *Row.model_fields, *declared, *EXTRA, *TimeRow.model_fields]
    place = {name: index for index, name in reversed(list(enumerate(order)))}
    fields = {**TimeRow.model_fields, **Row.model_fields}
    units = {name: (field.json_schema_extra or {}).get("unit", "") for name, field in fields.items()} | declared

    def column(name: str) -> str:
        """That it is, or is an entry of."""
        return name if name in place else max((each for each in place if name.startswith(f"{each}_")), key=len, default="")

    def position(name: str) -> tuple[int, int]:
        own = column(name)
        entry = name.removeprefix(f"{own}_")
        return place.get(own, len(place)), int(entry) if entry.isdigit() else 0

    names = sorted(dict.fromkeys(name for record in records for name in record), key=position)
    return Flat({name: units.get(column(name), "") for name in names}, records)
