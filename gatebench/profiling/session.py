"""All contenders timed together, interleaved in one process, at one batch size and one number of threads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property

import numpy as np
import torch

from ..contract import Execution, GatedModel
from ..device import set_threads
from ..errors import GatebenchError, UsageError, lacks_memory
from ..measure import surroundings
from ..measure.clock import clock_for
from ..measure.energy import counter_for, joules_per_call
from ..measure.machine import describe, state
from ..measure.protocol import Times, measure
from ..measure.surroundings import Surroundings
from ..measure.waiting import SessionWaits
from ..words import counted
from .contender import Contender
from .elsewhere import Elsewhere, ready_together
from .executed import Executed, counted_again, executed, findings
from .exported import Exported, Files, Runtime
from .layouts import Layout
from .networks import Network
from .outside import FAILURES, cause
from .ready import Ready
from .timing import Rival, Timing
from .timings import timings

FEWEST_CALLS = 8
"""Batches that are timed at least, however large they are."""


@dataclass(frozen=True)
class Plan:
    """What to time, and how long."""

    device: torch.device
    threads: int
    batch_size: int
    executions: tuple[Execution, ...]
    inputs: int
    """Inputs timed at batch 1; larger batches share them, but there are at least `FEWEST_CALLS` batches."""
    rounds: int
    max_seconds: float
    seed: int = 0
    layout: Layout | None = None
    """In which all networks run; None: gatebench's own channels_last, others in the one that suits them."""
    output: str | None = None
    """Part of the answer of networks from elsewhere that counts; None: all of it."""
    runtimes: tuple[Runtime, ...] = ()
    """Besides torch, in which networks are timed too; they take one input a call."""


@dataclass(frozen=True)
class Session:
    """What was measured, network by network."""

    plan: Plan
    started: datetime
    """UTC."""
    contenders: list[Contender]
    times: Times
    machine: dict
    """What was measured on (`measure.machine.describe`)."""
    state_before: dict
    """What the machine was doing besides (`measure.machine.state`)."""
    state_after: dict
    waiting: SessionWaits
    """How much the timed calls waited, and for whom."""
    notes: list[str]
    """Sentences on how networks were timed."""
    rival: Rival | None
    """What all are compared with; None: each with its own reference."""
    executed: list[Executed]
    """What each contender, and the rival behind them, executes, without masked execution."""
    energies: list[np.ndarray | None]
    """Joules of a call of each contender in every round, [R]; None where there is no counter."""
    exported: list[list[Exported]]
    """Each contender, and the rival behind them, in the plan's other runtimes."""

    @cached_property
    def timings(self) -> list[list[Timing]]:
        """One list a contender, one entry an execution, and one another runtime."""
        return [timings(self, index) for index in range(len(self.contenders))]

    def seconds(self, index: int) -> dict[str, np.ndarray]:
        """Times of a contender's subjects, by name: seconds [R, N], not a number where a subject had nothing to do.

        What the contender is compared with is called `rival`.
        """
        by_name = {}
        for name, seconds in zip(self.times.names, self.times.seconds, strict=True):
            owner, subject = name.split(" ", 1)
            if int(owner) == index:
                by_name[subject if self.rival else subject.replace("reference", "rival")] = seconds
            elif int(owner) == len(self.contenders):
                by_name[subject.replace("itself", "rival").replace("sparse", "rival")] = seconds
        return by_name


def run(
    networks: list[Network], rival: Network | None, plan: Plan, after_round: Callable[[int], None], files: Files | None = None
) -> Session:
    """Time every network, and the rival if there is one, on the device of the plan, with its number of threads.

    `files` are what other runtimes open, where the plan has such. Raises UsageError where there are too few inputs, or a network does not
    take them; GatebenchError where none can be run in the other runtimes.
    """
    started = datetime.now(timezone.utc)
    draw = np.random.default_rng(plan.seed)
    set_threads(plan.threads)
    count = calls(networks, plan)
    everyone = [*networks, rival] if rival else networks
    ready = _ready(everyone, count, plan)
    contenders = [
        Contender(network, _choose(network, count, plan), plan.device, draw, plan.layout, prepared)
        for network, prepared in zip(networks, ready, strict=False)
    ]
    subjects = [
        replace(subject, name=f"{index} {subject.name}", group=str(index), run=_named(subject.run, contender.network))
        for index, contender in enumerate(contenders)
        for subject in contender.subjects(plan.executions)
    ]
    against = None
    if rival:
        against = Contender(rival, contenders[0].numbers, plan.device, draw, plan.layout, ready[-1])
        subject = against.itself()
        beside = "0" if len(contenders) == 1 else ""  # beside one of several networks it would favour that one
        run_named = _named(subject.run, rival)
        subjects.append(replace(subject, name=f"{len(contenders)} {subject.name}", group=beside, run=run_named))
    everything = [*contenders, against] if against else contenders
    exported, left_out = _exported(everything, plan, files)
    subjects += [
        replace(subject, name=f"{index} {subject.name}", group=str(min(index, len(contenders) - 1)))
        for index, (contender, runtimes) in enumerate(zip(everything, exported, strict=True))
        for each in runtimes
        for subject in (each.subjects() if contender is not against else [each.itself()])
    ]
    done = [executed(contender) for contender in everything]
    before, accounts = state(plan.device), surroundings.snapshot()
    with torch.inference_mode():
        times = measure(
            subjects, count, clock_for(plan.device),
            rounds=plan.rounds, max_seconds=plan.max_seconds, seed=plan.seed, threads=plan.threads, after_round=after_round,
        )  # fmt: skip
        around = surroundings.between(accounts, surroundings.snapshot()) if plan.device.type == "cpu" else Surroundings()
        waiting = SessionWaits(times.waits.share(), around, plan.threads)
        energies: list[np.ndarray | None] = [None] * len(contenders)
        try:
            if not times.interrupted:
                energies = _energies(contenders, count, plan)
        except KeyboardInterrupt:  # the times are kept
            times = replace(times, interrupted=True)
    done = [counted_again(contender, each) for contender, each in zip(everything, done, strict=True)]
    compared = against and Rival(rival.label, times.of(f"{len(contenders)} {against.itself().name}"), done[-1].macs, against.uncounted)
    notes = left_out + [note for contender in everything for note in contender.ready.notes]
    if against and (against.ready.varying or against.ready.uses_numpy):
        notes += [f"{rival.label}: {finding}." for finding in findings(against, done[-1])]
    if waiting.sentence:
        notes.append(f"batch {plan.batch_size}, {counted(plan.threads, 'thread')}: {waiting.sentence}.")
    machine, after = describe(plan.device), state(plan.device)
    return Session(plan, started, contenders, times, machine, before, after, waiting, notes, compared, done, energies, exported)


