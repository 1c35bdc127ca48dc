"""What else a machine does while something is timed, as Linux accounts for it in /proc. Elsewhere nothing is known.

Sources: proc(5) for stat, Documentation/scheduler/sched-stats.rst of Linux for schedstat. A container sees its own processes alone, and
the processor times of the whole machine.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
BUSY_PROCESS = 0.2
"""Share of a processor from which on a process counts as busy."""
COMPUTES = 0.05
"""Share of a processor from which on one of this process's threads counts as computing."""


@dataclass(frozen=True)
class Surroundings:
    """What else went on between two moments; None where the system does not say."""

    processes: int | None = None
    """Others that were busy."""
    queued: float | None = None
    """Share of the time in which a computing thread of this process waited for a processor, of the thread that waited most."""
    stolen: float | None = None
    """Processor time that the host of a virtual machine kept for others, over the time: 1 is one processor's."""


@dataclass(frozen=True)
class Snapshot:
    """The system's accounts at one moment, in seconds since it was started."""

    moment: float
    processes: dict[tuple[str, str], float]
    """Processor time of every other process, by its number and its start."""
    threads: dict[str, tuple[float, float]]
    """Of every thread of this process: processor time, and time in the queue for a processor."""
    stolen: float | None


def snapshot(proc: Path = PROC) -> Snapshot:
    """The accounts as they stand now; empty where there are none."""
    return Snapshot(time.perf_counter(), dict(_processes(proc)), dict(_threads(proc)), _stolen(proc))


def between(before: Snapshot, after: Snapshot) -> Surroundings:
    """What went on in the meantime."""
    elapsed = after.moment - before.moment
    took = [seconds - before.processes.get(process, 0.0) for process, seconds in after.processes.items()]
    queues = [
        (queued - before.threads.get(thread, (0.0, 0.0))[1]) / elapsed
        for thread, (computed, queued) in after.threads.items()
        if computed - before.threads.get(thread, (0.0, 0.0))[0] > COMPUTES * elapsed
    ]
    accounts = any(computed for computed, _ in after.threads.values())  # a kernel without them gives zeros
    return Surroundings(
        sum(seconds > BUSY_PROCESS * elapsed for seconds in took) if after.processes else None,
        max(queues, default=0.0) if accounts else None,
        None if after.stolen is None or before.stolen is None else (after.stolen - before.stolen) / elapsed,
    )


def _processes(proc: Path) -> Iterator[tuple[tuple[str, str], float]]:
    for folder in proc.glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended
            fields = (folder / "stat").read_text().rpartition(")")[2].split()  # from the third field on; the second is a name in brackets
            yield (folder.name, fields[19]), _ticks(fields[11], fields[12])


def _threads(proc: Path) -> Iterator[tuple[str, tuple[float, float]]]:
    for folder in (proc / "self" / "task").glob("*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            computed, queued, _ = (folder / "schedstat").read_text().split()
            yield folder.name, (int(computed) / 1e9, int(queued) / 1e9)


def _stolen(proc: Path) -> float | None:
    with contextlib.suppress(OSError, IndexError, ValueError):
        return _ticks((proc / "stat").read_text().splitlines()[0].split()[8])
    return None


def _ticks(*counts: str) -> float:
    return sum(map(int, counts)) / os.sysconf("SC_CLK_TCK")
