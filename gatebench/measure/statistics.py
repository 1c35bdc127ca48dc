"""Statistics of measured times, with 95 % intervals.

Shapes: R rounds, N inputs; times are seconds [R, N]. They differ between inputs (a gate at work) and between rounds (noise of the
machine, shared by everything in a round). Intervals therefore resample both: a two-way bootstrap (Owen 2007, "The pigeonhole
bootstrap", arXiv 0712.1111), which is conservative for noise of single calls. With fewer than about twenty rounds the intervals are
somewhat too narrow for noise between rounds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
_PARTS = 50
"""In which resamples are computed: at once they are large, one by one they are slow."""
NO_SAVING = 0.01
"""A smaller share of MACs saved counts as no saving."""
FEWEST_INPUTS = {90: 64, 99: 662}
"""Inputs that a percentile needs: with so many, two lie above it with a probability of 99 %."""
CALLS_PER_COST = 3
"""Timed calls that a cost model needs for each coefficient; with fewer it fits any times."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether the interval does not hold the value."""
        return not self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Of the interval, relative to the value."""
        return (self.high - self.low) / 2 / abs(self.value)


def wilson(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, in percent."""
    from scipy.stats import binomtest  # takes its time

    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return 100 * interval.low, 100 * interval.high


def per_input(seconds: np.ndarray) -> np.ndarray:
    """The typical time of each input [N]: its median over rounds, which a single interruption does not change."""
    return np.median(seconds, axis=0)


def bootstrap(statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], rounds: int, inputs: int, seed: int = 0) -> np.ndarray:
    """`statistic(round numbers [R], input numbers [N])` for resampled rounds and inputs: [RESAMPLES, ...]."""
    return np.array([statistic(*drawn) for drawn in _draws(rounds, inputs, seed)])


def _draws(rounds: int, inputs: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Round numbers [R] and input numbers [N] of each resample."""
    draw = np.random.default_rng(seed)
    return [(draw.integers(0, rounds, rounds), draw.integers(0, inputs, inputs)) for _ in range(RESAMPLES)]


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """The value with the middle 95 % of the resampled values."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


def mean_latency(seconds: np.ndarray) -> Estimate:
    """Mean over inputs of their typical time, in seconds."""
    rounds, inputs = map(np.array, zip(*_draws(*seconds.shape), strict=True))
    medians = np.concatenate([np.median(seconds[some], axis=1) for some in np.array_split(rounds, _PARTS)])
    return interval(per_input(seconds).mean(), np.take_along_axis(medians, inputs, 1).mean(1))


def percentile(seconds: np.ndarray, rank: int) -> Estimate | None:
    """A percentile over inputs of their typical time, in seconds; None where there are too few inputs."""
    if seconds.shape[1] < FEWEST_INPUTS.get(rank, 1):
        return None
    resampled = bootstrap(lambda rounds, inputs: np.percentile(np.median(seconds[rounds][:, inputs], axis=0), rank), *seconds.shape)
    return interval(np.percentile(per_input(seconds), rank), resampled)


def speedup(slow: np.ndarray, fast: np.ndarray) -> Estimate:
    """Total time of `slow` over total time of `fast`, from pairs of times.

    An input's ratio is the median over rounds of the ratio within a round, whose two times are taken in turns that follow each other, so
    that slow changes of the machine cancel. Weighted with the input's own time, the ratios average to that of the totals.
    """
    ratio = _total_ratio(slow, fast)
    return interval(ratio(*_all(slow)), bootstrap(ratio, *slow.shape))


def realised(slow: np.ndarray, fast: np.ndarray, slow_macs: np.ndarray, fast_macs: np.ndarray) -> Estimate | None:
    """Share of the saved MACs that is saved in time: (1 - time / time) / (1 - MACs / MACs); `*_macs` [N] are those of the inputs.

    None where less than `NO_SAVING` of the MACs is saved, and where so few inputs save any that a resample may save none (or cost more,
    where deciding costs MACs). Times and MACs are resampled together, because they vary together.
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
    """The squared relative half-width of the speed-up's interval in three parts: choice of inputs, rounds (the machine), single calls.

    Resampling inputs alone, or rounds alone, holds the variance of single calls once; resampling both holds it three times (Owen 2007,
    see above). So that variance is what both together have over the sum of the two.
    """
    ratio = _total_ratio(slow, fast)
    rounds, inputs = _all(slow)
    value = ratio(rounds, inputs)
    by_inputs = interval(value, bootstrap(lambda _, sample: ratio(rounds, sample), *slow.shape)).half_width ** 2
    by_rounds = interval(value, bootstrap(lambda sample, _: ratio(sample, inputs), *slow.shape)).half_width ** 2
    calls = max(0.0, speedup(slow, fast).half_width ** 2 - by_inputs - by_rounds)
    return max(0.0, by_inputs - calls), max(0.0, by_rounds - calls), 3 * calls


def _total_ratio(slow: np.ndarray, fast: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    """The speed-up as a function of the numbers of the rounds and inputs it is computed on."""
    with np.errstate(divide="ignore"):  # `slow` may be 0, as a sum of parts of which an input runs none
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
    """Standard deviations of times, relative to the mean time, by their cause."""

    inputs: float
    """Between inputs: the gate."""
    rounds: float
    """Between rounds: a machine whose speed changes."""
    rest: float
    """Neither: noise of single calls."""


def spread(seconds: np.ndarray) -> Spread:
    """Spread of the logarithms between inputs, between rounds, and of the rest; by medians, which interrupted calls hardly change.

    The variance that the rest adds to the medians (pi / 2 of its own over their number) is subtracted. With fewer than about thirty
    rounds the medians follow the rest, which is then underestimated (5.0 % as 3.7 % at five rounds, as 4.7 % at thirty).
    """
    logs = np.log(seconds)
    rounds, inputs = logs.shape
    by_input = np.median(logs, axis=0, keepdims=True)
    by_round = np.median(logs - by_input, axis=1, keepdims=True)
    rest = (1.4826 * np.median(np.abs(logs - by_input - by_round))) ** 2  # 1.4826 makes it the standard deviation of a normal distribution
    between_inputs = max(0.0, by_input.var(ddof=1) - np.pi / 2 * rest / rounds)
    between_rounds = max(0.0, by_round.var(ddof=1) - np.pi / 2 * rest / inputs)
    return Spread(*(float(np.sqrt(variance)) for variance in (between_inputs, between_rounds, rest)))


@dataclass(frozen=True)
class CostModel:
    """time = base + sum of unit costs x decisions, by least squares."""

    base: float
    """Seconds."""
    units: np.ndarray
    """Seconds of each unit, [U]; not a number where it is collinear with another unit."""
    r2: float
    """Explained share of the variance between calls, each call predicted from all others; below 0: worse than their mean."""


def fit_cost(shares: np.ndarray, seconds: np.ndarray, macs: np.ndarray) -> CostModel | None:
    """A cost model of typical times [N] from the shares [N, U] of units that were on; None where N is too small or nothing differs.

    Units that always switch together share one cost, which is given to the one with most MACs [U]. Units that are always on are in the
    base.
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
