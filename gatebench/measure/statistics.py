"""Honest statistics for what is measured.

Shapes: R rounds, N inputs; times are seconds [R, N]. Two things make them differ: the inputs (a gate at work) and the machine,
whose noise is shared by what is measured in one round. Intervals therefore come from resampling both (a two-way bootstrap;
Owen 2007, "The pigeonhole bootstrap", arXiv 0712.1111), which is conservative for noise that belongs to neither.
Of noise that the rounds alone have, medians over fewer than some twenty rounds give intervals that are somewhat too narrow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

RESAMPLES = 1000
NO_SAVING = 0.01
"""Share of MACs saved below which there is no saving that could be realised."""
FEWEST_INPUTS = {90: 64, 99: 662}
"""Inputs that a percentile needs before it is shown: so many that two of them lie above it with a probability of 99 %."""
CALLS_PER_COST = 3
"""Timed calls for each unknown of a cost model, without which it would fit anything."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        return not self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Of the interval, relative to the value."""
        return (self.high - self.low) / 2 / abs(self.value)


def wilson(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, in percent."""
    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return 100 * interval.low, 100 * interval.high


def per_input(seconds: np.ndarray) -> np.ndarray:
    """The typical time of each input [N]: its median over rounds, which one interruption does not move."""
    return np.median(seconds, axis=0)


def bootstrap(statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], rounds: int, inputs: int, seed: int = 0) -> np.ndarray:
    """`statistic(round numbers [R], input numbers [N])` for resampled rounds and inputs: [RESAMPLES, ...]."""
    draw = np.random.default_rng(seed)
    return np.array([statistic(draw.integers(0, rounds, rounds), draw.integers(0, inputs, inputs)) for _ in range(RESAMPLES)])


def interval(value: float, resampled: np.ndarray) -> Estimate:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


def mean_latency(seconds: np.ndarray) -> Estimate:
    """Mean over inputs of their typical time, in seconds."""
    resampled = bootstrap(lambda rounds, inputs: np.median(seconds[rounds][:, inputs], axis=0).mean(), *seconds.shape)
    return interval(per_input(seconds).mean(), resampled)


def percentile(seconds: np.ndarray, rank: int) -> Estimate | None:
    """A percentile over inputs of their typical time; None where there are too few inputs to tell."""
    if seconds.shape[1] < FEWEST_INPUTS.get(rank, 1):
        return None
    resampled = bootstrap(lambda rounds, inputs: np.percentile(np.median(seconds[rounds][:, inputs], axis=0), rank), *seconds.shape)
    return interval(np.percentile(per_input(seconds), rank), resampled)


def speedup(slow: np.ndarray, fast: np.ndarray) -> Estimate:
    """How many times the work of `fast` is done in the time of `slow`: total time over total time, from pairs.

    Each input's ratio is the median over rounds of the ratio of two times of one round, taken in turns that follow each other, which
    the machine's drift hardly touches; weighted with the input's own time, the ratios add up to that of the totals.
    """
    ratio = _total_ratio(slow, fast)
    return interval(ratio(*_all(slow)), bootstrap(ratio, *slow.shape))


def realised(slow: np.ndarray, fast: np.ndarray, slow_macs: np.ndarray, fast_macs: np.ndarray) -> Estimate | None:
    """Share of the saved MACs that is saved in time: (1 - time / time) / (1 - MACs / MACs); `*_macs` [N] belong to the inputs.

    None where less than `NO_SAVING` of the MACs is saved, or so few inputs save any that a resample may save nothing at all (or less
    than nothing, where deciding costs MACs). Times and MACs are resampled together, for they vary together.
    """
    ratio = _total_ratio(slow, fast)

    def savings(rounds, inputs):
        return 1 - 1 / ratio(rounds, inputs), 1 - fast_macs[inputs].sum() / slow_macs[inputs].sum()

    if not slow_macs.sum() or 1 - fast_macs.sum() / slow_macs.sum() < NO_SAVING:
        return None
    in_time, in_macs = savings(*_all(slow))
    resampled = bootstrap(savings, *slow.shape)
    return interval(in_time / in_macs, resampled[:, 0] / resampled[:, 1]) if (resampled[:, 1] > 0).all() else None


def half_width_parts(slow: np.ndarray, fast: np.ndarray) -> tuple[float, float, float]:
    """Of the square of the half-width of the speed-up's interval, relative to it: what is due to the choice of inputs, to rounds (the
    machine), and to single calls.

    Resampling the inputs alone, or the rounds alone, each also moves by what single calls vary, resampling both by three times that
    (Owen 2007, see above); so their share is what the whole has more than the two.
    """
    ratio = _total_ratio(slow, fast)
    rounds, inputs = _all(slow)
    value = ratio(rounds, inputs)
    by_inputs = interval(value, bootstrap(lambda _, drawn: ratio(rounds, drawn), *slow.shape)).half_width ** 2
    by_rounds = interval(value, bootstrap(lambda drawn, _: ratio(drawn, inputs), *slow.shape)).half_width ** 2
    calls = max(0.0, speedup(slow, fast).half_width ** 2 - by_inputs - by_rounds)
    return max(0.0, by_inputs - calls), max(0.0, by_rounds - calls), 3 * calls


def _total_ratio(slow: np.ndarray, fast: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    """The speed-up as a function of the numbers of the rounds and inputs it is computed on."""
    logs = np.log(slow / fast)

    def ratio(rounds, inputs):
        weights = np.median(fast[rounds][:, inputs], axis=0)
        return float(np.average(np.exp(np.median(logs[rounds][:, inputs], axis=0)), weights=weights))

    return ratio


def _all(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all rounds and of all inputs."""
    return tuple(np.arange(size) for size in seconds.shape)


