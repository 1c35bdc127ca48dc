"""Rows and declared columns read from files that nobody vouches for: checked, or refused with the reason."""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .errors import GatebenchError
from .foreign import Missing, is_number, naming, plain, read_text
from .row import Column, Row, TimeRow

MOST_ROWS = 2_000
MOST_COLUMNS = 40
"""That a family declares."""
LONGEST_LIST = 100
"""Of such a column."""
DECLARATIONS = TypeAdapter(list[Column])
COMMON = frozenset([*Row.model_fields, *TimeRow.model_fields, "run", "seeds", "macs_pct", "saved_pct"]) - {"tradeoff"}
"""Columns that no family may declare again: of rows and of their table. What its trade-off is, it may say."""
OTHER_VERSION = "another version of gatebench? benchmarks/convert_results.py carries over folders of the first one"


def read_rows(path: Path, schema: type[Row] | type[TimeRow], extra: tuple[Column, ...] = ()) -> list[dict]:
    """Lines of the schema as plain dicts: its own columns and those of `extra`, nothing else; absent is what was not measured.

    Raises GatebenchError with the reason where a line is not what the schema or a declared column says.
    """
    lines, name = [line for line in _text(path).splitlines() if line.strip()], plain(path.name)
    if len(lines) > MOST_ROWS:
        raise GatebenchError(f"{name} has {len(lines):,} rows")
    if not lines:
        raise GatebenchError(f"{name} is empty")
    return [_row(line, schema, extra, name) for line in lines]


def read_row(path: Path, schema: type[Row] | type[TimeRow], extra: tuple[Column, ...] = ()) -> dict:
    """The one row that a JSON file holds. Raises as `read_rows`."""
    return _row(_text(path), schema, extra, plain(path.name))


def read_columns(path: Path) -> tuple[Column, ...]:
    """columns.json: what the method's family declares; none where it is missing. Raises GatebenchError where it is damaged."""
    with naming(path):
        try:
            return _columns(read_text(path))
        except Missing:
            return ()


def _text(path: Path) -> str:
    with naming(path):
        try:
            return read_text(path)
        except Missing:
            raise GatebenchError(f"it is not finished ({plain(path.name)} is missing)") from None


def _row(line: str, schema: type[Row] | type[TimeRow], extra: tuple[Column, ...], name: str) -> dict:
    try:
        row = schema.model_validate_json(line, strict=True)
    except ValidationError as error:
        raise GatebenchError(_reason(error, name)) from None
    values = {key: value for key, value in row.__dict__.items() if value is not None}
    undeclared = row.model_extra or {}
    for column in extra:
        for key in (column.name, *(column.interval if column.kind == "number" else ())):
            if undeclared.get(key) is not None:
                values[key] = _fitting(key, undeclared[key], column.kind)
    return {key: _bounded(key, value) for key, value in values.items()}


def _reason(error: ValidationError, name: str) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] == "json_invalid":
        return f"{name} is damaged"
    if problem["type"] == "missing":
        return f"a row of {name} lacks {where} ({OTHER_VERSION})"
    if not where:
        own = problem["type"] == "value_error"
        return f"a row of {name}: {problem['msg'].removeprefix('Value error, ')}" if own else f"a line of {name} is no row"
    said = problem["msg"].removeprefix("Value error, ")
    said = said[:1].lower() + said[1:]
    return f"{plain(where)} = {plain(repr(problem['input'])[:40])} in {name}: {plain(said)}"


def _bounded(key: str, value: Any) -> Any:
    """The same value, its texts printable. Raises GatebenchError for numbers that cannot be computed with."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_bounded(key, each) for each in value]
    if value is not None and not isinstance(value, bool) and not is_number(value):
        raise GatebenchError(f"{key} is too large a number")
    return value


def _fitting(key: str, value: Any, kind: str) -> Any:
    """The same value of an extra column. Raises GatebenchError where it is not of the declared kind."""
    if kind in ("texts", "numbers"):
        single = str if kind == "texts" else (int, float, type(None))
        fits = isinstance(value, list) and len(value) <= LONGEST_LIST and all(_is(each, single) for each in value)
    else:
        fits = isinstance(value, bool) if kind == "flag" else _is(value, str if kind == "text" else (int, float))
    if not fits:
        raise GatebenchError(f"{key} = {plain(repr(value)[:40])} does not fit its declaration in columns.json ({kind})")
    return value


def _is(value: Any, kinds: Any) -> bool:
    """Whether it is of these kinds; a finite number where it is a number."""
    return isinstance(value, kinds) and not isinstance(value, bool) and (not isinstance(value, float) or math.isfinite(value))


@lru_cache(maxsize=64)
def _columns(text: str) -> tuple[Column, ...]:
    try:
        columns = DECLARATIONS.validate_json(text, strict=True)
    except ValidationError:
        raise GatebenchError("columns.json is damaged") from None
    names = [column.name for column in columns]
    if len(names) > MOST_COLUMNS:
        raise GatebenchError(f"columns.json declares {len(names)} columns")
    for name in names:
        if name in COMMON or names.count(name) > 1:
            raise GatebenchError(f"columns.json declares {name}, which there is already")
    texts = ("meaning", "unit", "heading")
    return tuple(column.model_copy(update={key: plain(getattr(column, key)) for key in texts}) for column in columns)
