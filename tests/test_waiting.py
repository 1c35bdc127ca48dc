"""A machine that is busy is named as busy, also where all rounds agree, and a quiet one is not; on made-up and on real processors."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone

import numpy as np
import pytest
import torch

from gatebench.cli.profile_latency import inconclusive
from gatebench.data.images import Dataset, Images
from gatebench.measure import surroundings
from gatebench.measure.clock import CpuClock
from gatebench.measure.protocol import Subject, Times, measure
from gatebench.measure.surroundings import Surroundings
from gatebench.measure.waiting import CallWaits, SessionWaits, call_waits
from gatebench.profiling import record, session
from gatebench.profiling.networks import Network
from gatebench.runs import RunFolder

SEEDS = range(20)
SHAPE = 2, 8, 32
"""Subjects, rounds, inputs."""
QUIET = Surroundings(processes=0, queued=0.002, stolen=0.0)
SHARED = Surroundings(processes=2, queued=0.4, stolen=0.0)
UNKNOWN = Surroundings()


def computing(draw, call=2e-3):
    """Seconds [S, R, N] of calls that never wait: other inputs take other times, the machine drifts, calls have noise of their own."""
    by_input, by_round = 0.3 * draw.standard_normal((SHAPE[0], 1, SHAPE[2])), 0.05 * draw.standard_normal((1, SHAPE[1], 1))
    return call * np.exp(by_input + by_round + 0.03 * draw.standard_normal(SHAPE))


def sharing(draw, seconds, contended=lambda now: True, wait=3e-3, run=3e-3):
    """Seconds that each call waits, where a scheduler lets it and another process run in turns, while `contended(now)`."""
    waits, now, left = np.zeros(seconds.size), 0.0, run
    for index, each in enumerate(seconds.ravel()):
        while each > left:
            now, each = now + left, each - left
            if contended(now):
                waited = draw.uniform(0.5, 1.5) * wait
                waits[index], now = waits[index] + waited, now + waited
            left = draw.uniform(0.5, 1.5) * run
        now, left = now + each, left - each
    return waits.reshape(seconds.shape)


def bursts(draw):
    """Other work comes and goes."""
    borders = np.cumsum(draw.uniform(0.02, 0.2, 10_000))
    return lambda now: np.searchsorted(borders, now) % 2 == 0


def loaded(call):
    """All the time, by one process or more on each core."""

    def trace(draw):
        seconds = computing(draw, call)
        return seconds + sharing(draw, seconds), seconds, 1

    return trace


def in_bursts(draw):
    seconds = computing(draw)
    return seconds + sharing(draw, seconds, bursts(draw)), seconds, 1


def one_core_of_two(draw):
    """The scheduler moves it to the free core most of the time, not always at once."""
    seconds = computing(draw)
    return seconds + sharing(draw, seconds, lambda now: draw.random() < 0.4), seconds, 1


def coarse(trace):
    """By a processor clock that goes in steps of 15.6 ms."""

    def stepped(draw):
        seconds, processor, threads = trace(draw)
        clock = np.floor((np.cumsum(processor.ravel()) + draw.uniform(0, 0.0156)) / 0.0156) * 0.0156
        return seconds, np.diff(clock, prepend=0.0).reshape(seconds.shape), threads

    return stepped


def two_threads(call, spins, contended=None):
    """A quarter of the work is not parallel; meanwhile, and until the other's half is done, a thread sleeps, or spins."""

    def trace(draw):
        alone, half = 0.25 * computing(draw, call), 0.375 * computing(draw, call)
        waits = np.zeros(SHAPE) if contended is None else sharing(draw, half, contended(draw))
        seconds = alone + half * np.exp(np.abs(0.02 * draw.standard_normal(SHAPE))) + waits
        return seconds, 2 * seconds - waits if spins else alone + 2 * half, 2

    return trace


def always(draw):
    return lambda now: True


BUSY = {
    "short calls": (loaded(2e-4), SHARED),
    "calls": (loaded(2e-3), SHARED),
    "long calls": (loaded(0.03), SHARED),
    "a system that tells nothing": (loaded(2e-3), UNKNOWN),
    "a busy host": (loaded(2e-3), Surroundings(0, 0.0, 0.5)),
    "bursts": (in_bursts, SHARED),
    "one core of two": (one_core_of_two, Surroundings(1, 0.25, 0.0)),
    "a coarse clock": (coarse(loaded(2e-3)), UNKNOWN),
    "two threads that spin": (two_threads(2e-3, True, always), SHARED),
    "two threads that sleep": (two_threads(2e-3, False, always), SHARED),
    "two threads, bursts": (two_threads(2e-3, True, bursts), SHARED),
    "two threads, long calls": (two_threads(0.03, True, always), SHARED),
}


def interrupted(draw, seconds):
    """Waits as of a system's own work: a hundredth of the time, mostly short."""
    return np.where(draw.random(SHAPE) < 0.02, draw.exponential(0.3e-3, SHAPE), 0.0) * np.minimum(1, seconds / 1e-3)


