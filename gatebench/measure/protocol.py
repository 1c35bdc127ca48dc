"""How subjects are timed so that their times can be compared: the same inputs, interleaved, in random order, round after round.

Within a round every subject runs every input once. Subjects take turns of about ten milliseconds over the same few inputs, and those of
one group (a network, its twin) follow each other, so a machine that slows down slows them all. A turn of several inputs starts with a
call that is not counted, so every subject is timed as in use, with its own code and weights in the caches. Every counted time is kept,
and of each call how long it waited.
Shapes: S subjects, R rounds, N inputs.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .clock import Clock
from .waiting import CallWaits, call_waits

NOISY = 1.10
"""A round is noisy where its times, in the median over inputs, are above those of all rounds by this factor, or above the time in which
they did not wait."""
TURN = 0.01
"""Seconds of a turn, about: short beside other work on the machine, long beside the first call's cache misses."""
LONGEST_TURN = 16
"""Inputs."""
FEWEST_ROUNDS = 5
"""Fewer rounds cannot show a machine's noise."""
STEADY = 0.02
"""Rounds warm up until the time of a round changes by less than this share of it ..."""
WARM_UP = 0.1
"""... or this share of the available seconds is spent (a machine with noise of its own is never steady)."""


@dataclass(frozen=True)
class Subject:
    """Something to be timed."""

    name: str
    run: Callable[[int], object]
    """Does all the work for the input of that number, up to its logits."""
    group: str = ""
    """Subjects that are compared with each other."""
    idle: frozenset[int] = frozenset()
    """Inputs for which it has nothing to do: it is not run for them, and takes 0 seconds."""


Group = list[tuple[int, Subject]]
"""Subjects with their numbers."""


@dataclass(frozen=True)
class Times:
    """What was measured."""

    names: list[str]
    seconds: np.ndarray
    """[S, R, N]; not a number where a subject had nothing to do."""
    warm_up_rounds: int
    """Rounds before the counted ones."""
    elapsed: float
    """Seconds from the first counted round to the end of the last."""
    waits: CallWaits
    """How much each call waited for a processor."""
    interrupted: bool = False

    def of(self, name: str) -> np.ndarray:
        """Seconds [R, N] of one subject; 0 where it had nothing to do."""
        return np.nan_to_num(self.seconds[self.names.index(name)], nan=0.0)

    @property
    def noisy(self) -> np.ndarray:
        """Rounds in which the machine was slow, or many calls waited, boolean [R]."""
        usual = np.median(self.seconds, axis=1, keepdims=True)
        slow = np.nanmedian(self.seconds / usual, axis=(0, 2)) > NOISY
        return slow | (self.waits.by_round > 1 - 1 / NOISY)


def measure(
    subjects: Sequence[Subject],
    inputs: int,
    clock: Clock,
    *,
    rounds: int,
    max_seconds: float,
    seed: int = 0,
    threads: int = 1,
    after_round: Callable[[int], None] = lambda done: None,
) -> Times:
    """Times of every subject on every input: `rounds` rounds, or as many as `max_seconds` allow, but at least five.

    `threads` is the number of those that may compute at once in a call.

    Warm-up rounds come first and are not counted. `after_round` is called with the number of counted rounds, first with 0 after the
    warm-up. An interruption (Ctrl-C) after the fifth round returns the rounds until then; before, it is raised.
    """
    order = np.random.default_rng(seed)
    grouped = defaultdict(list)
    for index, subject in enumerate(subjects):
        grouped[subject.group].append((index, subject))
    groups = list(grouped.values())
    measured: list[np.ndarray] = []
    interrupted, collecting = False, gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        turn, warm_up_rounds = _warm_up(groups, inputs, clock, order, WARM_UP * max_seconds)
        after_round(0)
        started = time.perf_counter()
        while len(measured) < rounds:
            measured.append(_round(groups, inputs, turn, clock, order))
            after_round(len(measured))
            spent = time.perf_counter() - started
            if len(measured) >= FEWEST_ROUNDS and spent * (1 + 1 / len(measured)) > max_seconds:
                break
    except KeyboardInterrupt:
        if len(measured) < FEWEST_ROUNDS:
            raise
        interrupted = True
    finally:
        if collecting:
            gc.enable()
    elapsed = time.perf_counter() - started
    seconds, wall, processor = np.stack(measured, axis=2)
    names = [subject.name for subject in subjects]
    return Times(names, seconds, warm_up_rounds, elapsed, call_waits(wall, processor, threads), interrupted)


def _warm_up(groups: list[Group], inputs: int, clock: Clock, order: np.random.Generator, max_seconds: float) -> tuple[int, int]:
    """Run until the time of a round is steady or `max_seconds` are spent, one round at least: each subject has then run each input.

    Returns the inputs of a turn, and the rounds it took.
    """
    started = time.perf_counter()
    turn, medians = 1, []
    while not medians or (not _steady(medians) and time.perf_counter() - started < max_seconds):
        medians.append(float(np.nanmedian(_round(groups, inputs, turn, clock, order)[0])))
        turn = int(np.clip(TURN / medians[-1], 1, min(LONGEST_TURN, inputs)))
    return turn, len(medians)


def _steady(medians: list[float]) -> bool:
    return len(medians) > 1 and abs(medians[-1] / medians[-2] - 1) <= STEADY


def _round(groups: list[Group], inputs: int, turn: int, clock: Clock, order: np.random.Generator) -> np.ndarray:
    """Seconds of each call, and wall and processor seconds since the end of the call before it, [3, S, N].

    The subjects take turns of `turn` inputs, group after group. What is between two calls counts because a system that is asked for the
    processor time may let another process run first.
    """
    seconds = np.full((3, sum(map(len, groups)), inputs), np.nan)
    before = clock.moment()
    shuffled = order.permutation(inputs).tolist()
    for start in range(0, inputs, turn):
        for group in _shuffled(groups, order):
            for index, subject in _shuffled(group, order):
                run, numbers = subject.run, [number for number in shuffled[start : start + turn] if number not in subject.idle]
                if len(numbers) > 1:
                    run(numbers[-1])
                for number in numbers:
                    taken = clock.seconds(lambda run=run, number=number: run(number))
                    now = clock.moment()
                    seconds[:, index, number] = taken, now[0] - before[0], now[1] - before[1]
                    before = now
    return seconds


def _shuffled(items: list, order: np.random.Generator) -> list:
    return [items[index] for index in order.permutation(len(items))]
