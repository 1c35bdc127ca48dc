"""Rows of times as tables, for a terminal and for the report: claimed, executed and realised side by side, and what the gates cost.

Only times of one place compare, so each has tables of its own.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator

from rich.console import Console

from ..words import counted
from . import terminal
from .quantities import PLACE, estimate, in_order, place, place_name
from .results import in_torch, is_masked
from .sheet import Cell, Heading, Sheet, make_sheet

TIMES = (
    Heading("network", "network"), Heading("timed_claimed_pct", "claimed skip", "%", 1),
    Heading("timed_macs_executed", "executed", "MACs", 3), Heading("timed_macs", "least to most", "MACs", 3),
    Heading("timed_saving_pct", "executed saving", "%", 1), Heading("realised", "realised (95 %)", digits=2),
    Heading("dispatch_efficiency", "dispatch efficiency (95 %)", digits=2),
    *(Heading(f"latency_p{rank}", f"p{rank} ms (95 %)", digits=2) for rank in (50, 90, 99)),
    Heading("rival_ms", "twin or rival ms (95 %)", digits=2), Heading("speedup", "speed-up (95 %)", digits=3), Heading("rival", "over"),
    Heading("layout", "layout"), Heading("accuracy", "accuracy", "%", 2), Heading("scored_in", "accuracy in"),
)  # fmt: skip
GATES = (
    Heading("network", "gates of"), Heading("gate_ms", "gate ms (95 %)", digits=3), Heading("all_on", "all on (95 %)", digits=3),
    Heading("all_off", "all off (95 %)", digits=3), Heading("break_even_skip_pct", "break-even skip", "%", 1),
    Heading("cost_base_ms", "model base ms", digits=3), Heading("cost_r2", "R2", digits=2),
)  # fmt: skip
RUNTIMES = (
    Heading("network", "network"), Heading("runtime", "runtime"), Heading("latency_ms", "ms (95 %)", digits=3),
    Heading("rival_ms", "twin or rival ms (95 %)", digits=3), Heading("timed_saving_pct", "executed saving", "%", 1),
    Heading("speedup", "speed-up (95 %)", digits=2), Heading("realised", "realised (95 %)", digits=2),
    Heading("all_on", "all on (95 %)", digits=3),
    Heading("speedup_fastest", "over the twin in its fastest (95 %)", digits=2), Heading("rival_fastest", "which is"),
)  # fmt: skip
EXPLAINS = 0.5
"""Explained share of the variance below which a cost model is not shown."""


def show(console: Console, rows: list[dict]) -> None:
    """The tables on a terminal, from rows of times; what speed-ups are over is in the title where it is the same for all."""
    for sheet in _in_runtimes(rows):
        terminal.show(console, sheet)
    for title, members in _by_place(filter(in_torch, rows)):
        rivals = {row["rival"] for row in members if "rival" in row}
        over = f"; speed-up over {rivals.pop()}" if len(rivals) == 1 else ""
        terminal.show(console, _times("times", title + over, members, name_rivals=not over))
        gated = [row for row in members if "gate_ms" in row]
        if gated:
            note = "the gates: time with all units on and all off over the static twin's, and when they pay"
            terminal.show(console, _gates("gates", note, gated))


def sheets(rows: list[dict]) -> list[Sheet]:
    """The same tables for the report; with accuracy for rows that were joined with their operating point."""
    made = _in_runtimes(rows)
    for index, (title, members) in enumerate(_by_place(filter(in_torch, rows)), start=1):
        made.append(_times(f"realised-{index}", f"Claimed, executed, realised: {title}", members))
        gated = [row for row in members if "gate_ms" in row]
        if gated:
            made.append(_gates(f"gates-{index}", f"What the gates cost: {title}", gated))
    return made


def _in_runtimes(rows: list[dict]) -> list[Sheet]:
    """A table for each machine, of networks that were timed in other runtimes, and in torch in the same session."""
    machines = defaultdict(list)
    sessions = {_session(row) for row in rows if not in_torch(row)}
    for row in rows:
        if _session(row) in sessions and not is_masked(row):
            machines[row["machine"], row["threads"]].append(row)
    return [
        make_sheet(
            f"runtimes-{number}", f"In every runtime: {machine}, {counted(threads, 'thread')}, one image at a time", RUNTIMES,
            map(_runtime_line, members), _findings(members), machine=machine, threads=threads,
        )
        for number, ((machine, threads), members) in enumerate(machines.items(), start=1)
    ]  # fmt: skip


def _session(row: dict) -> tuple:
    return row["network"], row.get("when"), row["threads"], row["batch_size"]


def _runtime_line(row: dict) -> tuple:
    return (
        row["network"], row["runtime"], estimate(row, "latency_ms"), estimate(row, "rival_ms"), row.get("timed_saving_pct"),
        *(estimate(row, key) for key in ("speedup", "realised", "all_on", "speedup_fastest")), row.get("rival_fastest"),
    )  # fmt: skip


def _by_place(rows: Iterable[dict]) -> Iterator[tuple[str, list[dict]]]:
    """Rows that compare, with a title that says where and how much was timed."""
    places = defaultdict(list)
    for row in rows:
        places[place(row)].append(row)
    for where in in_order(places):
        members = places[where]
        counts = sorted({(row["calls"], row["rounds"], row["noisy_rounds"]) for row in members})
        timed = ", ".join(f"{calls} calls x {rounds} rounds ({noisy} noisy)" for calls, rounds, noisy in counts)
        yield f"{place_name(where)}; {timed}", members


def _times(name: str, title: str, rows: list[dict], name_rivals: bool = True) -> Sheet:
    own = [(row["network"], row["uncounted"]) for row in rows if row.get("uncounted")]
    rivals = [(row.get("rival", "the rival"), row["rival_uncounted"]) for row in rows if row.get("rival_uncounted")]
    named = dict.fromkeys(f"{network} ({', '.join(operations)})" for network, operations in own + rivals)
    note = f"Executed MACs are not counted: {', '.join(named)}." if named else ""
    if all("recipe" in row for row in rows):  # gatebench's own are channels_last
        rows = [{**row, "layout": None} for row in rows]
    note = "\n".join(filter(None, [note, _findings(rows)]))
    return make_sheet(name, title, TIMES, (_time_line(row, name_rivals) for row in rows), note, **_where(rows))


def _findings(rows: list[dict]) -> str:
    in_runtime = {id(row): "" if in_torch(row) else f" in {row['runtime']}" for row in rows}
    return "\n".join(f"{row['network']}{in_runtime[id(row)]}: {finding}." for row in rows for finding in row.get("timed_audit", ()))


def _time_line(row: dict, name_rival: bool) -> tuple:
    no_saving = "timed_saving_pct" in row and "dispatch_efficiency" not in row
    mean = row.get("timed_macs_executed") if "timed_macs_least" in row else None  # older rows have their mean in another table
    executed = Cell(mean, absent="not counted" if row.get("uncounted") else "-")
    saving = Cell(row.get("timed_saving_pct"), absent="not counted" if row.get("uncounted") or row.get("rival_uncounted") else "-")
    digits = 2 if row["latency_ms"] >= 1 else 3
    return (
        row["network"] + " (masked)" * is_masked(row) + " (interrupted)" * row.get("interrupted", False),
        row.get("timed_claimed_pct"), executed, _over_inputs(row), saving,
        estimate(row, "realised", absent="no saving" if no_saving else "-"), estimate(row, "dispatch_efficiency"),
        *(estimate(row, f"latency_p{rank}", digits=digits) for rank in (50, 90, 99)),
        estimate(row, "rival_ms", digits=digits), estimate(row, "speedup"),
        row.get("rival") if name_rival else None, row.get("layout"), row.get("accuracy"), row.get("scored_in"),
    )  # fmt: skip


def _over_inputs(row: dict) -> Cell:
    """Executed MACs of the calls with fewest and most."""
    least, most = (row.get(f"timed_macs_{end}") for end in ("least", "most"))
    if least is None or most is None:
        return Cell()
    return Cell("the same") if math.isclose(least, most) else Cell(low=least, high=most)


def _gates(name: str, title: str, rows: list[dict]) -> Sheet:
    return make_sheet(name, title, GATES, map(_gate_line, rows), **_where(rows))


def _where(rows: list[dict]) -> dict[str, float | str]:
    """The place of rows that share it."""
    return {key: rows[0][key] for key in PLACE if key in rows[0]}


def _gate_line(row: dict) -> tuple:
    low, high = (_gate_ms(row, end) for end in ("low", "high"))
    return (
        row["network"], Cell(row["gate_ms"], low, high), estimate(row, "all_on"), estimate(row, "all_off"),
        row.get("break_even_skip_pct"), *((row["cost_base_ms"], row["cost_r2"]) if row.get("cost_r2", 0) >= EXPLAINS else (None, None)),
    )  # fmt: skip


def _gate_ms(row: dict, end: str) -> float | None:
    """One end of the interval of `gate_ms`, which is the price of deciding times the time."""
    price = row.get(f"gate_price_{end}")
    return None if not price else (1 - 1 / price) * row["latency_ms"]