def quiet(call):
    def trace(draw):
        seconds = computing(draw, call)
        return seconds + interrupted(draw, seconds), seconds + 1e-6, 1

    return trace


def memory(draw):
    """Others fill the memory's bandwidth: slower, but computing, as far as the processor's time goes."""
    seconds = computing(draw) * 1.5
    return seconds, seconds, 1


def sleeping(draw):
    seconds = computing(draw)
    return seconds + 1e-3, seconds, 1


def now_and_then(draw):
    """The second thread has nothing to do, and spins for as long as the call before left it spinning."""
    seconds = computing(draw, 1e-4)
    return seconds, seconds * (1 + draw.random(SHAPE)), 2


CALM = {
    "short calls": (quiet(2e-4), QUIET),
    "calls": (quiet(2e-3), QUIET),
    "long calls": (quiet(0.1), QUIET),
    "a system that tells nothing": (quiet(2e-3), UNKNOWN),
    "another process, on a core of its own": (quiet(2e-3), Surroundings(1, 0.003, 0.0)),
    "slow memory": (memory, QUIET),
    "a network that sleeps": (sleeping, QUIET),
    "a coarse clock": (coarse(quiet(2e-3)), UNKNOWN),
    "two threads that spin": (two_threads(2e-3, True), QUIET),
    "two threads that sleep": (two_threads(2e-3, False), QUIET),
    "two threads, long calls": (two_threads(0.1, False), QUIET),
    "two threads that spin now and then": (now_and_then, QUIET),
    "two threads, a system that tells nothing": (two_threads(2e-3, False), UNKNOWN),
    "a GPU": (lambda draw: (computing(draw), np.full(SHAPE, np.nan), 1), SHARED),
}


def found(trace, around, seed):
    seconds, processor, threads = trace(np.random.default_rng(seed))
    return SessionWaits(call_waits(seconds, processor, threads).share(), around, threads)


@pytest.mark.parametrize("kind", BUSY)
def test_a_busy_machine_is_named_every_time(kind):
    waiting = [found(*BUSY[kind], seed) for seed in SEEDS]
    assert sum(each.busy for each in waiting) == 20
    assert all(each.sentence.startswith("the machine was busy: calls waited ") for each in waiting)


@pytest.mark.parametrize("kind", CALM)
def test_a_quiet_machine_is_never_accused(kind):
    waiting = [found(*CALM[kind], seed) for seed in SEEDS]
    assert not any(each.busy for each in waiting)
    assert not any("busy" in (each.sentence or "") for each in waiting)


def test_what_is_said_fits_the_cause():
    def said(share, threads=1, **around):
        return SessionWaits(share, Surroundings(**around), threads).sentence

    assert said(0.381, processes=3, queued=0.37, stolen=0.0) == (
        "the machine was busy: calls waited 38 % of the time; 3 other processes are busy. End the other processes; more repeats do not help"
    )
    assert "; 1 other process is busy. End the other processes, or give --threads 1;" in said(0.38, threads=2, processes=1, queued=0.4)
    assert said(0.2, queued=0.2) == "the machine was busy: calls waited 20 % of the time. End the other processes; more repeats do not help"
    assert "the host of this virtual machine took 19 % of a processor's time. Time it at" in said(0.2, queued=0.01, stolen=0.19)
    assert said(0.6, processes=2, queued=0.01, stolen=0.0).startswith("calls waited 60 % of the time, but not for other processes")
    assert said(0.04, processes=3, queued=0.04) is None and said(None, processes=3, queued=0.4) is None
    threads = SessionWaits(None, Surroundings(1, 0.5, 0.0), 2)
    assert threads.share == 0.5 and SessionWaits(None, Surroundings(), 2).share is None, "of several threads the queue alone says it"


def test_a_busy_machine_makes_no_answer_of_more_repeats():
    row = {"network": "net", "batch_size": 1, "speedup_low": 0.9, "speedup_high": 1.1, "calls": 128, "rounds": 30, "session_seconds": 60,
           "repeats_needed": 90, "inputs_needed": 128, "inputs_available": 10_000, "threads": 2, "waited_pct": 38.2,
           "busy": True}  # fmt: skip
    said = inconclusive(row, 120)
    assert "its calls waited 38 % of the time. End the other processes, or give --threads 1; more repeats do not help." in said
    assert "its own less than 1 %. End" in inconclusive(row | {"waited_pct": 0.3}, 120)
    assert "--repeats" not in said and "--repeats 90" in inconclusive(row | {"busy": False}, 120)


def test_rounds_in_which_calls_wait_are_noisy_also_where_all_do():
    seconds = np.full((1, 6, 20), 2e-3)
    waited = np.zeros_like(seconds)
    waited[:, :, ::4] = 1e-3  # an eighth of the time, in every round alike
    for each, noisy in ((waited, True), (waited / 4, False), (np.full_like(seconds, np.nan), False)):
        assert (Times(["s"], seconds, 1, 1.0, CallWaits(seconds, each)).noisy == noisy).all()


