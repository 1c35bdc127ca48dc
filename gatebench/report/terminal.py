"""Sheets on a terminal: as wide as it is, or as it takes to show every number whole."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .sheet import Cell, Heading, Sheet, shown

NARROWEST = 13
"""Characters that a column of texts keeps where the terminal is narrow; more where a word is longer."""


def show(console: Console, sheet: Sheet) -> None:
    """Print the sheet; intervals stand below their values, texts give way where there is little room."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    columns = list(zip(*sheet.lines, strict=True)) or [()] * len(sheet.headings)
    texts = []
    least = len(columns) - 1
    for heading, cells in zip(sheet.headings, columns, strict=True):
        is_text = any(isinstance(cell.value, str) or cell.text for cell in cells)
        texts.append([_lines(cell, heading) for cell in cells])
        title = heading.shown if is_text else _wrapped(heading)
        longest = max(len(part) for part in (*title.split("\n"), *(part for cell in texts[-1] for part in cell.split("\n"))))
        width = min(longest, max(NARROWEST, *map(len, " ".join([title, *texts[-1]]).split()))) if is_text else longest
        table.add_column(Text(title), justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text, min_width=width)
        least += width
    for line in zip(*texts, strict=True):
        table.add_row(*map(Text, line))
    console.print(Text(sheet.title, "italic"))
    own, console.width = console.width, max(console.width, least)
    console.print(table)
    console.width = own
    if sheet.note:
        console.print(Text(sheet.note))
    console.print()


def _wrapped(heading: Heading) -> str:
    """The heading of a column of numbers on lines of its own: the entries of a list, or the first word."""
    return heading.shown.replace(" / ", " /\n") if heading.parts else heading.shown.replace(" ", "\n", 1)


def _lines(cell: Cell, heading: Heading) -> str:
    value, ends = shown(cell, heading)
    return "\n".join([value, *([("-" if ends[0][0].isdigit() else " to ").join(ends)] if ends else [])])
