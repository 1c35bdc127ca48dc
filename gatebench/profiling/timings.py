"""What the times of a session say of one network: a `Timing` for each execution in torch, and for each other runtime.

Shapes: R rounds, N calls.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..contract import Execution
from ..measure import statistics
from .contender import Contender
from .executed import FIRST, Executed, executed, findings
from .exported import Exported
from .timing import Gate, Rival, Timing

if TYPE_CHECKING:
    from .session import Session


def timings(session: "Session", index: int) -> list[Timing]:
    """Of the contender of that number: over its own reference, or over the rival that all are compared with."""
    made = [*_in_torch(session, index), *(_elsewhere(session, index, each) for each in session.exported[index])]
    rivals = [timing.rival for timing in made if timing.rival]
    if len({rival.runtime for rival in rivals}) < 2:
        return made
    fastest = min(rivals, key=lambda rival: statistics.mean_latency(rival.seconds).value)
    return [replace(timing, fastest=fastest) for timing in made]


def _in_torch(session: "Session", index: int) -> list[Timing]:
    contender, of = session.contenders[index], Of(session, index)
    rival, joules = session.rival, session.energies[index]
    common = {"runtime": contender.runtime, "folded": contender.folded, "layout": contender.ready.layout, **_common(session, contender)}
    if not contender.gated:
        done = _executed(contender, session.executed[index], rival=rival)
        alone = {"execution": "itself", "seconds": of("itself"), "waited": of.waited("itself"), "claimed": None, **done}
        return [Timing(**alone, rival=rival, joules=joules, uncounted=contender.uncounted, **common)]
    if rival is None and contender.reference is not None:
        rival = Rival(contender.reference_name, of("reference"), _static_macs(contender), runtime=contender.runtime)
    parts = sum(of(name) for name in contender.parts) if contender.parts else None
    made = []
    for execution in session.plan.executions:
        own = execution == "sparse"
        done = _executed(contender, session.executed[index] if own else executed(contender, execution), execution)
        times = {"execution": execution, "seconds": of(execution), "waited": of.waited(execution), **done}
        claimed = contender.claimed(contender.own if own else contender.outputs(execution))
        beside = {"rival": rival, "gate": _gate(contender, of) if own else None, "parts": parts, "joules": joules if own else None}
        made.append(Timing(**times, **beside, claimed=claimed, **common))
    return made


def _elsewhere(session: "Session", index: int, exported: Exported) -> Timing:
    """In another runtime, over what is compared with it in the same."""
    contender, of, rival = session.contenders[index], Of(session, index), None
    execution, runtime = exported.itself().name.removeprefix(f"{exported.runtime} "), str(exported.runtime)
    if session.rival:
        rival = next((_rival(session, each) for each in session.exported[-1] if each.runtime == exported.runtime), None)
    elif exported.twin:
        rival = Rival(contender.reference_name, of(f"{runtime} reference"), _static_macs(contender), runtime=runtime)
    gate = None
    if exported.all_on and rival and not session.rival:
        gate = Gate(all_on=statistics.speedup(of(f"{runtime} all on"), rival.seconds))
    name = exported.itself().name
    return Timing(
        execution=execution, runtime=runtime, precision=exported.runtime.precision, folded=True, seconds=of(name), waited=of.waited(name),
        macs=exported.macs, claimed=contender.claimed(contender.own) if contender.gated else None, rival=rival, gate=gate,
        findings=tuple(exported.findings), **_common(session, contender),
    )  # fmt: skip


class Of:
    """Times of a contender's subjects by name."""

    def __init__(self, session: "Session", index: int):
        self.session, self.index = session, index

    def __call__(self, name: str) -> np.ndarray:
        """Seconds [R, N]."""
        return self.session.times.of(f"{self.index} {name}")

    def waited(self, name: str) -> float | None:
        """Share of its calls' time in which they did not compute."""
        times, waiting = self.session.times, self.session.waiting
        return waiting.of_calls(times.waits.share(times.names.index(f"{self.index} {name}")))


def _common(session: "Session", contender: Contender) -> dict:
    times, plan = session.times, session.plan
    return {
        "label": contender.network.label, "threads": plan.threads, "batch_size": plan.batch_size,
        "available": len(contender.network.data.test), "noisy_rounds": int(times.noisy.sum()), "elapsed": times.elapsed,
        "busy": None if session.waiting.share is None else session.waiting.busy,
    }  # fmt: skip


def _static_macs(contender: Contender) -> np.ndarray:
    return np.full(len(contender.calls), float(contender.model.macs_static))


def _rival(session: "Session", exported: Exported) -> Rival:
    """What all are compared with, in another runtime."""
    seconds = session.times.of(f"{len(session.contenders)} {exported.itself().name}")
    return Rival(session.rival.label, seconds, exported.macs, runtime=str(exported.runtime))


def _executed(contender: Contender, done: Executed, execution: Execution = "sparse", rival: Rival | None = None) -> dict:
    """Arguments of a `Timing`; of masked execution, which computes everything, nothing is found."""
    found = tuple(findings(contender, done, rival)) if execution == "sparse" else ()
    seen_before = FIRST in contender.ready.uncounted
    return {"macs": done.macs, "counts": done.counts, "macs_deviation": done.deviation, "findings": found, "seen_before": seen_before}


def _gate(contender: Contender, of: Of) -> Gate:
    def over_reference(name: str) -> statistics.Estimate | None:
        timed = contender.reference is not None and name in contender.model.fixed_policies
        return statistics.speedup(of(name), of("reference")) if timed else None

    unit_macs = np.array([unit.macs for unit in contender.model.units])
    return Gate(
        price=statistics.speedup(of("sparse"), of("imposed")),
        all_on=over_reference("all on"),
        all_off=over_reference("all off"),
        most_claimed=contender.most_claimed(),
        cost=statistics.fit_cost(contender.shares(contender.random), statistics.per_input(of("random")), unit_macs),
    )
