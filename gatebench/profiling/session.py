"""All contenders timed together, interleaved in one process, at one batch size and one number of threads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ..contract import Execution
from ..device import set_threads
from ..measure import statistics
from ..measure.clock import clock_for
from ..measure.machine import state
from ..measure.protocol import Subject, Times, measure
from .contender import Contender
from .networks import Network
from .timing import Gate, Timing

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
    """Inputs timed at batch 1; larger batches share them out, but there are `FEWEST_CALLS` of them at least."""
    rounds: int
    max_seconds: float
    seed: int = 0


@dataclass(frozen=True)
class Session:
    """What was measured, network by network."""

    plan: Plan
    contenders: list[Contender]
    times: Times
    state_before: dict
    """What the machine was doing besides (`measure.machine.state`)."""
    state_after: dict
    timings: list[list[Timing]]
    """One list a contender, one entry an execution."""

    def all_timings(self) -> list[Timing]:
        return [timing for entry in self.timings for timing in entry]


def run(networks: list[Network], rival: Network | None, plan: Plan, after_round: Callable[[int], None]) -> Session:
    """Time every network, and the rival if there is one, on the device of the plan, with its number of threads."""
    draw = np.random.default_rng(plan.seed)
    entered = [*networks, rival] if rival else networks
    set_threads(plan.threads)
    contenders = [Contender(network, _choose(len(network.data.test), plan), plan.device, draw) for network in entered]
    works = [dict(contender.subjects(plan.executions)) for contender in contenders]
    subjects = [Subject(f"{index} {name}", work) for index, named in enumerate(works) for name, work in named.items()]
    before = state(plan.device)
    with torch.inference_mode():
        times = measure(
            subjects, len(contenders[0].calls), clock_for(plan.device),
            rounds=plan.rounds, max_seconds=plan.max_seconds, seed=plan.seed, after_round=after_round,
        )  # fmt: skip
    against = (contenders[-1], len(contenders) - 1) if rival else None
    timings = [_timings(contender, index, times, plan, against) for index, contender in enumerate(contenders[: len(networks)])]
    return Session(plan, contenders[: len(networks)], times, before, state(plan.device), timings)


def _choose(available: int, plan: Plan) -> np.ndarray:
    """Numbers of real inputs [N, B], the same for every network of one data set; none comes again before all had their turn."""
    calls = max(FEWEST_CALLS, plan.inputs // plan.batch_size)
    draw = np.random.default_rng(plan.seed)
    rounds = -(-calls * plan.batch_size // available)
    order = np.concatenate([draw.permutation(available) for _ in range(rounds)])
    return order[: calls * plan.batch_size].reshape(calls, plan.batch_size)


def _timings(contender: Contender, index: int, times: Times, plan: Plan, against: tuple[Contender, int] | None) -> list[Timing]:
    """What the times say of one contender; over its twin, or over the rival that all are compared with."""

    def of(name: str) -> np.ndarray:
        return times.of(f"{index} {name}")

    noisy = int(times.noisy.sum())
    common = {"label": contender.network.label, "threads": plan.threads, "batch_size": plan.batch_size, "noisy_rounds": noisy}
    if against:
        rival, number = against
        name = "sparse" if rival.gated else "itself"
        macs = rival.macs(rival.own) if rival.gated else rival.counted_macs()
        common |= {"rival": rival.network.label, "rival_seconds": times.of(f"{number} {name}"), "rival_macs": macs}
    if not contender.gated:
        return [Timing(execution="itself", seconds=of("itself"), macs=contender.counted_macs(), shares=None, claimed=None, **common)]
    if not against:
        twin_macs = np.full(len(contender.calls), float(contender.model.macs_static))
        common |= {"rival": "its static twin", "rival_seconds": of("twin"), "rival_macs": twin_macs}
    timings = []
    for execution in plan.executions:
        outputs = contender.own if execution == "sparse" else contender.outputs(execution)
        decisions = [output.decisions for output in outputs]
        timings.append(
            Timing(
                execution=execution,
                seconds=of(execution),
                macs=contender.macs(outputs),
                shares=contender.shares(decisions),
                claimed=1 - float(np.mean([each.float().mean().item() for each in decisions])),
                gate=_gate(contender, of) if execution == "sparse" and contender.model.fixed_policies else None,
                **common,
            )
        )
    return timings


def _gate(contender: Contender, of: Callable[[str], np.ndarray]) -> Gate:
    random = contender.shares(contender.random)
    return Gate(
        price=statistics.speedup(of("sparse"), of("imposed")),
        all_on=statistics.speedup(of("all on"), of("twin")),
        all_off=statistics.speedup(of("all off"), of("twin")),
        cost=statistics.fit_cost(random, statistics.per_input(of("random"))),
    )
