"""Tables on a page of results/: each stands between `<!-- table: NAME -->` and `<!-- end -->`."""

import re
from collections.abc import Mapping

PART = re.compile(r"(<!-- table: (.*?) -->\n).*?(<!-- end -->)", re.S)
Table = list[list[str]]
"""The headings, then the lines."""


def markdown(lines: Table) -> str:
    head, *rows = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


def with_tables(text: str, tables: Mapping[str, Table]) -> str:
    """The page's text with these tables in their places. Raises KeyError for a place that has none."""
    return PART.sub(lambda part: f"{part[1]}\n{markdown(tables[part[2]])}\n\n{part[3]}", text)
