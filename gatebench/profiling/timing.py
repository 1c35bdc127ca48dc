"""What the times of one network say: claimed, executed and realised savings, the gate's price, a cost for every unit.

Shapes: R rounds, N calls (inputs at batch 1, batches otherwise), U units.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..measure import statistics
from ..measure.statistics import CostModel, Estimate, Spread

RESOLUTION = 0.025
"""Half-width of a speed-up's interval above which 5 % faster cannot be told from equally fast."""


@dataclass(frozen=True)
class Rival:
    """What a network is compared with."""

    label: str
    seconds: np.ndarray
    """[R, N]."""
    macs: np.ndarray
    """Of an input, mean of each call, [N]."""


@dataclass(frozen=True)
class Gate:
    """What deciding costs, and when it pays."""

    price: Estimate
    """Time with the network's own decisions, over the time with the same decisions imposed."""
    all_on: Estimate | None
    """Time with the gates asked and every unit on, over the twin's; None where a method has no such policy, or no twin."""
    all_off: Estimate | None
    most_claimed: float
    """Saving in percent that is claimed with every unit off that may be."""
    cost: CostModel | None
    """Fitted to random imposed decisions: what each unit costs; None where there were too few calls."""

    @property
    def break_even(self) -> float | None:
        """Claimed saving in percent at which the time equals the twin's, in a straight line from all on to all off; None where none is
        enough."""
        if self.all_on is None or self.all_off is None or self.all_off.value >= 1:
            return None
        if self.all_on.value <= 1:
            return 0.0
        return self.most_claimed * (self.all_on.value - 1) / (self.all_on.value - self.all_off.value)


@dataclass(frozen=True)
class Timing:
    """One network, one execution, one batch size, one number of threads."""

    label: str
    execution: str
    runtime: str
    folded: bool
    """Whether batch norm was folded into the convolutions."""
    threads: int
    batch_size: int
    available: int
    """Inputs there are to be timed."""
    seconds: np.ndarray
    """[R, N]."""
    macs: np.ndarray
    """Executed multiply-accumulates of an input, mean of each call, [N]."""
    shares: np.ndarray | None
    """Share of each unit that was on, mean of each call, [N, U]; None without units."""
    claimed: float | None
    """Saving that the decisions claim, percent; None without units."""
    rival: Rival | None = None
    gate: Gate | None = None
    joules: np.ndarray | None = None
    """Of a call, in every round of `measure.energy`, [R]; None where the machine has no counter."""
    noisy_rounds: int = 0
    elapsed: float = 0.0
    """Seconds that the whole session took."""

    @cached_property
    def latency(self) -> Estimate:
        """Mean seconds of a call."""
        return statistics.mean_latency(self.seconds)

    @cached_property
    def percentiles(self) -> dict[int, Estimate | None]:
        """Seconds of a call over the calls, for ranks 50, 90 and 99; None where there are too few calls to tell."""
        return {rank: statistics.percentile(self.seconds, rank) for rank in (50, 90, 99)}

    @cached_property
    def spread(self) -> Spread:
        return statistics.spread(self.seconds)

    @cached_property
    def speedup(self) -> Estimate | None:
        """How many times as fast as the rival."""
        return None if self.rival is None else statistics.speedup(self.rival.seconds, self.seconds)

    @property
    def saved(self) -> float | None:
        """Share of the rival's MACs that were not executed; None where torch's counter knows none of its operations."""
        if self.rival is None or not self.rival.macs.any():
            return None
        return 1 - float(self.macs.mean() / self.rival.macs.mean())

    @cached_property
    def realised(self) -> Estimate | None:
        """Share of the executed saving that is saved in time too; None where there is no saving."""
        return None if self.rival is None else statistics.realised(self.rival.seconds, self.seconds, self.rival.macs, self.macs)

    @cached_property
    def needed(self) -> tuple[int, int] | None:
        """Rounds and inputs that would do where the speed-up can neither be told from 1 nor called equal to it; None where it can.

        Of the interval's variance, half is allowed to the choice of inputs, for which more inputs are named; rounds average out the rest.
        """
        if self.speedup is None or self.speedup.excludes(1.0) or self.speedup.half_width <= RESOLUTION:
            return None
        inputs, machine, single = statistics.half_width_parts(self.rival.seconds, self.seconds)
        allowed = RESOLUTION**2
        more_inputs = max(1.0, inputs / (allowed / 2))
        more_rounds = max(1.0, (machine + single / more_inputs) / (allowed - inputs / more_inputs))
        rounds, calls = self.seconds.shape
        return math.ceil(rounds * more_rounds), math.ceil(calls * more_inputs) * self.batch_size

    def row(self) -> dict:
        """The columns of a row that timing adds (`columns.TIMES`); what was not measured is left out."""
        row = {
            "network": self.label,
            "rival": self.rival and self.rival.label,
            "execution": self.execution,
            "runtime": self.runtime,
            "batch_norm_folded": self.folded,
            "threads": self.threads,
            "batch_size": self.batch_size,
            "calls": self.seconds.shape[1],
            "rounds": self.seconds.shape[0],
            "noisy_rounds": self.noisy_rounds,
            "session_seconds": self.elapsed,
            "timed_claimed_pct": self.claimed,
            "timed_macs_executed": float(self.macs.mean()),
            "timed_saving_pct": None if self.saved is None else 100 * self.saved,
            **_three("latency", self.latency, "_ms", 1e3),
            "spread_inputs": self.spread.inputs,
            "spread_rounds": self.spread.rounds,
            "spread_rest": self.spread.rest,
            **_three("speedup", self.speedup),
            **_three("realised", self.realised),
        }
        if self.joules is not None:
            row |= _three("energy", statistics.mean_latency(self.joules[:, None]), "_mj", 1e3)
        for rank, estimate in self.percentiles.items():
            row |= _three(f"latency_p{rank}", estimate, scale=1e3)
        if self.needed:
            row["repeats_needed"], row["inputs_needed"] = self.needed
            row["inputs_available"] = self.available
        if self.gate:
            row |= {
                **_three("gate_price", self.gate.price),
                **_three("all_on", self.gate.all_on),
                **_three("all_off", self.gate.all_off),
                "break_even_skip_pct": self.gate.break_even,
                "gate_ms": 1e3 * (1 - 1 / self.gate.price.value) * self.latency.value,
            }
            if self.gate.cost:
                row |= {
                    "cost_base_ms": 1e3 * self.gate.cost.base,
                    "cost_units_ms": [None if np.isnan(each) else 1e3 * float(each) for each in self.gate.cost.units],
                    "cost_r2": self.gate.cost.r2,
                }
        return {key: value for key, value in row.items() if value is not None}


def _three(name: str, estimate: Estimate | None, unit: str = "", scale: float = 1.0) -> dict[str, float]:
    if estimate is None:
        return {}
    return {f"{name}{unit}": scale * estimate.value, f"{name}_low": scale * estimate.low, f"{name}_high": scale * estimate.high}
