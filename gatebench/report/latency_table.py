"""Rows of times as tables, for a terminal and for the report: claimed, executed and realised side by side, and what the gates cost.

Only times of one place compare, so each has tables of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .quantities import number, place, place_name
from .sheet import Sheet


@dataclass(frozen=True)
class Cells:
    """One table: its headings, and a row's cells; a cell is a text, or a value and its interval."""

    headings: tuple[str, ...]
    of: Callable[[dict], tuple[str | tuple[str, str], ...]]


def _latency(row: dict) -> tuple:
    saved, rival = "timed_saving_pct" in row, row.get("rival", "-")
    return (
        row["network"] + (" (masked)" if row["execution"] == "masked" else ""),
        number(row, "timed_claimed_pct", ".1f"),
        number(row, "timed_saving_pct", ".1f"),
        _estimate(row, "realised", ".2f") if not saved or "realised" in row else "no saving",
        *(_estimate(row, f"latency_p{rank}", ".2f" if row["latency_ms"] >= 1 else ".3f") for rank in (50, 90, 99)),
        _estimate(row, "speedup", ".3f"),
        rival,
    )


def _gate(row: dict) -> tuple:
    ends = {f"gate_ms_{end}": _gate_ms(row, end) for end in ("low", "high") if f"gate_price_{end}" in row}
    return (
        row["network"],
        _estimate(row | ends, "gate_ms", ".3f"),
        _estimate(row, "all_on", ".3f"),
        _estimate(row, "all_off", ".3f"),
        number(row, "break_even_skip_pct", ".1f"),
        number(row, "cost_base_ms", ".3f"),
        number(row, "cost_r2", ".2f"),
    )


def _gate_ms(row: dict, end: str) -> float:
    """One end of the interval of `gate_ms`, which is the price of deciding times the time."""
    return (1 - 1 / row[f"gate_price_{end}"]) * row["latency_ms"]


HEADINGS = (
    "network", "claimed skip %", "executed saving %", "realised (95 %)",
    "p50 ms (95 %)", "p90 ms (95 %)", "p99 ms (95 %)", "speed-up (95 %)",
)  # fmt: skip
LATENCY = Cells(HEADINGS, lambda row: _latency(row)[:-1])
LATENCY_OVER = Cells((*HEADINGS, "over"), _latency)
TEXTS = ("network", "gates of", "over")
"""Columns that give way where the terminal is narrow."""
NARROWEST = 13
"""Characters that they keep."""
GATES = Cells(("gates of", "gate ms (95 %)", "all on (95 %)", "all off (95 %)", "break-even skip %", "model base ms", "R2"), _gate)


def show(console: Console, rows: list[dict]) -> None:
    """The tables on a terminal; columns in which nothing was measured are left out."""
    for title, members in _by_place(rows):
        rivals = sorted({row["rival"] for row in members if "rival" in row})
        one = len(rivals) < 2
        _print(console, LATENCY if one else LATENCY_OVER, members, title + (f"; speed-up over {rivals[0]}" if rivals and one else ""))
        gated = [row for row in members if "gate_ms" in row]
        if gated:
            _print(console, GATES, gated, "the gates: time with all units on and all off over the static twin's, and when they pay")


def sheets(rows: list[dict]) -> list[Sheet]:
    """The same tables for the report."""
    made = []
    for index, (title, members) in enumerate(_by_place(rows), start=1):
        made.append(_sheet(f"realised-{index}", f"Claimed, executed, realised: {title}", LATENCY_OVER, members))
        gated = [row for row in members if "gate_ms" in row]
        if gated:
            made.append(_sheet(f"gates-{index}", f"What the gates cost: {title}", GATES, gated))
    return made


def _by_place(rows: list[dict]) -> Iterator[tuple[str, list[dict]]]:
    """Rows that compare, with a title that says where and how much was timed."""
    places = defaultdict(list)
    for row in rows:
        places[place(row)].append(row)
    for where, members in sorted(places.items()):
        counts = sorted({(row["calls"], row["rounds"], row["noisy_rounds"]) for row in members})
        timed = ", ".join(f"{calls} calls x {rounds} rounds ({noisy} noisy)" for calls, rounds, noisy in counts)
        yield f"{place_name(where)}; {timed}", members


def _print(console: Console, cells: Cells, rows: list[dict], title: str) -> None:
    """As wide as the terminal, or as it takes to show every number whole."""
    lines = [["\n".join(each) if isinstance(each, tuple) else each for each in cells.of(row)] for row in rows]
    used = [index for index in range(len(cells.headings)) if index == 0 or any(line[index] != "-" for line in lines)]
    table = Table(title=Text(title, "italic"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    least = len(used) - 1
    for index in used:
        text = cells.headings[index] in TEXTS
        heading = cells.headings[index] if text else cells.headings[index].replace(" ", "\n", 1)
        longest = max(len(part) for each in (heading, *(line[index] for line in lines)) for part in each.split("\n"))
        width = min(longest, NARROWEST) if text else longest
        table.add_column(heading, justify="left" if text else "right", overflow="fold", no_wrap=not text, min_width=width)
        least += width
    for line in lines:
        table.add_row(*(Text(line[index]) for index in used))
    own, console.width = console.width, max(console.width, least)
    console.print(table)
    console.print()
    console.width = own


def _sheet(name: str, title: str, cells: Cells, rows: list[dict]) -> Sheet:
    lines = [tuple(each if isinstance(each, str) else f"{each[0]} ({each[1]})" for each in cells.of(row)) for row in rows]
    return Sheet(name, title, cells.headings, lines)


def _estimate(row: dict, key: str, form: str) -> str | tuple[str, str]:
    """A value, and its interval."""
    if not {key, f"{key}_low", f"{key}_high"} <= set(row):
        return number(row, key, form)
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return format(row[key], form), f"{low:{form}}{'-' if low >= 0 else ' to '}{high:{form}}"
