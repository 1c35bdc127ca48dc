"""A progress bar while networks are timed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .session import Plan


@contextmanager
def rounds_bar(console: Console, plan: Plan) -> Iterator[Callable[[int], None]]:
    """A bar over the rounds of a session, with their rate and the time left; gives the function to call after each round."""
    title = f"batch {plan.batch_size}, {plan.threads} thread{'s' * (plan.threads != 1)}"
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
            affordable = max(done, int(min(plan.rounds, plan.max_seconds / each)))
            progress.update(task, completed=done, total=affordable, rate=f"{each:.1f} s each")

        yield after_round
