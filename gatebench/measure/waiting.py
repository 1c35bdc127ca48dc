"""Whether timed calls computed or waited: their processor time beside their wall time.

Rounds that are all slow alike agree with each other, so they cannot show a machine that is busy from beginning to end. A call that waits
for a processor takes wall time and no processor time. Waits for memory are processor time. Shapes: S subjects, R rounds, N inputs.
"""

from dataclasses import dataclass

import numpy as np

from ..words import counted
from .surroundings import Surroundings

BUSY = 0.05
"""Share of the time that calls wait from which on the machine counts as busy; interruptions by the system itself take less."""


@dataclass(frozen=True)
class CallWaits:
    """How much each call of a session waited; not a number where that is unknown, or a call was not made."""

    seconds: np.ndarray
    """Wall time of the calls, [S, R, N]."""
    waited: np.ndarray
    """Seconds of it in which they did not compute, [S, R, N]; below 0 by what a clock cannot resolve."""

    def share(self, subject: int | None = None) -> float | None:
        """Of the time of a subject's calls, or of all, in how much they waited; None where that is unknown."""
        chosen = slice(None) if subject is None else subject
        seconds, waited = self.seconds[chosen], self.waited[chosen]
        total = seconds[~np.isnan(waited)].sum()
        return max(0.0, float(np.nansum(waited) / total)) if total else None

    @property
    def by_round(self) -> np.ndarray:
        """The share of each round, [R]; 0 where that is unknown."""
        return np.nansum(self.waited, axis=(0, 2)) / np.maximum(np.nansum(self.seconds, axis=(0, 2)), 1e-12)


def call_waits(wall: np.ndarray, processor: np.ndarray, threads: int) -> CallWaits:
    """From wall time and processor time, of all threads together, of each call, [S, R, N].

    One thread that does not wait has as much processor time as wall time. That of several says little: threads without work spin for a
    while or sleep, as the call before left them. So there it is unknown.
    """
    return CallWaits(wall, wall - processor if threads == 1 else np.full_like(wall, np.nan))


@dataclass(frozen=True)
class SessionWaits:
    """How much the calls of a session waited, and for whom."""

    calls: float | None
    """Share of their time, from processor times; None where that is unknown."""
    surroundings: Surroundings
    threads: int

    @property
    def share(self) -> float | None:
        """Of the time of all calls."""
        return self.of_calls(self.calls)

    def of_calls(self, share: float | None) -> float | None:
        """Of the time of some calls, from that by their processor times. Of several threads, the system's account of its queues says it."""
        if self.threads == 1:
            return share
        return None if self.surroundings.queued is None else min(1.0, self.surroundings.queued)

    @property
    def busy(self) -> bool:
        """Whether other work kept the calls waiting, rather than themselves: one that sleeps or reads a disk stands in no queue."""
        if self.share is None or self.share <= BUSY:
            return False
        queued, stolen = self.surroundings.queued, self.surroundings.stolen or 0.0
        return queued is None or queued + stolen >= self.share / 2

    @property
    def sentence(self) -> str | None:
        """What to know of these times, and what to do; None where the calls hardly waited."""
        if self.share is None or self.share <= BUSY:
            return None
        said = f"calls waited {100 * self.share:.0f} % of the time"
        if not self.busy:
            return (
                f"{said}, but not for other processes: a network that sleeps or reads files, swapped memory, or a container's limit"
                " on processor time does this"
            )
        if self._by_host:
            cause = f"the host of this virtual machine took {100 * self.surroundings.stolen:.0f} % of a processor's time"
            return f"the machine was busy: {said}; {cause}. Time it at another hour, or on another machine; more repeats do not help"
        return f"the machine was busy: {said}{self._others}. {remedy(self.threads)}"

    @property
    def _by_host(self) -> bool:
        """Whether the host of a virtual machine kept the calls waiting more than the queue did."""
        queued, stolen = self.surroundings.queued, self.surroundings.stolen
        return queued is not None and stolen is not None and stolen > queued

    @property
    def _others(self) -> str:
        count = self.surroundings.processes
        return f"; {counted(count, 'other process is', 'other processes are')} busy" if count else ""

    def record(self) -> dict:
        """For the conditions of the times: shares in percent; what is unknown is left out."""
        found = {"waited_pct": self.share, "queued_pct": self.surroundings.queued, "stolen_pct": self.surroundings.stolen}
        known = {key: round(100 * value, 2) for key, value in found.items() if value is not None}
        counted = {"busy_processes": self.surroundings.processes, "sentence": self.sentence}
        return known | {key: value for key, value in counted.items() if value is not None}


def remedy(threads: int) -> str:
    """What to do on a busy machine."""
    return f"End the other processes{', or give --threads 1' if threads > 1 else ''}; more repeats do not help"
