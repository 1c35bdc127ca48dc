"""A progress bar while networks are timed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..measure.protocol import FEWEST_ROUNDS
from ..words import counted
from .session import FEWEST_CALLS, Plan


@contextmanager
def rounds_bar(
    console: Console, plan: Plan, after_first: Callable[[float], None] = lambda seconds: None
) -> Iterator[Callable[[int], None]]:
    """A bar over the rounds of a session, with their rate and the time left; gives the function to call after each round.

    `after_first` hears how long the first one took.
    """
    title = f"batch {plan.batch_size}, {counted(plan.threads, 'thread')}"
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("rounds"),
        TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=plan.rounds, rate="warming up")
        started = time.perf_counter()

        def after_round(done: int) -> None:
            nonlocal started
            if done == 0:
                started = time.perf_counter()
                return
            each = (time.perf_counter() - started) / done
            if done == 1:
                after_first(each)
            affordable = max(done, int(min(plan.rounds, plan.max_seconds / each)))
            progress.update(task, completed=done, total=affordable, rate=f"{each:.1f} s each")

        yield after_round


def too_long(plan: Plan, calls: int, seconds: float) -> str:
    """That the fewest rounds of `calls` calls, each round of so many seconds, take longer than was allowed; "" where they do not."""
    total, fewest = FEWEST_ROUNDS * seconds, FEWEST_CALLS * plan.batch_size
    if total <= plan.max_seconds:
        return ""
    takes = f"{total / 60:.0f} minutes" if total >= 120 else f"{total:.0f} seconds"
    fewer = max(fewest, int(calls * plan.max_seconds / total) * plan.batch_size)
    mend = f"; --inputs {fewer} takes less" if fewer < calls * plan.batch_size else ""
    inputs = f"{FEWEST_ROUNDS} rounds of {calls * plan.batch_size} inputs"
    return f"{inputs}, the fewest that are timed, take about {takes}, more than --max-seconds {plan.max_seconds:g}{mend}."
