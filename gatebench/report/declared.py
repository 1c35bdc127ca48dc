"""Columns that a family declares, as tables show them: by kind and unit alone."""

from collections.abc import Iterable

from ..row import TRADEOFF, Column
from .groups import Group, tradeoff_text
from .quantities import estimate, mean, spread
from .sheet import Cell, Heading

MOST_ENTRIES = 12
"""Of a list that are shown."""


def heading_of(column: Column, rows: Iterable[dict]) -> Heading:
    """Its heading over these rows; a list has as many entries as the longest, named as the shares where it has as many as those."""
    parts: tuple[str, ...] = ()
    text = column.heading
    if column.kind == "numbers":
        rows = list(rows)
        count = max((len(row.get(column.name, ())) for row in rows), default=0)
        names = next((row["share_names"] for row in rows if "share_names" in row and len(row["share_names"]) == count), None)
        parts = tuple(names or map(str, range(1, count + 1)))[:MOST_ENTRIES]
        text += f" ({' / '.join(parts)})" if parts else ""
    return Heading(column.name, text, column.unit, column.digits, column.signed, parts)


def tradeoff_heading(columns: Iterable[Column]) -> Heading:
    """Of the trade-offs of networks, each as its family declares it; "trade-off" where families differ: the cells then say what it is."""
    different = {(column.heading, column.unit, column.digits) for column in columns}
    (heading, unit, digits), *others = different or {(TRADEOFF.heading, "", None)}
    return Heading("tradeoff", TRADEOFF.heading) if others else Heading("tradeoff", heading, unit, digits)


def tradeoff_cell(heading: Heading, column: Column, values: tuple[float, ...]) -> Cell:
    """From the least to the most where several led to one operating point."""
    if not values:
        return Cell()
    text = tradeoff_text(column, values) if heading.text != column.heading else ""
    return Cell(values[0], text=text) if len(values) == 1 else Cell(low=min(values), high=max(values), text=text)


def cell_of_group(column: Column, heading: Heading, group: Group) -> Cell:
    """Means over seeds, of numbers with their spread; of texts and flags the first seed's."""
    if column.kind == "number":
        return spread(group, column.name)
    if column.kind == "numbers":
        return _list([mean(group, f"{column.name}.{number}") for number in range(len(heading.parts))])
    return _text(group.row.get(column.name))


def cell_of_row(column: Column, heading: Heading, row: dict) -> Cell:
    """A single row's; a number with its interval, if it has one."""
    value = row.get(column.name)
    if value is None or column.kind not in ("number", "numbers"):
        return _text(value)
    if column.kind == "numbers":
        return _list((value + [None] * len(heading.parts))[: len(heading.parts)])
    return estimate(row, column.name)


def shares_heading(rows: Iterable[dict]) -> Heading:
    """Shares of the inputs by destination: all destinations that these rows name."""
    names = tuple(dict.fromkeys(name for row in rows for name in row.get("share_names", ())))[:MOST_ENTRIES]
    return Heading("shares", " / ".join(names), "share", 1, parts=names)


def shares_of_group(heading: Heading, group: Group) -> Cell:
    """Means over seeds."""
    names = group.row.get("share_names", [])
    return _list([mean(group, f"shares.{names.index(name)}") if name in names else None for name in heading.parts])


def shares_of_row(heading: Heading, row: dict) -> Cell:
    """A single row's."""
    shares = dict(zip(row.get("share_names", ()), row.get("shares", ()), strict=False))
    return _list([shares.get(name) for name in heading.parts])


def _list(values: list[float | None]) -> Cell:
    return Cell(parts=tuple(values)) if any(value is not None for value in values) else Cell()


def _text(value: str | bool | list[str] | None) -> Cell:
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    return Cell("; ".join(value) if isinstance(value, list) else value)
