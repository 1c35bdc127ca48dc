"""Every column of a row, with its unit and meaning, as the schema (`gatebench.row`) has it.

    python -m gatebench.report.columns > docs/columns.md

writes the page of the documentation.
"""

from ..row import Network, Place, Row, TimeRow
from .formats import to_markdown
from .sheet import Heading, Sheet, make_sheet

HEADINGS = (Heading("column", "column"), Heading("unit", "unit"), Heading("meaning", "meaning"))
ENDS = "_low", "_high"
INTRODUCTION = """# Columns

A run folder has its operating points in rows.jsonl and its times in times/*.jsonl, one row a line, one number a cell. A column that is
absent was not measured; it is never 0 for that reason. `gatebench list columns` prints the same tables.

A column X with a 95 % interval has its ends in X_low and X_high. A family declares further columns of its own in columns.json."""


def sheets() -> list[Sheet]:
    """What every row has, then what an operating point has besides, then what a timing has."""
    common = {**Network.model_fields, **Place.model_fields}
    groups = {"every row": common, "operating points": Row.model_fields, "times": TimeRow.model_fields}
    return [
        _sheet(f"Columns of {name}", {key: field for key, field in fields.items() if fields is common or key not in common})
        for name, fields in groups.items()
    ]


def page() -> str:
    """docs/columns.md."""
    return "\n\n".join([INTRODUCTION, *(to_markdown(sheet).replace("**", "## ", 1).replace("**", "", 1) for sheet in sheets())]) + "\n"


def _sheet(title: str, fields: dict) -> Sheet:
    """A line for each column; the ends of an interval are with what they are of."""
    lines = []
    for name, field in fields.items():
        if any(name == other + end for other in fields for end in ENDS):
            continue
        ends = fields.get(f"{name}_low")
        meaning = f"{field.description}; {ends.description}" if ends else field.description
        lines.append((name, (field.json_schema_extra or {}).get("unit"), meaning))
    return make_sheet("columns", title, HEADINGS, lines)


if __name__ == "__main__":
    print(page(), end="")
