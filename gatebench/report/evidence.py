"""What a run folder holds, every file that `check` compares with others, read without trusting it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import GatebenchError
from ..foreign import Missing, Unreadable, from_json, from_yaml, listed, plain, read_table, read_text
from ..row import Column, Row, TimeRow
from ..rows import is_number, read_columns, read_row, read_rows
from ..runs import RunFolder
from .results import parted

MOST_INPUTS = 10**9
Made = TypeVar("Made")
Found = tuple[str, str]
"""A file, and what is wrong with it."""


@dataclass
class Times:
    """A file of times and its conditions, none where they were not kept."""

    name: str
    rows: list[dict]
    conditions: dict


@dataclass
class Evidence:
    """A folder's content; empty is what cannot be read, and `unread` says why."""

    folder: RunFolder
    summary: list[dict] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    columns: tuple[Column, ...] = ()
    recipe: dict = field(default_factory=dict)
    machine: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    epochs: list[dict[str, str]] | None = None
    breakdown: list[dict[str, str]] = field(default_factory=list)
    times: list[Times] = field(default_factory=list)
    unread: list[Found] = field(default_factory=list)

    @property
    def headline(self) -> dict:
        return self.rows[0] if self.rows else {}

    @property
    def points(self) -> list[dict]:
        """Operating points, the headline first."""
        return parted(self.rows)[0]

    @property
    def references(self) -> list[dict]:
        return parted(self.rows)[1]

    def timed(self) -> Iterator[tuple[str, dict]]:
        """Every row of times, with its file."""
        yield from ((times.name, row) for times in self.times for row in times.rows)

    def all_rows(self) -> Iterator[tuple[str, dict]]:
        """Every row, with its file."""
        yield from (("rows.jsonl", row) for row in self.rows)
        yield from self.timed()

    def setting(self, key: str) -> Any:
        """A setting of the recipe, as a.b.c; None where there is none."""
        content = self.recipe
        for part in key.split("."):
            content = content.get(part) if isinstance(content, dict) else None
        return content

    def groups(self, by: str) -> list[dict[str, Any]]:
        """The lines of breakdown.csv of a kind (class, severity, difficulty, unit), with what numbers they have."""
        lines = [line for line in self.breakdown if line.get("by") == by]
        cells = [{key: number(text) for key, text in line.items()} for line in lines]
        return [
            {"group": line.get("group", ""), **{key: value for key, value in each.items() if is_number(value)}}
            for line, each in zip(lines, cells, strict=True)
        ]

    def inputs(self, row: dict) -> int | None:
        """How many inputs a row is scored on; None where that is not known."""
        if "severity" in row:
            counted = next((line.get("inputs") for line in self.groups("severity") if line["group"] == row["severity"]), None)
        else:
            counted = self.data.get(row["split"]) if self.data.get("scored") == row["split"] else None
        return int(counted) if is_number(counted) and 0 < counted < MOST_INPUTS else None

    def read(self, name: str, reader: Callable[[Path], Made], absent: Made) -> Made:
        """What a reader makes of a file; `absent`, and a line in `unread`, where it cannot."""
        try:
            return reader(self.folder / name)
        except Missing:
            self.unread.append((name, "it is missing" + ": the run is not finished" * (name == "summary.json")))
        except GatebenchError as error:
            self.unread.append((name, plain(str(error))))
        return absent


def read_evidence(folder: RunFolder) -> Evidence:
    """Everything of a run folder that rules compare."""
    found = Evidence(folder)
    found.columns = found.read("columns.json", read_columns, ())
    found.rows = found.read("rows.jsonl", lambda path: _rows(path, Row, found.columns), [])
    found.summary = found.read("summary.json", lambda path: _row(path, found.columns), [])
    found.recipe = found.read("recipe.yaml", lambda path: _mapping(from_yaml(read_text(path))), {})
    found.machine = found.read("machine.json", _object, {})
    found.data = found.read("data.json", _object, {})
    found.epochs = found.read("epochs.csv", lambda path: list(read_table(path)), None)
    found.breakdown = found.read("breakdown.csv", lambda path: list(read_table(path)), [])
    for name in _files_of_times(found):
        rows = found.read(name, lambda path: _rows(path, TimeRow, ()), [])
        conditions = name.removesuffix("l")
        found.times.append(Times(name, rows, found.read(conditions, _object, {}) if found.folder.has(conditions) else {}))
    return found


def number(text: str) -> float | None:
    """A cell of a table as a number; None where it is empty or no number."""
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _files_of_times(found: Evidence) -> list[str]:
    try:
        return [f"times/{name}" for name in listed(found.folder / "times") if name.endswith(".jsonl")]
    except Missing:
        return []
    except Unreadable as error:
        found.unread.append(("times/", str(error)))
        return []


def _rows(path: Path, schema: type[Row] | type[TimeRow], columns: tuple[Column, ...]) -> list[dict]:
    """The lines of a file. Raises GatebenchError where one is not of the schema, or has a column that nothing declares."""
    text = read_text(path)
    rows = read_rows(path, schema, columns)
    for line in filter(str.strip, text.splitlines()):
        _check_columns(line, schema, columns)
    return rows


def _row(path: Path, columns: tuple[Column, ...]) -> list[dict]:
    """The one row of summary.json. Raises as `_rows`."""
    text = read_text(path)
    row = read_row(path, Row, columns)
    _check_columns(text, Row, columns)
    return [row]


def _check_columns(line: str, schema: type[Row] | type[TimeRow], columns: tuple[Column, ...]) -> None:
    declared = {*schema.model_fields, *(name for column in columns for name in (column.name, *column.interval))}
    undeclared = sorted(_mapping(from_json(line)).keys() - declared)
    if undeclared:
        raise GatebenchError(f"it has {undeclared[0]!r}, a column that neither gatebench nor columns.json knows")


def _object(path: Path) -> dict:
    return _mapping(from_json(read_text(path)))


def _mapping(content: Any) -> dict:
    if not isinstance(content, dict):
        raise Unreadable("it is no mapping of names to values")
    return content

