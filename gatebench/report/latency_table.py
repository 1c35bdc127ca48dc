"""Latency rows as tables on a terminal: claimed, executed and realised side by side, and what the gates cost."""

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..profiling.session import Session
    from ..profiling.timing import Timing


def show(console: Console, sessions: "list[Session]", machine: str) -> None:
    """The tables of every session."""
    for session in sessions:
        plan, timings = session.plan, session.all_timings()
        where = f"{plan.device.type}, {plan.threads} thread{'s' * (plan.threads != 1)}, batch {plan.batch_size}"
        calls, rounds = timings[0].seconds.shape[::-1]
        console.print(latency_table(timings, f"{machine}; {where}; {calls} calls x {rounds} rounds ({timings[0].noisy_rounds} noisy)"))
        if any(timing.gate for timing in timings):
            console.print(gate_table(timings))


def latency_table(timings: "list[Timing]", title: str) -> Table:
    """One line a network and execution; percentiles only where there are inputs enough."""
    ranks = [rank for rank in (50, 90, 99) if any(timing.percentiles[rank] for timing in timings)]
    columns = ("claimed\nskip %", "executed\nsaving %", "realised", *(f"p{rank} ms" for rank in ranks), "speed-up\n(95 %)")
    table = _table(title, columns)
    for timing in timings:
        saved = timing.saved
        table.add_row(
            Text(timing.label + (" (masked)" if timing.execution == "masked" else "")),
            _number(timing.claimed, ".1f", 100),
            _number(saved, ".1f", 100),
            "-" if saved is None else "no saving" if timing.realised is None else f"{timing.realised.value:.2f}",
            *(_number(timing.percentiles[rank].value, ".3f", 1e3) for rank in ranks),
            "-" if timing.speedup is None else f"{timing.speedup.value:.3f}\n{timing.speedup.low:.3f}-{timing.speedup.high:.3f}",
        )  # fmt: skip
    return table


def gate_table(timings: "list[Timing]") -> Table:
    """What deciding costs: one line a gated network."""
    table = _table(
        "the gates: time with all units on and all off over the static twin's, and when they pay",
        ("gate\nms", "all on", "all off", "break-even\nskip %", "cost model\nbase ms", "R2"),
    )
    for timing in timings:
        if timing.gate:
            row = timing.row()
            table.add_row(
                Text(timing.label), f"{row['gate_ms']:.3f}", f"{row['all_on']:.3f}", f"{row['all_off']:.3f}",
                _number(row.get("break_even_skip_pct"), ".1f"), f"{row['cost_base_ms']:.3f}", f"{row['cost_r2']:.2f}",
            )  # fmt: skip
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=Text(title, "italic"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("network", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else format(scale * value, form)
