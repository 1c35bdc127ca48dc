"""What the papers print, as data: one YAML a paper, and the independent references beside them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

PAPERS = ("cosinegate", "lag", "cgt", "routing", "references")
Value = float | tuple[float, float] | None
"""A number, a range, or nothing printed."""


@dataclass(frozen=True)
class Line:
    """One row of a published table, and which of our rows measure the same."""

    label: str
    match: dict[str, Any] | None
    """Values of a row's keys, or of its recipe's model; None: nothing of ours does."""
    values: dict[str, Value]
    """By the key of our rows that holds the same quantity."""
    ours: dict[str, str | None]
    """Of those that our rows hold under another key, that key; None: they do not hold it."""


@dataclass(frozen=True)
class Printed:
    """One published table."""

    paper: str
    source: str
    name: str
    title: str
    columns: dict[str, str]
    """Key of our rows -> heading."""
    lines: list[Line]
    epochs: int | None
    """Of training, where the paper says so."""
    unsaid: str | None
    """What a reader would have to know in order to compare."""
    differs: str | None
    """What is never the same in our runs."""
    note: str
    """What a reader has to know of ours."""


@dataclass(frozen=True)
class Claim:
    """A saving that a paper's text gives, and the two figures of its own that it comes from: 100 (1 - first / second)."""

    paper: str
    where: str
    what: str
    says: float
    parts: tuple[float, float]


@dataclass(frozen=True)
class Curves:
    """A figure of training that a paper prints, and which of our runs it is drawn from."""

    name: str
    title: str
    where: str
    match: dict[str, Any]


@cache
def printed() -> tuple[Printed, ...]:
    """All published tables."""
    return tuple(table for paper in PAPERS for table in _tables(_content(paper)))


@cache
def claims() -> tuple[Claim, ...]:
    """All savings that the papers' texts give."""
    return tuple(
        Claim(content["paper"], each["where"], each["what"], each["says"], tuple(each["parts"]))
        for content in map(_content, PAPERS)
        for each in content.get("claims", [])
    )


@cache
def curves() -> tuple[Curves, ...]:
    """All figures of training that the papers print."""
    return tuple(
        Curves(each["name"], each["title"], each["where"], each["match"])
        for content in map(_content, PAPERS)
        for each in content.get("curves", [])
    )


@cache
def _content(paper: str) -> dict:
    return yaml.safe_load((Path(str(files(__package__))) / f"{paper}.yaml").read_text(encoding="utf-8"))


def _tables(content: dict) -> Iterator[Printed]:
    for table in content["tables"]:
        lines = []
        for line in table["rows"]:
            values = {key: _value(value) for key, value in zip(table["columns"], line["values"], strict=True)}
            dataset = line.get("dataset", table.get("dataset"))
            match = line.get("match") and {**line["match"], **({"dataset": dataset} if dataset else {})}
            lines.append(Line(line["label"], match, values, line.get("ours", {})))
        yield Printed(
            content["paper"], content["source"], table["name"], table["title"], table["columns"], lines, table.get("epochs"),
            table.get("unsaid"), table.get("differs"), table.get("note", ""),
        )  # fmt: skip


def _value(value: Any) -> Value:
    return tuple(map(float, value)) if isinstance(value, list) else None if value is None else float(value)
