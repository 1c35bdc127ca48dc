"""What a person sees while a run trains: rate, time left, loss, accuracy and the mean gate of every block.

On a terminal two lines live and move; elsewhere (a log file, a pipe) every epoch prints one line.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ..words import counted

BARS = "▁▂▃▄▅▆▇█"


class View:
    """Progress of one run on `console` (stderr)."""

    def __init__(self, console: Console, title: str, at_work: Callable[[], object] = lambda: None):
        """`at_work` is called where training or counted work begins."""
        self.console, self.title, self.at_work = console, title, at_work
        self.live: Live | None = None
        self.next_update = 0.0

    def begin(self, epochs: int, steps: int, scored: str, done: list[dict]) -> None:
        """Start after the epochs `done` (rows of epochs.csv) of `epochs`, each of `steps` batches; `scored` names the scored split."""
        self.at_work()
        self.epochs, self.steps, self.scored, self.last = epochs, steps, scored, done[-1] if done else {}
        if done:
            self.say(f"goes on after epoch {len(done)} of {epochs}")
        if not self.console.is_terminal and not done:
            self.say(f"trains for {counted(epochs, 'epoch')}, of {counted(steps, 'batch', 'batches')} each")
        if self.console.is_terminal and len(done) < epochs:
            self.numbers = Text(no_wrap=True, overflow="ellipsis")
            self.progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("batches"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.task = self.progress.add_task(self.title, total=epochs * steps, completed=len(done) * steps)
            self.live = Live(Group(self.progress, self.numbers), console=self.console, transient=True)
            self.live.start()
        self.epoch_started = time.perf_counter()

    def say(self, what: str) -> None:
        """A line about the run."""
        self.console.print(f"{self.title}: {what}", markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def counting(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Work besides training: yields what is called with the number of units that are done; bar, rate and time left on a terminal.

        `unit` is the name of one, such as "image".
        """
        self.at_work()
        if not self.console.is_terminal:
            self.say(f"{what}: {counted(total, unit)}")
            yield lambda done: None
            return
        columns = TextColumn("{task.description}", markup=False), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn(f"{unit}s")
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True) as progress:
            task = progress.add_task(f"{self.title}: {what}", total=total)
            yield lambda done: progress.update(task, completed=done)

    def wants_update(self) -> bool:
        """True at most twice a second: reading a loss waits for the device."""
        if time.perf_counter() < self.next_update:
            return False
        self.next_update = time.perf_counter() + 0.5
        return True

    def update(self, epoch: int, step: int, images: int, means: dict[str, float]) -> None:
        """After `step` batches of an epoch (from 0) over `images` images."""
        if self.live:
            rate = images / (time.perf_counter() - self.epoch_started)
            gate = f", gate {means['gate']:.2f}" if "gate" in means else ""
            self.progress.update(self.task, completed=epoch * self.steps + step)
            self.numbers.plain = (
                f"epoch {epoch + 1}/{self.epochs}, {rate:,.0f} img/s, loss {means['loss']:.3f},"
                f" train {means['accuracy']:.1f} %{gate}{self._last_score()}"
            )

    def epoch_done(self, row: dict) -> None:
        """After an epoch's row of epochs.csv."""
        self.last = row
        if self.live:
            self.progress.update(self.task, completed=row["epoch"] * self.steps)
        else:
            left = f", {self._time_left()} left" if row["epoch"] < self.epochs else ""
            self.say(
                f"epoch {row['epoch']}/{self.epochs}, {row['images_per_second']:,.0f} img/s, loss {row['train_loss']:.3f},"
                f" train {row['train_accuracy']:.1f} %{self._last_score()}{left}"
            )
        self.epoch_started = time.perf_counter()

    def end(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def _last_score(self) -> str:
        """The last epoch's accuracy on the scored split, and a bar for the mean gate of every unit."""
        if not self.last:
            return ""
        gates = [value for name, value in self.last.items() if name.startswith("gate_")]
        bars = "".join(BARS[min(7, int(8 * gate))] for gate in gates)
        score = self.last.get(f"{self.scored}_accuracy")
        line = f", {self.scored} {score:.2f} %" if score is not None else ""
        return line + (f", gates {bars} {sum(gates) / len(gates):.2f}" if gates else "")

    def _time_left(self) -> str:
        seconds = (time.perf_counter() - self.epoch_started) * (self.epochs - self.last["epoch"])
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
