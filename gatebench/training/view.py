"""What a person sees while a run trains: rate, time left, loss, accuracy and the mean gate of every block.

On a terminal one line lives and moves; elsewhere (a log file, a pipe) every epoch prints one line.
"""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

BARS = "▁▂▃▄▅▆▇█"


class View:
    """Progress on `console` (stderr)."""

    def __init__(self, console: Console, title: str):
        self.console, self.title = console, title
        self.progress: Progress | None = None
        self.next_update = 0.0

    def begin(self, epochs: int, steps: int, done: list[dict]) -> None:
        """Start at epoch `len(done)` of `epochs`, each of `steps` batches."""
        self.epochs, self.steps = epochs, steps
        self.last = done[-1] if done else {}
        if done:
            self.console.print(f"{self.title}: goes on after epoch {len(done)} of {epochs}")
        if self.console.is_terminal and len(done) < epochs:
            self.progress = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[numbers]}"), console=self.console, transient=True,
            )  # fmt: skip
            self.progress.start()
            self.task = self.progress.add_task(self.title, total=epochs * steps, completed=len(done) * steps, numbers="")
        self.epoch_started = time.perf_counter()

    def wants_update(self) -> bool:
        """True at most twice a second: reading a loss waits for the device."""
        if time.perf_counter() < self.next_update:
            return False
        self.next_update = time.perf_counter() + 0.5
        return True

    def update(self, epoch: int, step: int, images: int, means: dict[str, float]) -> None:
        """After `step` batches of an epoch (from 0) over `images` images."""
        if self.progress:
            rate = images / (time.perf_counter() - self.epoch_started)
            gate = f" gate {means['gate']:.2f}" if "gate" in means else ""
            numbers = f"epoch {epoch + 1}/{self.epochs} {rate:,.0f} img/s loss {means['loss']:.3f} train {means['accuracy']:.1f}%{gate}"
            self.progress.update(self.task, completed=epoch * self.steps + step, numbers=numbers + self._last_test())

    def epoch_done(self, row: dict) -> None:
        """After an epoch's row of epochs.csv."""
        self.last = row
        if self.progress:
            self.progress.update(self.task, completed=row["epoch"] * self.steps)
        else:
            self.console.print(
                f"{self.title}: epoch {row['epoch']}/{self.epochs}, {row['images_per_second']:,.0f} img/s, loss {row['train_loss']:.3f},"
                f" train {row['train_accuracy']:.1f}%,{self._last_test()}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
        self.epoch_started = time.perf_counter()

    def end(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None

    def _last_test(self) -> str:
        if not self.last:
            return ""
        gates = [value for name, value in self.last.items() if name.startswith("gate_") and value is not None]
        bars = "".join(BARS[min(7, int(8 * gate))] for gate in gates)
        left = f" time left {self._time_left()}" if not self.progress and self.last["epoch"] < self.epochs else ""
        return f" test {self.last['test_accuracy']:.2f}%" + (f" gates {bars} {sum(gates) / len(gates):.2f}" if gates else "") + left

    def _time_left(self) -> str:
        seconds = (time.perf_counter() - self.epoch_started) * (self.epochs - self.last["epoch"])
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