def _exported(contenders: list[Contender], plan: Plan, files: Files | None) -> tuple[list[list[Exported]], list[str]]:
    """Each in every other runtime, and notes on those that are timed in torch alone. Raises GatebenchError where all are."""
    made, errors = [], []
    for contender in contenders:
        try:
            made.append([Exported(contender, runtime, files, plan.threads) for runtime in plan.runtimes])
        except GatebenchError as error:
            made.append([])
            errors.append(error)
    if errors and not any(made):
        raise errors[0]
    return made, [f"timed in torch alone: {error}" for error in errors]


def _ready(networks: list[Network], count: int, plan: Plan) -> list[Ready | None]:
    """Those from elsewhere made ready together, so that one layout can suit them all; None for gatebench's own.

    Raises UsageError where none of their answers has parts of which `output` could be one.
    """
    candidates = {
        index: Elsewhere(network, [network.batch(each, plan.device) for each in _choose(network, count, plan)], plan.output)
        for index, network in enumerate(networks)
        if not isinstance(network.model, GatedModel)
    }
    if plan.output is not None and not any(each.has_parts for each in candidates.values()):
        raise UsageError(f"--output {plan.output} is a part of an answer, but every network here answers with one tensor. Leave it away.")
    made = dict(zip(candidates, ready_together(list(candidates.values()), plan.layout), strict=True))
    return [made.get(index) for index in range(len(networks))]


def _named(run: Callable[[int], object], network: Network) -> Callable[[int], object]:
    """A subject's work; where a network from elsewhere fails in it, the error names that network."""
    if isinstance(network.model, GatedModel):
        return run

    def named(number: int) -> object:
        try:
            return run(number)
        except FAILURES as error:
            if lacks_memory(error):
                raise
            raise GatebenchError(f"{network.label} failed while it was timed ({cause(error)}).") from error

    return named


def _energies(contenders: list[Contender], calls: int, plan: Plan) -> list[np.ndarray | None]:
    """Joules of a call of each network in every round, [R]; None where the device has no counter."""
    counter = counter_for(plan.device)
    if counter is None:
        return [None] * len(contenders)
    return list(joules_per_call([contender.itself().run for contender in contenders], calls, counter, seed=plan.seed).T)


def calls(networks: list[Network], plan: Plan) -> int:
    """How many calls are timed. Each has inputs of its own, since percentiles and intervals need different ones.

    Raises UsageError where there are too few inputs.
    """
    fewest = min(networks, key=lambda network: len(network.data.test))
    available = len(fewest.data.test)
    if available < FEWEST_CALLS * plan.batch_size:
        would = f"--batch-size {available // FEWEST_CALLS} would do" if available >= FEWEST_CALLS else "Name another set with --dataset"
        raise UsageError(
            f"{FEWEST_CALLS} batches of {plan.batch_size} need {FEWEST_CALLS * plan.batch_size} inputs; {fewest.data.name} has"
            f" {available} to be scored. {would}."
        )
    return min(available // plan.batch_size, max(FEWEST_CALLS, plan.inputs // plan.batch_size))


def _choose(network: Network, calls: int, plan: Plan) -> np.ndarray:
    """Numbers of real inputs [N, B], the same for every network of one data set."""
    order = np.random.default_rng(plan.seed).permutation(len(network.data.test))
    return order[: calls * plan.batch_size].reshape(calls, plan.batch_size)
