"""Networks timed together under one or several plans; whatever happens, what was measured is written, once."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from pathlib import Path

from ..errors import GatebenchError
from ..measure.machine import describe
from ..runs import RunFolder, Unwritable
from . import record, session
from .exported import Files
from .networks import Network


class Together:
    """Timings of several networks: `with Together(...) as timings: timings.run(plan)`; on leaving, every network's times are written."""

    def __init__(
        self,
        networks: list[Network],
        rival: Network | None,
        plans: Sequence[session.Plan],
        out: Path | None = None,
        finishing: Callable[[], AbstractContextManager] = nullcontext,
        say: Callable[[str], None] = lambda sentence: None,
        shown: bool = False,
    ):
        """`out`: where to write instead of the runs' own folders. What is measured is gathered and written inside `finishing`, which may
        hold off Ctrl-C and give a list of such. `say` hears which folder another process is writing. Where times are `shown`, a run whose
        folder cannot be written is timed all the same, and said. Raises as `session.calls` and `record.folders`."""
        for plan in plans:
            session.calls(networks, plan)
        self.networks, self.rival, self.plans = networks, rival, plans
        self.folders = record.folders(networks, out)
        self.finishing, self.started, self.interrupted = finishing, datetime.now(timezone.utc), False
        self.say, self.shown = say, shown
        self.written: list[record.Destination] = []
        self.sessions: list[session.Session] = []
        self.measured: list[list[list[dict]]] = []
        """Rows of each session, of each network."""
        self.destinations: dict[int, record.Destination] = {}

    @property
    def rows(self) -> list[dict]:
        """Of all networks, session by session."""
        return [row for session in self.measured for rows in session for row in rows]

    @property
    def by_network(self) -> list[list[dict]]:
        """Rows of each network, of each session."""
        return [rows for session in self.measured for rows in session]

    def __enter__(self) -> "Together":
        self.files = Files()
        machine = describe(self.plans[0].device)["name"]
        try:
            for index, folder in enumerate(self.folders):
                if folder:
                    self._reserve(index, folder, machine)
        except BaseException:
            self._release()
            raise
        return self

    def _reserve(self, index: int, folder: RunFolder, machine: str) -> None:
        try:
            self.destinations[index] = record.reserve(folder, machine, self.started, self.say)
        except Unwritable as error:
            if not self.shown:
                raise
            self.say(f"the times of {self.networks[index].label} will be shown, but not kept. {error}")

    def _release(self) -> None:
        for destination in self.destinations.values():
            destination.release()

    def run(self, plan: session.Plan, after_round: Callable[[int], None] = lambda done: None) -> session.Session:
        """Time all networks under a plan; its rows are then in `rows`."""
        measured = session.run(self.networks, self.rival, plan, after_round, self.files)
        with self.finishing() as interruptions:
            self.sessions.append(measured)
            self.measured.append([record.rows(measured, index) for index in range(len(self.networks))])
        self.interrupted = measured.times.interrupted or bool(interruptions)
        return measured

    def __exit__(self, *error) -> None:
        self.files.remove()
        if not self.rows:
            self._release()
            return
        unwritten: list[GatebenchError] = []
        with self.finishing() as interruptions:
            for index, destination in self.destinations.items():
                try:
                    rows = [row for session in self.measured for row in session[index]]
                    record.write(self.sessions, index, destination, rows, self.say)
                    self.written.append(destination)
                except GatebenchError as each:  # the others' are written
                    unwritten.append(each)
        self.interrupted |= bool(interruptions)
        if unwritten:
            raise unwritten[0]
