"""Files of run folders that nobody vouches for: read within bounds, or refused with a reason."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import yaml

from ..columns import KINDS, Kind
from ..errors import GatebenchError

LARGEST = 2_000_000
"""Bytes of a file: a run's own are a tenth of it at most."""
MOST_ROWS = 2_000
LONGEST_LIST = 100
LONGEST_TEXT = 500
DEEPEST = 20
"""Levels of a recipe."""
MOST_EVENTS = 5_000
"""Names, values, beginnings and ends in a recipe."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Many times as fast, where PyYAML was built with it."""
POSITIVE = ("macs_dense", "macs_executed", "latency_ms", "energy_mj")


def read_rows(path: Path) -> list[dict]:
    """rows.jsonl, every known column what `columns` says it is. Raises GatebenchError with the reason where it is not."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if len(lines) > MOST_ROWS:
        raise GatebenchError(f"{path.name} has {len(lines):,} rows")
    try:
        rows = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        raise GatebenchError(f"{path.name} is damaged") from None
    return [_checked(row) for row in rows]


def read_recipe(path: Path) -> dict:
    """recipe.yaml; nothing where it is missing, damaged, or built to exhaust its reader."""
    try:
        text = _text(path)
        depth = 0
        for number, event in enumerate(yaml.parse(text, Loader=LOADER)):  # flat, where loading goes as deep as the text does
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST or number > MOST_EVENTS or isinstance(event, yaml.AliasEvent):
                return {}
        content = yaml.load(text, Loader=LOADER)
    except (GatebenchError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def read_epochs(path: Path) -> list[dict]:
    """epochs.csv, its finite numbers; nothing where it is missing or damaged."""
    try:
        lines = list(csv.DictReader(_text(path).splitlines(), restval="", restkey=""))
    except (GatebenchError, csv.Error):
        return []
    found = [{key: value for key, text in line.items() if (value := _number(text)) is not None} for line in lines]
    return [{**line, "epoch": int(line["epoch"])} for line in found if line.get("epoch", 0.5) == int(line.get("epoch", 0.5))]


def plain(text: str) -> str:
    """Without control characters, directions and the like; as much as a cell holds."""
    text = text[:LONGEST_TEXT]
    return text if text.isprintable() else "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def is_number(value: Any) -> bool:
    """Not infinite, and no integer beyond what a float holds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300


def _text(path: Path) -> str:
    if not path.is_file():
        raise GatebenchError(f"it is not finished ({path.name} is missing)")
    try:
        if path.stat().st_size > LARGEST:
            raise GatebenchError(f"{path.name} is too large to be a run's")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise GatebenchError(f"{path.name} is damaged") from None


def _checked(row: Any) -> dict:
    if not isinstance(row, dict):
        raise GatebenchError("a line of rows.jsonl is no row")
    for key, value in row.items():
        if key in KINDS and not _fits(value, KINDS[key]):
            raise GatebenchError(f"{key} = {plain(str(value)[:40])!r} is not what it must be (another version of gatebench?)")
    for key in POSITIVE:
        if row.get(key, 1) <= 0:
            raise GatebenchError(f"{key} = {row[key]:g} cannot be")
    if not 0 <= row.get("accuracy", 0) <= 100:
        raise GatebenchError(f"accuracy = {row['accuracy']:g} is no percentage")
    return {key: _plain(value) for key, value in row.items() if key in KINDS}


def _fits(value: Any, kind: Kind) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "number":
        return is_number(value)
    each_is: Kind = "text" if kind == "texts" else "number"
    return (
        isinstance(value, list)
        and len(value) <= LONGEST_LIST
        and all((each is None and kind == "numbers or none") or _fits(each, each_is) for each in value)
    )


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else [_plain(each) for each in value] if isinstance(value, list) else value


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