@dataclass(frozen=True)
class Spread:
    """Where times differ, as standard deviations relative to the mean time."""

    inputs: float
    """Between inputs: what a gate causes."""
    rounds: float
    """Between rounds: a machine that is faster now, slower then."""
    rest: float
    """Neither: interruptions of single calls."""


def spread(seconds: np.ndarray) -> Spread:
    """Logarithms taken apart into inputs, rounds and rest, by medians, so that interruptions of single calls do not rule it all.

    What the rest alone makes the medians differ by (pi / 2 of its variance over their number) is taken off. Below some thirty rounds
    the medians follow the rest, and it reads low (5.0 % as 3.7 % at five rounds, 4.7 % at thirty).
    """
    logs = np.log(seconds)
    rounds, inputs = logs.shape
    by_input = np.median(logs, axis=0, keepdims=True)
    by_round = np.median(logs - by_input, axis=1, keepdims=True)
    rest = (1.4826 * np.median(np.abs(logs - by_input - by_round))) ** 2  # of a normal distribution, the standard deviation
    between_inputs = max(0.0, by_input.var(ddof=1) - np.pi / 2 * rest / rounds)
    between_rounds = max(0.0, by_round.var(ddof=1) - np.pi / 2 * rest / inputs)
    return Spread(*(float(np.sqrt(variance)) for variance in (between_inputs, between_rounds, rest)))


@dataclass(frozen=True)
class CostModel:
    """time = base + sum of unit costs x decisions, by least squares."""

    base: float
    """Seconds."""
    units: np.ndarray
    """Seconds of each unit, [U]; not a number where another stands for it."""
    r2: float
    """Share of the variance between calls that the model explains, each call predicted from all the others; below 0 it explains nothing."""


def fit_cost(shares: np.ndarray, seconds: np.ndarray, macs: np.ndarray) -> CostModel | None:
    """Fit typical times [N] to the shares [N, U] of units that were on; None where N is too small or nothing differs.

    Of units that go on and off together (a segment and the head behind it) the one with most MACs [U] stands for all; what is always
    on is in the base.
    """
    kept, design = [], np.ones((len(shares), 1))
    for unit in np.argsort(-macs, kind="stable"):
        wider = np.column_stack([design, shares[:, unit]])
        if np.linalg.matrix_rank(wider) == wider.shape[1]:
            kept, design = [*kept, unit], wider
    total = ((seconds - seconds.mean()) ** 2).sum()
    if not kept or len(design) < CALLS_PER_COST * design.shape[1] or not total:
        return None
    inverse = np.linalg.pinv(design)
    base, *costs = inverse @ seconds
    leverage = np.einsum("nk,kn->n", design, inverse)
    left_out = (seconds - design @ (base, *costs)) / np.maximum(1 - leverage, 1e-9)
    units = np.full(shares.shape[1], np.nan)
    units[kept] = costs
    return CostModel(float(base), units, float(1 - (left_out**2).sum() / total))
