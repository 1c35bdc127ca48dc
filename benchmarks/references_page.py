"""The table of results/references.md: what others reached with the same static networks, beside ours of full width."""

from dataclasses import replace

from pages import Parts, beside

from gatebench.report.comparison import comparison_sheets
from gatebench.report.groups import groups
from gatebench.report.results import Run
from gatebench.report.sheet import Heading, Sheet

SHEET = "independent-references-reproductions"


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    printed = {sheet.name: sheet for sheet in comparison_sheets(groups(runs))}
    sheet = beside([printed[SHEET]], {"accuracy": "accuracy %"}, lambda network: "model.width" not in network)
    return {"beside": replace(sheet, headings=[Heading("row", "elsewhere"), *sheet.headings[1:]])}


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """Nothing more: all of it is in tables/published.csv."""
    return {}
