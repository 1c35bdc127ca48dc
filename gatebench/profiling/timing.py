"""What the times of one network say: executed and realised savings, dispatch efficiency, the gates' price, a cost for every unit.

Shapes: R rounds, N calls (inputs at batch 1, batches otherwise), U units.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..measure import statistics
from ..measure.statistics import CostModel, Estimate, Resamples, Spread

RESOLUTION = 0.025
"""Half-width of a speed-up's interval above which 5 % faster and equally fast look alike."""
QUANTILES = np.linspace(0, 1, 21)
"""Of the calls, at which rows keep their times."""


@dataclass(frozen=True)
class Rival:
    """What a network is compared with."""

    label: str
    seconds: np.ndarray
    """[R, N]."""
    macs: np.ndarray
    """Of an input, mean of each call, [N]; not a number where an operation is uncounted."""
    uncounted: tuple[str, ...] = ()
    """Names of operations that it runs and whose MACs are not known."""
    runtime: str = "torch"
    """In which it was timed."""


@dataclass(frozen=True)
class Gate:
    """What deciding costs, and when it pays."""

    price: Estimate | None = None
    """Time with the network's own decisions over the time with the same decisions imposed; None where none can be imposed."""
    all_on: Estimate | None = None
    """Time with the gates evaluated and every unit on, over the reference's; None where the method has no such policy, or no reference."""
    all_off: Estimate | None = None
    most_claimed: float = 0.0
    """Saving in percent that is claimed under the least decisions."""
    cost: CostModel | None = None
    """What each unit costs, fitted to random imposed decisions; None where there were too few calls."""

    @property
    def break_even(self) -> float | None:
        """Claimed saving in percent at which the time equals the reference's, on a straight line from all on to all off.

        None where no saving is enough.
        """
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
    """Inputs that there are to time."""
    seconds: np.ndarray
    """[R, N]."""
    macs: np.ndarray
    """Executed multiply-accumulates of an input, mean of each call, [N]; not a number where an operation is uncounted."""
    claimed: float | None
    """Saving that the decisions claim, percent; None without units."""
    rival: Rival | None = None
    fastest: Rival | None = None
    """The rival in the runtime in which it is fastest; None where it was timed in one alone."""
    precision: str = "fp32"
    gate: Gate | None = None
    parts: np.ndarray | None = None
    """Summed times of the parts that make up the network, each alone on what reaches it, [R, N]; None where a method declares none."""
    joules: np.ndarray | None = None
    """Of a call, in every round of `measure.energy`, [R]; None where the machine has no counter."""
    uncounted: tuple[str, ...] = ()
    """Names of operations that it runs and whose MACs are not known."""
    counts: np.ndarray | None = None
    """MACs of every count, [K, N], whose mean is `macs`; None: counted once."""
    macs_deviation: float | None = None
    """Standard deviation of the mean from one count to the next, of a network that answers differently to the same input."""
    layout: str | None = None
    """Of its weights and inputs."""
    findings: tuple[str, ...] = ()
    """What its executed MACs and answers give reason to say."""
    seen_before: bool = False
    """Whether it keeps what it computed for an input, so that its times are those of inputs that it has seen before."""
    noisy_rounds: int = 0
    waited: float | None = None
    """Share of its calls' time in which they did not compute; None where that is unknown."""
    busy: bool | None = None
    """Whether calls of the session waited for other work of the machine."""
    elapsed: float = 0.0
    """Seconds of the session, all its networks together."""

    @cached_property
    def _resamples(self) -> Resamples:
        return statistics.resample(self.seconds)

    @cached_property
    def _paired(self) -> Resamples:
        """Of the rival's times over its own."""
        return statistics.resample(self.rival.seconds / self.seconds)

    @cached_property
    def latency(self) -> Estimate:
        """Mean seconds of a call."""
        return statistics.mean_latency(self.seconds, self._resamples)

    @cached_property
    def percentiles(self) -> dict[int, Estimate | None]:
        """Seconds of a call over the calls, for ranks 50, 90 and 99; None where there are too few calls."""
        return {rank: statistics.percentile(self.seconds, rank, self._resamples) for rank in (50, 90, 99)}

    @cached_property
    def spread(self) -> Spread:
        """What makes the times differ."""
        return statistics.spread(self.seconds)

    @cached_property
    def speedup(self) -> Estimate | None:
        """How many times as fast as the rival."""
        return None if self.rival is None else statistics.speedup(self.rival.seconds, self.seconds, self._paired)

    @cached_property
    def speedup_fastest(self) -> Estimate | None:
        """How many times as fast as the rival in its fastest runtime."""
        return None if self.fastest is None else statistics.speedup(self.fastest.seconds, self.seconds)

    @property
    def saved(self) -> float | None:
        """Share of the rival's MACs that were not executed; None where it executes none, or those of one of both are not counted."""
        if self.rival is None or self.uncounted or self.rival.uncounted or not self.rival.macs.any():
            return None
        return 1 - float(self.macs.mean() / self.rival.macs.mean())

    @cached_property
    def realised(self) -> Estimate | None:
        """Share of the executed saving that is saved in time too; None where there is no saving, and for a network made of parts.

        Parts of different kinds have different times per MAC; see `dispatch_efficiency`.
        """
        if self.saved is None or self.parts is not None:
            return None
        return statistics.realised(self.rival.seconds, self.seconds, self.rival.macs, self.macs, self._paired)

    @cached_property
    def dispatch_efficiency(self) -> Estimate | None:
        """Summed times of the parts over the network's own time; None without parts."""
        return None if self.parts is None else statistics.speedup(self.parts, self.seconds)

    @cached_property
    def needed(self) -> tuple[int, int] | None:
        """Rounds and inputs that would settle an inconclusive speed-up; None where the speed-up is conclusive.

        It is inconclusive where its interval holds 1 and is wider than `RESOLUTION`. Of the interval's variance, half is allowed to the
        choice of inputs, which more inputs reduce; rounds reduce the rest.
        """
        if self.speedup is None or self.speedup.excludes(1.0) or self.speedup.half_width <= RESOLUTION:
            return None
        inputs, machine, single = statistics.half_width_parts(self.rival.seconds, self.seconds, self._paired)
        allowed = RESOLUTION**2
        more_inputs = max(1.0, inputs / (allowed / 2))
        more_rounds = max(1.0, (machine + single / more_inputs) / (allowed - inputs / more_inputs))
        rounds, calls = self.seconds.shape
        return math.ceil(rounds * more_rounds), math.ceil(calls * more_inputs) * self.batch_size

    def row(self) -> dict:
        """The columns of `row.TimeRow` that timing measures; what was not measured is left out."""
        row = {
            "network": self.label,
            "rival": self.rival and self.rival.label,
            "execution": self.execution,
            "runtime": self.runtime,
            "precision": self.precision,
            "batch_norm_folded": self.folded,
            "threads": self.threads,
            "batch_size": self.batch_size,
            "calls": self.seconds.shape[1],
            "rounds": self.seconds.shape[0],
            "noisy_rounds": self.noisy_rounds,
            "waited_pct": None if self.waited is None else 100 * self.waited,
            "busy": self.busy,
            "session_seconds": self.elapsed,
            "timed_claimed_pct": self.claimed,
            "layout": self.layout,
            "timed_macs_executed": None if self.uncounted else float(self.macs.mean()),
            **self._range(),
            "timed_audit": list(self.findings) or None,
            "seen_before": self.seen_before or None,
            "uncounted": list(self.uncounted) or None,
            "rival_uncounted": (self.rival and list(self.rival.uncounted)) or None,
            "timed_saving_pct": None if self.saved is None else 100 * self.saved,
            **_three("latency_ms", self.latency, 1e3),
            **_three("rival_ms", self.rival and statistics.mean_latency(self.rival.seconds), 1e3),
            "latency_quantiles_ms": _quantiles(self.seconds),
            "rival_quantiles_ms": None if self.rival is None else _quantiles(self.rival.seconds),
            "spread_inputs": self.spread.inputs,
            "spread_rounds": self.spread.rounds,
            "spread_rest": self.spread.rest,
            **_three("speedup", self.speedup),
            "rival_fastest": self.fastest and self.fastest.runtime,
            **_three("rival_fastest_ms", self.fastest and statistics.mean_latency(self.fastest.seconds), 1e3),
            **_three("speedup_fastest", self.speedup_fastest),
            **_three("realised", self.realised),
            **_three("dispatch_efficiency", self.dispatch_efficiency),
        }
        if self.joules is not None:
            row |= _three("energy_mj", statistics.mean_latency(self.joules[:, None]), 1e3)
        for rank, estimate in self.percentiles.items():
            row |= _three(f"latency_p{rank}", estimate, 1e3)
        if self.needed:
            row["repeats_needed"], row["inputs_needed"] = self.needed
            row["inputs_available"] = self.available
        if self.gate:
            row |= self._gate_columns()
        return {key: value for key, value in row.items() if value is not None}

    def _range(self) -> dict:
        """Executed MACs of the calls with fewest and most, over all counts, and their deviation."""
        if self.uncounted:
            return {}
        counts = self.macs if self.counts is None else self.counts
        return {"timed_macs_least": float(counts.min()), "timed_macs_most": float(counts.max()), "timed_macs_sd": self.macs_deviation}

    def _gate_columns(self) -> dict:
        columns = {
            **_three("gate_price", self.gate.price),
            **_three("all_on", self.gate.all_on),
            **_three("all_off", self.gate.all_off),
            "break_even_skip_pct": self.gate.break_even,
            "gate_ms": self.gate.price and 1e3 * (1 - 1 / self.gate.price.value) * self.latency.value,
        }
        if self.gate.cost:
            columns |= {
                "cost_base_ms": 1e3 * self.gate.cost.base,
                "cost_units_ms": [None if np.isnan(each) else 1e3 * float(each) for each in self.gate.cost.units],
                "cost_r2": self.gate.cost.r2,
            }
        return columns


def _quantiles(seconds: np.ndarray) -> list[float]:
    """Milliseconds of a call at every twentieth of the calls, from the fastest to the slowest."""
    return [float(f"{each:.5g}") for each in 1e3 * np.quantile(statistics.per_input(seconds), QUANTILES)]


def _three(name: str, estimate: Estimate | None, scale: float = 1.0) -> dict[str, float]:
    """The columns of an estimate: its value and the ends of its interval."""
    if estimate is None:
        return {}
    return {name: scale * estimate.value, f"{name}_low": scale * estimate.low, f"{name}_high": scale * estimate.high}
