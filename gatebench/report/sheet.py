"""A table: typed columns and typed cells. Terminal, CSV, JSON, Markdown, LaTeX and HTML are exports of it (`formats`, `terminal`).

For people a cell is one text, with its interval in parentheses. For programs every number has a column of its own: an interval stands
under NAME_low and NAME_high, a range without a value under NAME_from and NAME_to, a standard deviation under NAME_sd, the entries of a
list under NAME_ENTRY.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from ..runs import slug

SHOWN_UNITS = {"share": ("%", 100.0), "MACs": ("M MACs", 1e-6)}
"""Unit of a stored number -> what people see: unit and scale."""


@dataclass(frozen=True)
class Heading:
    """A column."""

    name: str
    """For programs."""
    text: str
    """For people, without the unit."""
    unit: str = ""
    """Of the stored numbers; see `SHOWN_UNITS`."""
    digits: int | None = None
    """Decimals. None: up to six significant digits."""
    signed: bool = False
    """Whether people see a plus sign."""
    parts: tuple[str, ...] = ()
    """Names of the entries, where each cell is a list."""

    @property
    def shown(self) -> str:
        """For people, with the unit."""
        unit, _ = SHOWN_UNITS.get(self.unit, (self.unit, 1.0))
        return f"{self.text} {unit}".strip() if unit in ("", "%") else f"{self.text} ({unit})"


@dataclass(frozen=True)
class Cell:
    """A number or a text, what is known of its precision, and how it is shown."""

    value: float | str | None = None
    low: float | None = None
    """95 % interval; without a value, a range."""
    high: float | None = None
    deviation: float | None = None
    """Standard deviation over seeds."""
    parts: tuple[float | None, ...] = ()
    """A list of numbers instead of one."""
    digits: int | None = None
    """Instead of the heading's."""
    signed: bool = False
    """Besides the heading's."""
    absent: str = "-"
    """What people see where there is no value."""
    text: str = ""
    """What people see instead of the number."""

    @property
    def empty(self) -> bool:
        return self.value is None and self.low is None and all(part is None for part in self.parts)


@dataclass(frozen=True)
class Sheet:
    """A table, made once."""

    name: str
    """Of its file, and its anchor on a page."""
    title: str
    headings: tuple[Heading, ...]
    lines: list[tuple[Cell, ...]]
    note: str = ""
    shared: dict[str, float | str] = field(default_factory=dict)
    """For programs: columns that hold the same in every line, and that people see in the title."""

    @cached_property
    def texts(self) -> list[tuple[str, ...]]:
        """For people: every cell as one text."""
        return [tuple(text_of(cell, heading) for cell, heading in self._cells(line)) for line in self.lines]

    @cached_property
    def columns(self) -> dict[str, str]:
        """For programs: the name of every column that holds anything, and its unit."""
        used = {name for record in self.records for name in record}
        own = {name: heading.unit for heading in self.headings for name in _names(heading) if name in used}
        return dict.fromkeys(self.shared, "") | own

    @cached_property
    def records(self) -> list[dict[str, float | str]]:
        """For programs: what each line holds by column; what was not measured is left out."""
        return [self._record(line) for line in self.lines]

    def as_dict(self) -> dict:
        """For JSON."""
        return {"name": self.name, "title": self.title, "note": self.note, "units": self.columns, "rows": self.records}

    def _cells(self, line: tuple[Cell, ...]) -> Iterable[tuple[Cell, Heading]]:
        return zip(line, self.headings, strict=True)

    def _record(self, line: tuple[Cell, ...]) -> dict[str, float | str]:
        values = dict(self.shared)
        for cell, heading in self._cells(line):
            ends = (cell.low, cell.high)
            intervals = (None, None, *ends) if cell.value is None else (*ends, None, None)
            numbers = cell.parts if heading.parts else (cell.value, cell.deviation, *intervals)
            values |= dict(zip(_names(heading), numbers, strict=False))
        return {name: value for name, value in values.items() if value not in (None, "")}


def make_sheet(
    name: str, title: str, headings: Iterable[Heading], lines: Iterable[Iterable], note: str = "", **shared: float | str
) -> Sheet:
    """A sheet of plain numbers, texts, None and Cells, without the columns in which nothing stands."""
    headings = tuple(headings)
    rows = [tuple(each if isinstance(each, Cell) else Cell(each) for each in line) for line in lines]
    used = [index for index in range(len(headings)) if any(not row[index].empty or row[index].absent not in ("-", "") for row in rows)]
    return Sheet(name, title, tuple(headings[index] for index in used), [tuple(row[index] for index in used) for row in rows], note, shared)


def shown(cell: Cell, heading: Heading) -> tuple[str, tuple[str, ...]]:
    """What people see of a cell, and both ends of its interval, if it has one."""
    digits = heading.digits if cell.digits is None else cell.digits
    _, scale = SHOWN_UNITS.get(heading.unit, (heading.unit, 1.0))
    sign = "+" if heading.signed or cell.signed else ""

    def number(value: float) -> str:
        value = scale * value
        if digits is None:
            return f"{value:{sign}g}"
        thousands = "," if digits == 0 and abs(value) >= 10_000 else ""
        return f"{value:{sign}{thousands}.{digits}f}" if sign else f"{round(value, digits) + 0.0:{thousands}.{digits}f}"  # no -0.0

    if cell.text:
        return cell.text, ()
    if cell.parts:
        return " / ".join(cell.absent if part is None else number(part) for part in cell.parts), ()
    if isinstance(cell.value, str):
        return cell.value, ()
    ends = () if cell.low is None or cell.high is None else (number(cell.low), number(cell.high))
    if cell.value is None:
        return " to ".join(ends) or cell.absent, ()
    deviation = f" ± {scale * cell.deviation:.{digits or 0}f}" if cell.deviation is not None else ""
    return number(cell.value) + deviation, ends


def text_of(cell: Cell, heading: Heading) -> str:
    """What people see of a cell as one text."""
    value, ends = shown(cell, heading)
    return f"{value} ({' to '.join(ends)})" if ends else value


def _names(heading: Heading) -> tuple[str, ...]:
    """For programs; of a value its own, deviation, both ends of its interval, and both of a range."""
    if not heading.parts:
        return tuple(heading.name + end for end in ("", "_sd", "_low", "_high", "_from", "_to"))
    names = [slug(part).replace("-", "_") for part in heading.parts]
    if not all(names) or len(set(names)) < len(names):
        names = [str(number) for number in range(1, len(names) + 1)]
    return tuple(f"{heading.name}_{name}" for name in names)
