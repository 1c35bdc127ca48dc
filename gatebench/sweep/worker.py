"""A stage of a run on another machine: files in, files and lines out. Knows nothing of Ray."""

import io
import queue
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from ..assignment import Run, load_data, pool_of
from ..changed_code import code_digest
from ..errors import GatebenchError, MissingData, first_line
from ..outputs import answer
from ..runs import RunFolder
from ..stages import evaluate, train
from ..training.view import View
from .parcel import Changes, Parcel, unpack


@dataclass(frozen=True)
class Task:
    """What a worker is to do; its paths are those of the driver."""

    run: Run
    answers: bool
    """Whether only the parents' outputs are wanted, and not the run."""
    data: str
    """Digest of the driver's data."""
    code: str
    """Digest of the driver's code."""


@dataclass(frozen=True)
class News:
    """What a worker tells the driver."""

    line: str | None = None
    """For people."""
    parcel: Parcel | None = None
    failed: str | None = None
    """A sentence; nothing follows."""
    done: bool = False
    """Nothing follows."""


def perform(task: Task, *parcels: Parcel, start: Parcel | None = None) -> Iterator[News]:
    """Do a task on the folders in `parcels`, in a scratch folder that is removed at the end; `start` holds the weights to start from.

    Yields lines as they come, after each epoch what was written, and at the end the rest.
    """
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    stop = threading.Event()
    try:
        with tempfile.TemporaryDirectory(prefix="gatebench-", ignore_cleanup_errors=True) as scratch:
            here = Path(scratch)
            for each in parcels if start is None else (*parcels, start):
                unpack(each, here)
            run = moved(task.run, here, start)
            thread = threading.Thread(target=_report, args=(task, run, news.put, stop), daemon=True)
            thread.start()
            yield from _until_done(news)
    except (GatebenchError, OSError) as error:
        yield News(failed=f"On {socket.gethostname()}: {first_line(error)}")
    finally:
        stop.set()  # a task that was cancelled trains no further


def _until_done(news: "queue.SimpleQueue[News]") -> Iterator[News]:
    """All news up to the last."""
    while True:
        try:
            each = news.get(timeout=1.0)  # now and then it must be possible to cancel it
        except queue.Empty:
            continue
        yield each
        if each.failed or each.done:
            return


def moved(run: Run, out: Path, start: Parcel | None = None) -> Run:
    """The same run with its folder and those of its parents below `out`."""
    parents = {role: moved(each, out) for role, each in run.parents.items()}
    weights = out / start.folder / next(iter(start.files)) if start else None
    return replace(run, folder=RunFolder(out / run.folder.path.name), parents=parents, start=weights)


class Reporter(View):
    """A view whose lines, and what each epoch wrote, go to the driver."""

    def __init__(self, send: Callable[[News], None], changes: Changes, stop: threading.Event):
        super().__init__(Console(file=io.StringIO()), "")
        self.send, self.changes, self.stop = send, changes, stop

    def wants_update(self) -> bool:
        """Raises GatebenchError once nobody waits for the task any more."""
        if self.stop.is_set():
            raise GatebenchError("The task was cancelled.")
        return super().wants_update()

    def say(self, what: str) -> None:
        self.send(News(line=what))

    def epoch_done(self, row: dict) -> None:
        super().epoch_done(row)
        self.send(News(parcel=self.changes.pack()))


def _report(task: Task, run: Run, send: Callable[[News], None], stop: threading.Event) -> None:
    """Do the task; whatever happens, the last news says how it ended."""
    try:
        _check(task, run)
        out = run.folder.path.parent
        changes = Changes(pool_of(run.inside, run.job, out).folder if task.answers else run.folder)
        view = Reporter(send, changes, stop)
        if task.answers:
            answer(run, view)
        else:
            train(run, view)
            evaluate(run, view)
        send(News(parcel=changes.pack(), done=True))
    except GatebenchError as error:
        send(News(failed=str(error).replace(str(run.folder.path.parent), str(task.run.folder.path.parent))))
    except Exception as error:
        send(News(failed=f"this failed unexpectedly on {socket.gethostname()}: {type(error).__name__}: {first_line(error)}."))


def _check(task: Task, run: Run) -> None:
    """Raises GatebenchError where code or data are not the driver's."""
    host = socket.gethostname()
    if code_digest(run.job.recipe["model"]["name"]) != task.code:
        raise GatebenchError(f"gatebench on {host} is not the driver's version. Install the same on all machines of the cluster.")
    try:
        data = load_data(run.job)
    except MissingData as error:
        raise GatebenchError(f"On {host}: {error}") from None
    if data.describe()["digest"] != task.data:
        raise GatebenchError(f"{data.name} below {run.job.data_root} on {host} is not the driver's data. Copy the driver's there.")
