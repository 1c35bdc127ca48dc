"""Every column of a row, with its unit and meaning: as the schema (`gatebench.row`) has it, as families declare it, and of results.csv.

    python -m gatebench.report.columns > docs/columns.md

writes the page of the documentation.
"""

from collections.abc import Sequence

from ..models import registry
from ..row import Column, Network, Place, Row, TimeRow
from .flat import EXTRA
from .formats import to_markdown
from .sheet import Heading, Sheet, make_sheet

Line = tuple[str, str, str]
"""Name, unit and meaning."""
HEADINGS = (Heading("column", "column"), Heading("unit", "unit"), Heading("meaning", "meaning"))
ENDS = "_low", "_high"
INTRODUCTION = """# Columns

A run folder has its operating points in rows.jsonl and its times in times/*.jsonl, one row a line, one number a cell. A column that is
absent was not measured; it is never 0 for that reason. `gatebench list columns` prints the same tables.

A column X with a 95 % interval has its ends in X_low and X_high. Rows of a family have columns of its own besides; what a package adds
is declared in columns.json of its runs."""
LISTS = "A list has a column for each entry: shares_exit_1, thresholds_1."


def sheets() -> list[Sheet]:
    """What every row has, what an operating point has besides, and a timing; what families declare; what tables for programs add."""
    common = {**Network.model_fields, **Place.model_fields}
    groups = {"every row": common, "operating points": Row.model_fields, "times": TimeRow.model_fields}
    made = [
        _sheet(name, [_of_schema(key, field) for key, field in fields.items() if fields is common or key not in common])
        for name, fields in groups.items()
    ]
    made += [_sheet(", ".join(models), lines) for lines, models in _families().items()]
    return [*made, _sheet("results.csv and times.csv, besides", [(name, "", meaning) for name, meaning in EXTRA.items()], LISTS)]


def page() -> str:
    """docs/columns.md."""
    return "\n\n".join([INTRODUCTION, *(to_markdown(sheet).replace("**", "## ", 1).replace("**", "", 1) for sheet in sheets())]) + "\n"


def _families() -> dict[tuple[Line, ...], list[str]]:
    """Declared columns -> the models that have them; gatebench's own, and none of packages that would have to be imported."""
    families: dict[tuple[Line, ...], list[str]] = {}
    for name in registry.list_models():
        entry = registry.registered(name)
        if entry and (entry.columns or entry.tradeoffs):
            by_setting = [_declared(column, f"; where {setting} is the trade-off") for setting, column in entry.tradeoffs.items()]
            families.setdefault((*by_setting, *map(_declared, entry.columns)), []).append(name)
    return families


def _declared(column: Column, where: str = "") -> Line:
    return column.name, column.unit, column.meaning + where


def _of_schema(name: str, field) -> Line:
    return name, (field.json_schema_extra or {}).get("unit", ""), field.description


def _sheet(name: str, lines: Sequence[Line], note: str = "") -> Sheet:
    """The ends of an interval are with what they are of."""
    meanings = {column: meaning for column, _, meaning in lines}
    shown = []
    for column, unit, meaning in lines:
        if not any(column == other + end for other in meanings for end in ENDS):
            interval = meanings.get(f"{column}_low")
            shown.append((column, unit or None, f"{meaning}; {interval}" if interval else meaning))
    return make_sheet("columns", f"Columns of {name}", HEADINGS, shown, note)


if __name__ == "__main__":
    print(page(), end="")
