"""The times of a sweep: all its networks together, one input at a time, while no other timing runs on the machine."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from .. import stages
from ..measure.machine import describe
from ..profiling import session
from ..report.results import Run
from .points import Where

INPUTS, ROUNDS, SECONDS = 64, 20, 90.0
"""Real inputs, rounds at most, and after how many seconds no further round begins."""


def here(device: str, threads: int) -> Where:
    """This machine."""
    return Where(describe(torch.device(device))["name"], device, threads)


def plan(where: Where) -> session.Plan:
    return session.Plan(torch.device(where.device), where.threads, 1, ("sparse",), INPUTS, ROUNDS, SECONDS)


def take(
    runs: Sequence[Run],
    points: Sequence[Sequence[dict]],
    plan: session.Plan,
    data_root: Path,
    after_round: Callable[[int], None],
    finishing: Callable[[], AbstractContextManager],
    wait: Callable[[], None],
) -> bool:
    """Time the headlines of all runs and the `points` of each; returns whether that was interrupted: what was measured is kept.

    The last four arguments, and what is raised, as in `stages.time`.
    """
    folders = [run.folder for run in runs]
    rows = stages.time(folders, [plan], data_root, after_round=after_round, points=points, finishing=finishing, wait=wait)
    return any(row.get("interrupted") for row in rows)
