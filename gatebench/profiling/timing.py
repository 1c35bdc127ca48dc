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
"""Half-width of a speed-up's interval above which the noise is too high to tell 5 % faster from equally fast."""
NO_SAVING = 0.01
"""Share of MACs saved below which there is no saving that could be realised."""


@dataclass(frozen=True)
class Gate:
    """What deciding costs, and when it pays."""

    price: Estimate
    """Time with the network's own decisions, over the time with the same decisions imposed."""
    all_on: Estimate
    """Time with the gates asked and every unit on, over the twin's."""
    all_off: Estimate
    cost: CostModel
    """Fitted to random imposed decisions: what each unit costs."""

    @property
    def break_even(self) -> float | None:
        """Share of the units that must be off, all alike, for the time to equal the twin's; None where no share is enough."""
        if self.all_off.value >= 1:
            return None
        return max(0.0, (self.all_on.value - 1) / (self.all_on.value - self.all_off.value))


@dataclass(frozen=True)
class Timing:
    """One network, one execution, one batch size, one number of threads."""

    label: str
    execution: str
    threads: int
    batch_size: int
    seconds: np.ndarray
    """[R, N]."""
    macs: np.ndarray
    """Executed multiply-accumulates of an input, mean of each call, [N]."""
    shares: np.ndarray | None
    """Share of each unit that was on, mean of each call, [N, U]; None without units."""
    claimed: float | None
    """Share of all switches that were off."""
    rival: str | None = None
    """What the speed-up is over."""
    rival_seconds: np.ndarray | None = None
    """[R, N]."""
    rival_macs: np.ndarray | None = None
    gate: Gate | None = None
    noisy_rounds: int = 0

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
        return None if self.rival_seconds is None else statistics.speedup(self.rival_seconds, self.seconds)

    @property
    def saved(self) -> float | None:
        """Share of the rival's MACs that were not executed."""
        return None if self.rival_macs is None else 1 - float(self.macs.mean() / self.rival_macs.mean())

    @property
    def realised(self) -> Estimate | None:
        """Share of the executed saving that is saved in time too; None where there is no saving."""
        saved = self.saved
        if saved is None or saved < NO_SAVING:
            return None
        return self.speedup.map(lambda ratio: (1 - 1 / ratio) / saved)

    @property
    def rounds_needed(self) -> int | None:
        """Rounds that would do where the noise is too high for the speed-up to be told from 1; None where it is not."""
        if self.speedup is None:
            return None
        half_width = (self.speedup.high - self.speedup.low) / 2 / self.speedup.value
        return None if half_width <= RESOLUTION else math.ceil(len(self.seconds) * (half_width / RESOLUTION) ** 2)

    def row(self) -> dict:
        """The latency columns of the row; what was not measured is left out."""
        row = {
            "network": self.label,
            "execution": self.execution,
            "threads": self.threads,
            "batch_size": self.batch_size,
            "rival": self.rival,
            "calls": self.seconds.shape[1],
            "rounds": self.seconds.shape[0],
            "noisy_rounds": self.noisy_rounds,
            "timed_claimed_pct": None if self.claimed is None else 100 * self.claimed,
            "timed_macs_executed": float(self.macs.mean()),
            "timed_saving_pct": None if self.saved is None else 100 * self.saved,
            **_three("latency", self.latency, "_ms", 1e3),
            **{f"latency_p{rank}": 1e3 * each.value for rank, each in self.percentiles.items() if each},
            "spread_inputs": self.spread.inputs,
            "spread_rounds": self.spread.rounds,
            "spread_rest": self.spread.rest,
            **_three("speedup", self.speedup),
            **_three("realised", self.realised),
            "rounds_needed": self.rounds_needed,
        }
        if self.gate:
            row |= {
                **_three("gate_price", self.gate.price),
                **_three("all_on", self.gate.all_on),
                **_three("all_off", self.gate.all_off),
                "break_even_skip_pct": None if self.gate.break_even is None else 100 * self.gate.break_even,
                "gate_ms": 1e3 * (1 - 1 / self.gate.price.value) * self.latency.value,
                "cost_base_ms": 1e3 * self.gate.cost.base,
                "cost_units_ms": [1e3 * float(each) for each in self.gate.cost.units],
                "cost_r2": self.gate.cost.r2,
            }
        return {key: value for key, value in row.items() if value is not None}


def _three(name: str, estimate: Estimate | None, unit: str = "", scale: float = 1.0) -> dict[str, float]:
    if estimate is None:
        return {}
    return {f"{name}{unit}": scale * estimate.value, f"{name}_low": scale * estimate.low, f"{name}_high": scale * estimate.high}
