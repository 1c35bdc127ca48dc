"""The leaderboard: each network once, at its headline operating point, with what it claims, executes and saves in time."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

from ...foreign import plain
from ..groups import Group
from ..quantities import in_order, machine_name, place
from ..results import Run, is_masked, same_point
from .numbers import average, measured, rounded

NOTHING = 1.0
"""Percent of the MACs below which a network executes as much as its reference."""
BADGES = {
    "faster": "The interval of its speed-up lies above 1.",
    "inconclusive": "The interval of its speed-up holds 1.",
    "slower": "The interval of its speed-up lies below 1.",
    "claims only": "It claims a saving and executes none; it was not timed.",
    "not timed": "`gatebench profile-latency` times it.",
    "not compared": "It was timed, beside nothing that it could be faster than.",
    "static": "It has no gates: nothing is decided per input.",
}
"""Verdicts, and what each means."""


@dataclass(frozen=True)
class Timing:
    """What was timed of an entry in one place at one batch size; lists are value, low, high."""

    machine: str
    """With device, runtime and threads: times of two of them do not compare."""
    batch: int
    ms: list[float]
    speedup: list[float] | None
    claimed: float | None
    """Percent, on the timed inputs, as `executed`."""
    executed: float | None
    ranks: list[float | None]
    """p50, p90, p99, ms."""
    over: str
    badge: str
    seeds: int
    """That were timed."""


@dataclass(frozen=True)
class Entry:
    """A line of the leaderboard: a network, of all its seeds or of one."""

    label: str
    dataset: str
    group: Group
    kind: str
    """only: one seed, shown in any case. merged: several. seed: one of several."""
    times: list[Timing] = field(default_factory=list)

    @cached_property
    def accuracy(self) -> list[float]:
        """Percent: mean over seeds, and the interval that fronts have."""
        return measured(self.group, "accuracy")

    @cached_property
    def claimed(self) -> float | None:
        """Percent, on the scored inputs, as `executed`."""
        return average(self.group, "skip_pct") if self.group.row["adaptive"] else None

    @cached_property
    def executed(self) -> float | None:
        ratio = average(self.group, "macs_ratio") if self.group.row["adaptive"] else None
        return None if ratio is None else rounded(100 * (1 - ratio))

    @property
    def badge(self) -> str:
        """Of the first timing that compares it with something; else why there is none."""
        timing = self.compared or next(iter(self.times), None)
        return timing.badge if timing else self.untimed

    @property
    def compared(self) -> Timing | None:
        """The first timing that compares it with something."""
        return next((each for each in self.times if each.speedup), None)

    def seeds_timed(self, timing: Timing) -> str:
        """ "1 of 3 seeds timed"; nothing where all were."""
        seeds = len(self.group.seeds)
        return f"{timing.seeds} of {seeds} seeds timed" if timing.seeds < seeds else ""

    @property
    def untimed(self) -> str:
        if not self.group.row["adaptive"]:
            return "static"
        claims = (self.claimed or 0) >= NOTHING and self.executed is not None and self.executed < NOTHING
        return "claims only" if claims else "not timed"


def entries(groups: list[Group]) -> list[Entry]:
    """Of every group that has a run's headline on images of all severities: by speed-up, then by data set and accuracy."""
    made = []
    for group in groups:
        headline = any(row is run.headline for run, row in zip(group.runs, group.rows, strict=True))
        if not headline or "severity" in group.row:
            continue
        several = len(group.rows) > 1
        made.append(_entry(group, group.label, "merged" if several else "only"))
        for run, row in zip(group.runs, group.rows, strict=True) if several else ():
            made.append(_entry(Group([run], [row], tradeoffs=group.tradeoffs), f"{group.label}, seed {row['seed']}", "seed"))
    return sorted(made, key=_order)


def machine_of(row: dict) -> str:
    """Where a time was taken, without the batch size."""
    return plain(machine_name(place(row)))


def _entry(group: Group, label: str, kind: str) -> Entry:
    return Entry(plain(label), plain(group.row["dataset"]), group, kind, _timings(group))


def _order(entry: Entry) -> tuple:
    speedup = entry.compared.speedup[0] if entry.compared else 0.0
    return -speedup, entry.dataset, -entry.accuracy[0], entry.label


def _timings(group: Group) -> list[Timing]:
    """By place; of several in one place that over its own reference."""
    places: dict[tuple, dict[str, tuple[Run, dict]]] = defaultdict(dict)
    for run, point in zip(group.runs, group.rows, strict=True):
        for row in sorted(run.joined_times, key=lambda row: ("speedup" in row, not row.get("vs"))):
            if not is_masked(row) and row["dataset"] == point["dataset"] and same_point(row, point):
                places[place(row)][run.name] = run, row
    return [_timing(list(places[where].values()), group.row["adaptive"]) for where in in_order(places)]


def _timing(members: list[tuple[Run, dict]], gated: bool) -> Timing:
    group = Group([run for run, _ in members], [row for _, row in members])
    speedup = measured(group, "speedup")
    return Timing(
        machine_of(group.row), group.row["batch_size"], measured(group, "latency_ms"), speedup,
        average(group, "timed_claimed_pct"), average(group, "timed_saving_pct"),
        [average(group, f"latency_p{rank}") for rank in (50, 90, 99)], plain(group.row.get("rival", "")), _badge(speedup, gated),
        len(group.seeds),
    )  # fmt: skip


def _badge(speedup: list[float] | None, gated: bool) -> str:
    if speedup is None:
        return "not compared" if gated else "static"
    _, low, high = speedup
    return "faster" if low > 1 else "slower" if high < 1 else "inconclusive"
