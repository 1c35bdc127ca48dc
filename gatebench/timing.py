"""Timing of finished runs, while no other timing runs on the machine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .assignment import Assignment, Run
from .measure.conditions import Conditions
from .measure.exclusive import alone
from .outputs import POOL_IS_SHARED
from .plan import Job
from .runs import RunFolder
from .training.view import View

if TYPE_CHECKING:
    from .profiling import session

INPUTS, ROUNDS, SECONDS = 64, 20, 90.0
"""Of what is timed for a sweep, or for a router: real inputs, rounds at most, and after how many seconds no further round begins."""


def one_by_one(conditions: Conditions) -> "session.Plan":
    """One input at a time, under these conditions."""
    from .profiling import session  # takes its time, and where all was timed before it is not needed

    return session.Plan(torch.device(conditions.device), conditions.threads, 1, ("sparse",), INPUTS, ROUNDS, SECONDS)


def complete(job: Job, assigned: Assignment, view: Callable[[str], View]) -> Run:
    """The run of a job whose parents are done, which are timed where its recipe wants that.

    All together, one input at a time, while no other timing runs on this machine.
    """
    if not job.parsed.measured:
        return assigned.add(job)
    pool, shown = assigned.pool(job), view(f"times of {', '.join(job.parents)}")
    with pool.folder.locked(POOL_IS_SHARED):
        times = pool.times(assigned.conditions)  # by another process meanwhile
        if times is None:
            with shown.counting("timed", ROUNDS, "round") as done:
                rows = time(
                    list(pool.members.values()), one_by_one(assigned.conditions), Path(job.data_root), after_round=done, wait=shown.say
                )
            if any(row["interrupted"] for row in rows):  # times of a few rounds would decide the numbers of every router
                raise KeyboardInterrupt
            times = pool.store_times(assigned.conditions, [row["latency_ms"] for row in rows])
    shown.say(", ".join(f"{role} {each:g} ms" for role, each in zip(pool.members, times, strict=True)))
    return assigned.add(job, times)


def time(
    folders: Sequence[RunFolder],
    plan: "session.Plan",
    data_root: Path,
    after_round: Callable[[int], None] = lambda done: None,
    points: Sequence[Sequence[dict]] = (),
    finishing: Callable[[], AbstractContextManager] = nullcontext,
    wait: Callable[[str], None] = lambda sentence: None,
) -> list[dict]:
    """Time finished runs together, each beside its static twin, while no other timing runs on this machine; writes and returns the rows.

    `points` are the rows of each run that are timed besides its headline. `after_round` is called with the number of rounds that are
    done, `wait` with a sentence where another process has to end first; `finishing` as in `profiling.together.Together`. Raises as
    `profiling.networks.Loader.enter`.
    """
    from .profiling.networks import Loader
    from .profiling.together import Together

    loader = Loader(data_root)
    networks = loader.enter([str(folder.path) for folder in folders])
    networks += [network.at(row) for network, rows in zip(networks, points, strict=False) for row in rows]
    with alone(wait), Together(networks, None, [plan], finishing=finishing, say=wait) as timings:
        timings.run(plan, after_round)
    return timings.rows
