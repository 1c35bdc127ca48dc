"""What a network executes for the inputs that were timed, over inputs and over repeated counts, and what is to be said of it.

Shapes: N calls, K counts.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..contract import Execution, GatedModel
from ..measure.statistics import NO_SAVING
from .contender import Contender, macs
from .looks import drawn_from
from .timing import Rival
from .trace import NUMPY

COUNTS = 5
"""Of a network that answers differently to the same input, or does other work for it."""
FIRST = "work at the first sight of an input"
"""What no count sees of a network that keeps its answers."""
SAME = 1e-9
"""Relative difference of MACs up to which they are equal."""
GATES = 0.25
"""Share of a rival's MACs up to which what a network executes besides may be its gates."""


@dataclass(frozen=True)
class Executed:
    """MACs of an input, in every count and call."""

    counts: np.ndarray
    """[K, N], mean over a call's inputs; K is 1 where it does the same whenever it is run. Not a number: not counted."""

    @property
    def macs(self) -> np.ndarray:
        """[N], mean of the counts."""
        return self.counts.mean(0)

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the mean over calls from one count to the next; None where there is one count."""
        return float(self.counts.mean(1).std(ddof=1)) if len(self.counts) > 1 else None

    @property
    def counted(self) -> bool:
        return not np.isnan(self.counts).any()

    @property
    def constant(self) -> bool:
        """Whether every call executes the same."""
        return self.counted and bool(np.ptp(self.counts) <= SAME * self.counts.max())


def executed(contender: Contender, execution: Execution = "sparse") -> Executed:
    """What a contender executes, counted once, or `COUNTS` times where it answers differently to the same input, or does other work for it.

    Where only its first look at an input differs from all later ones, that is `FIRST`, and nothing is counted.
    """
    if not contender.ready.varying:
        return Executed((contender.own_macs() if execution == "sparse" else macs(contender.outputs(execution)))[None])
    counts = np.full((COUNTS, len(contender.calls)), np.nan)
    for call, x in enumerate(contender.calls):
        for repeat in range(COUNTS):
            with drawn_from(repeat * len(contender.calls) + call):
                if contender.gated:
                    counts[repeat, call] = macs([contender.output(call, execution)])[0]
                else:
                    counted = contender.counted(call)
                    counts[repeat, call] = np.nan if counted.uncounted else counted.macs / len(x)
    if contender.ready.same_answers and (np.ptp(counts, 0) <= SAME * counts.max()).all():
        contender.ready = replace(contender.ready, uncounted=(*contender.ready.uncounted, FIRST))
    return Executed(counts if contender.gated or not contender.uncounted else np.full_like(counts, np.nan))


def counted_again(contender: Contender, done: Executed) -> Executed:
    """The same after timing; with a second count where a network from elsewhere has changed since, which is then known as `varying`."""
    if isinstance(contender.model, GatedModel) or contender.ready.varying or not done.counted:
        return done
    again = np.array([contender.counted(call).macs / len(x) for call, x in enumerate(contender.calls)])
    changed = ~np.isclose(again, done.macs, rtol=SAME, atol=0)
    if not changed.any():
        return done
    contender.ready = replace(contender.ready, varying=int(changed.sum()), same_answers=True)
    return Executed(np.stack([done.macs, again]))


def findings(contender: Contender, done: Executed, rival: Rival | None = None) -> list[str]:
    """What whoever reads the times has to know: kind, colon, particulars. `rival` is what it is compared with by --vs."""
    ready, calls = contender.ready, len(contender.calls)
    found = []
    if ready.varying:
        spread = ""
        if done.counted and done.macs.any():
            of_mean, of_one = (100 * each / done.macs.mean() for each in (done.deviation, done.counts.std(0, ddof=1).mean()))
            deviation = f"{of_mean:.2g} % ({of_one:.2g} % for one input)"
            spread = f"; MACs are the mean of {len(done.counts)} counts, whose standard deviation is {deviation}"
            if done.constant:
                spread = f"; {len(done.counts)} counts gave the same MACs for each"
        if FIRST in ready.uncounted:
            spread = "; it keeps what it found, so its times are those of inputs that it has seen before"
        what = "does other work for" if ready.same_answers else "answers differently to"
        found.append(f"{what} the same input: in {ready.varying} of {calls} calls that were repeated{spread}")
    if ready.uses_numpy:
        found.append(f"hands tensors to {NUMPY}: what is computed there takes its time, and is not among its MACs")
    if done.constant and calls > 1 and done.macs.any():
        saved = 1 - done.macs.mean() / rival.macs.mean() if rival and rival.macs.any() else np.nan  # also where those are not counted
        each = f"each input executes the same {done.macs[0]:,.0f} MACs"
        if ready.decides:
            found.append(f"computes everything, or a fixed share: its decisions differ between inputs, yet {each}")
        elif ready.reads and not ready.varying:
            what = "takes the same branch" if saved >= NO_SAVING else "computes the same"
            found.append(f"{what} for every input: it reads values of tensors, as for a branch, yet {each}")
        elif contender.gated and contender.model.adaptive and not ready.varying:
            found.append(f"computes the same for every input: they all get the same decisions, and {each}")
        elif _may_be_gated(contender) and not ready.varying and -GATES <= saved < NO_SAVING:
            how_many = "more than" if saved < -NO_SAVING else "as many as"
            found.append(f"computes the same for every input: {each}, {how_many} {rival.label}, so nothing is left out")
    return found


def _may_be_gated(contender: Contender) -> bool:
    """Whether it is somebody's own network, of which nobody knows whether it has gates; libraries' have none."""
    return not isinstance(contender.model, GatedModel) and not contender.network.prepare
