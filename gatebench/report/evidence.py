"""What a run folder holds, every file that `check` compares with others, read once and without trusting it.

Shapes: N inputs, E examples, S switches, H x W pixels, C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import GatebenchError
from ..foreign import Missing, Unreadable, is_number, listed, plain, read_table, read_text, sha256_of
from ..plain_data import from_json, mapping
from ..row import Column, Row, TimeRow
from ..rows import read_columns, read_row, read_rows
from ..runs import RunFolder
from . import reading
from .results import parted

MOST_INPUTS = 10**9
SCORED = {"label": "iu", "prediction": "iu", "confidence": "f", "macs_decided": "iuf", "macs_executed": "iuf"}
"""Columns that every per-input table has, and the kinds of their numbers."""
LARGEST_WEIGHTS, LARGEST_ARRAYS = 20_000_000_000, 500_000_000
"""Bytes."""
Made = TypeVar("Made")
Problem = tuple[str, str]
"""A file, and what is wrong with it."""


@dataclass
class Times:
    """A file of times, and the conditions from the .json beside it."""

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
    identity: dict = field(default_factory=dict)
    epochs: list[dict[str, str]] | None = None
    breakdown: list[dict[str, str]] = field(default_factory=list)
    times: list[Times] = field(default_factory=list)
    weights: str = ""
    """The beginning of the SHA-256 of model.safetensors."""
    decisions: np.ndarray | None = None
    """decisions.npz: which switches were on, uint8 [N, S]."""
    scored: dict[str, np.ndarray] = field(default_factory=dict)
    """inputs.parquet: its columns of numbers, [N] each."""
    examples: dict[str, np.ndarray] = field(default_factory=dict)
    """examples.npz: index and labels [E], pixels [E, H, W, C]."""
    unread: list[Problem] = field(default_factory=list)

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
        return [line for line in reading.groups(self.breakdown) if line["by"] == by]

    def inputs(self, row: dict) -> int | None:
        """How many inputs a row is scored on; None where that is not known."""
        if "severity" in row:
            counted = next((line.get("inputs") for line in self.groups("severity") if line["group"] == row["severity"]), None)
        else:
            counted = self.data.get(row["split"]) if self.data.get("scored") == row["split"] else None
        return int(counted) if is_number(counted) and 0 < counted < MOST_INPUTS else None

    def read(self, name: str, reader: Callable[[Path], Made], absent: Made, optional: bool = False) -> Made:
        """What a reader makes of a file; `absent` where it cannot, and a line in `unread`, but for an `optional` one that is not there."""
        try:
            return reader(self.folder / name)
        except Missing:
            if not optional:
                self.unread.append((name, "it is missing" + ": the run is not finished" * (name == "summary.json")))
        except GatebenchError as error:
            self.unread.append((name, plain(str(error))))
        return absent


def read_evidence(folder: RunFolder) -> Evidence:
    """Everything of a run folder that rules compare."""
    evidence = Evidence(folder)
    evidence.columns = evidence.read("columns.json", read_columns, ())
    evidence.rows = evidence.read("rows.jsonl", lambda path: _rows(path, Row, evidence.columns), [])
    evidence.summary = evidence.read("summary.json", lambda path: _row(path, evidence.columns), [])
    evidence.recipe = evidence.read("recipe.yaml", _filled(reading.read_recipe), {})
    evidence.machine = evidence.read("machine.json", _filled(reading.read_object), {})
    evidence.data = evidence.read("data.json", _filled(reading.read_object), {})
    evidence.epochs = evidence.read("epochs.csv", lambda path: list(read_table(path)), None)
    evidence.breakdown = evidence.read("breakdown.csv", _filled(lambda path: list(read_table(path))), [])
    for name in _files_of_times(evidence):
        rows = evidence.read(name, lambda path: _rows(path, TimeRow, ()), [])
        evidence.times.append(Times(name, rows, evidence.read(name.removesuffix("l"), _filled(reading.read_object), {})))
    evidence.weights = evidence.read("model.safetensors", lambda path: sha256_of(path, LARGEST_WEIGHTS), "", optional=True)
    evidence.decisions = evidence.read("decisions.npz", lambda path: reading.read_decisions(path, LARGEST_ARRAYS), None, optional=True)
    evidence.identity = evidence.read("identity.json", reading.read_object, {}, optional=True)
    evidence.scored = evidence.read("inputs.parquet", _scored, {}, optional=True)
    evidence.examples = evidence.read("examples.npz", lambda path: reading.read_examples(path, LARGEST_ARRAYS), {}, optional=True)
    return evidence


def _filled(reader: Callable[[Path], Made]) -> Callable[[Path], Made]:
    """A reader that refuses what is empty."""

    def read(path: Path) -> Made:
        content = reader(path)
        if not content:
            raise Unreadable("it is empty")
        return content

    return read


def _scored(path: Path) -> dict[str, np.ndarray]:
    """inputs.parquet. Raises Unreadable where it lacks what every per-input table has."""
    columns = reading.read_inputs(path)
    lacking = [name for name, kinds in SCORED.items() if name not in columns or columns[name].dtype.kind not in kinds]
    if lacking:
        raise Unreadable(f"its {lacking[0]!r} is missing, or not what it should be")
    return columns | {name: columns[name].astype(np.int64) for name in ("label", "prediction")}


def _files_of_times(evidence: Evidence) -> list[str]:
    try:
        return [f"times/{name}" for name in listed(evidence.folder / "times") if name.endswith(".jsonl")]
    except Missing:
        return []
    except Unreadable as error:
        evidence.unread.append(("times/", str(error)))
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
    undeclared = sorted(mapping(from_json(line)).keys() - declared)
    if undeclared:
        raise GatebenchError(f"it has {undeclared[0]!r}, a column that neither gatebench nor columns.json knows")