class Halved:
    """A clock by which a call takes 2 ms and computes in 1 ms of them."""

    name, resolution, calls = "made up", 1e-9, 0

    def seconds(self, work):
        work()
        self.calls += 1
        return 2e-3

    def moment(self):
        return 2e-3 * self.calls, 1e-3 * self.calls


def test_a_session_says_it_in_its_notes_its_conditions_and_its_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(session, "clock_for", lambda device: Halved())
    monkeypatch.setattr(session.surroundings, "between", lambda before, after: SHARED)
    images = Images(np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8), np.zeros(16, np.int64))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
    network = Network("net", net, Dataset("noise", ["a", "b"], images, images, (0.5,) * 3, (0.25,) * 3))
    measured = session.run([network], None, session.Plan(torch.device("cpu"), 1, 2, ("sparse",), 16, 5, 10.0), lambda done: None)
    said = "the machine was busy: calls waited 50 % of the time; 2 other processes are busy."
    assert [note for note in measured.notes if "busy" in note] == [
        f"batch 2, 1 thread: {said} End the other processes; more repeats do not help."
    ]
    (row,) = record.rows(measured, 0)
    assert row["waited_pct"] == pytest.approx(50) and row["busy"] is True and row["noisy_rounds"] == row["rounds"]
    destination = record.reserve(RunFolder(tmp_path), "machine", datetime(2026, 1, 1, tzinfo=timezone.utc))
    record.write([measured], 0, destination, [row])
    (conditions,) = json.loads(destination.rows.with_suffix(".json").read_text())["sessions"]
    assert conditions["waiting"]["waited_pct"] == 50 and conditions["waiting"]["busy_processes"] == 2
    assert conditions["waiting"]["sentence"].startswith("the machine was busy")


def proc(folder, processes, queued=0.0, stolen=0.0, computed=1.0):
    """A /proc of these other processes (seconds by number and start), and of a thread of this one."""
    tick = os.sysconf("SC_CLK_TCK")
    for (number, start), seconds in {**processes, (os.getpid(), 0): 50.0}.items():
        fields = ["R"] + ["0"] * 10 + [str(int(tick * seconds)), "0"] + ["0"] * 6 + [str(start)]
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
        (folder / str(number) / "stat").write_text(f"{number} (a (strange) name) {' '.join(fields)}\n")
    (folder / "self" / "task" / "7").mkdir(parents=True, exist_ok=True)
    (folder / "self" / "task" / "7" / "schedstat").write_text(f"{int(1e9 * computed)} {int(1e9 * queued)} 9\n")
    (folder / "stat").write_text(f"cpu  1 2 3 4 5 6 7 {int(tick * stolen)} 0 0\n")
    return surroundings.snapshot(folder)


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="there is no /proc on this system")
def test_neighbours_are_counted_from_what_they_did_in_the_meantime(tmp_path, monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(surroundings.time, "perf_counter", lambda: next(clock))
    before = proc(tmp_path / "before", {(11, 1): 500.0, (12, 1): 3.0, (13, 1): 4.0}, queued=1.0, stolen=2.0)
    after = proc(tmp_path / "after", {(11, 1): 500.0, (12, 1): 9.0, (13, 5): 3.0, (14, 6): 1.0}, queued=5.0, stolen=3.0, computed=6.0)
    assert surroundings.between(before, after) == Surroundings(2, pytest.approx(0.4), pytest.approx(0.1))  # 13 is another one by now


def test_where_the_system_tells_nothing_nothing_is_known(tmp_path):
    empty = surroundings.snapshot(tmp_path)
    assert surroundings.between(empty, surroundings.snapshot(tmp_path)) == Surroundings()


def test_the_processor_clock_counts_all_threads_and_no_sleep():
    clock = CpuClock()
    before = clock.moment()
    time.sleep(0.05)
    wall, processor = np.subtract(clock.moment(), before)
    assert wall >= 0.05 and processor < 0.04


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="busy loops cannot be counted on this system")
def test_busy_loops_on_each_core_are_named_every_time():
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    cores = len(os.sched_getaffinity(0))
    others = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(cores)]
    try:
        for each in others:
            each.stdout.readline()
        work = Subject("work", lambda number: sum(range(20_000)))
        named = 0
        for seed in SEEDS:
            before = surroundings.snapshot()
            times = measure([work], 16, CpuClock(), rounds=100, max_seconds=0.6, seed=seed)
            waiting = SessionWaits(times.waits.share(), surroundings.between(before, surroundings.snapshot()), 1)
            named += waiting.busy and waiting.surroundings.processes >= cores
        assert named == 20
    finally:
        for each in others:
            each.kill()
            each.wait()
