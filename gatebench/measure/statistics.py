"""Statistics of measured times, with 95 % intervals.

Shapes: R rounds, N inputs, B resamples; times are seconds [R, N]. They differ between inputs (a gate at work), between rounds (the
machine, which slows all inputs of a round alike) and from call to call. The typical time of an input is its median over rounds, which
holds what is left of the noise of its calls. So resampling the inputs gives the variance of inputs and calls, and only what the machine
does to all inputs is added to it. Resampling inputs and rounds together would count the calls three times (Owen 2007, "The pigeonhole
bootstrap", arXiv 0712.1111). Few inputs or rounds widen an interval as Student's t does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

RESAMPLES = 1000
CHUNKS = 50
"""In which medians of resampled rounds are computed: at once they are large, one by one they are slow."""
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
    """Wilson score interval of a share, in percent. Without scipy.stats, which takes a second to import."""
    z, share = ndtri((1 + confidence) / 2), correct / total
    centre, half = share + z**2 / (2 * total), z * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low, high = 100 * (centre + half * np.array([-1, 1])) / (1 + z**2 / total)
    return float(low) if correct else 0.0, float(high) if correct < total else 100.0  # which is what rounding misses


def per_input(seconds: np.ndarray) -> np.ndarray:
    """The typical time of each input [N]: its median over rounds, which a single interruption does not change."""
    return np.median(seconds, axis=0)


def interval(value: float, resampled: np.ndarray) -> Estimate:
    """The value with the middle 95 % of the resampled values."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Estimate(float(value), float(low), float(high))


@dataclass(frozen=True)
class Resamples:
    """What chance might have made of the inputs and of the machine."""

    inputs: np.ndarray
    """Numbers of resampled inputs, [B, N]."""
    machine: np.ndarray
    """What the machine might have multiplied every time by, [B]."""
    call_variance: float
    """Variance of the mean over inputs of the logarithm that is due to single calls."""

    def interval(self, value: float, resampled: np.ndarray, signed: bool = False) -> Estimate:
        """The value with its interval, from the same statistic of the resamples [B].

        Few inputs widen it on a scale of logarithms, on which a time stays above 0; where it is `signed`, on its own.
        """
        count = self.inputs.shape[1]
        wider = _student(count) * np.sqrt(count / max(1, count - 1))
        if signed or value <= 0:
            return interval(value, value + wider * (resampled - value))
        return interval(value, value * (resampled / value) ** wider)


def resample(seconds: np.ndarray) -> Resamples:
    """Of times, or ratios of times within a round."""
    (rounds, inputs), draw = seconds.shape, np.random.default_rng(0)
    drawn, chosen = draw.integers(0, rounds, (RESAMPLES, rounds)), draw.integers(0, inputs, (RESAMPLES, inputs))
    logs = np.log(seconds[:, (seconds > 0).all(0)])  # an input that has nothing to do takes 0 seconds in every round
    if not logs.size:
        return Resamples(chosen, np.ones(RESAMPLES), 0.0)
    typical = np.median(logs, axis=0)
    change = np.concatenate([np.median(logs[some], axis=1) for some in np.array_split(drawn, CHUNKS)]) - typical
    shared = change.mean(1)
    calls = float((change - shared[:, None]).var(0).mean() / max(1, len(typical) - 1))
    variance = shared.var()
    share = max(0.0, 1 - calls / variance) if variance else 0.0
    return Resamples(chosen, np.exp(np.sqrt(share) * _student(rounds) * (shared - shared.mean())), calls)


def _student(count: int) -> float:
    """By how much Student's 95 % interval of so many values is wider than that of a normal distribution."""
    return float(stdtrit(count - 1, 0.975) / 1.96) if count > 1 else 1.0


def mean_latency(seconds: np.ndarray, resamples: Resamples | None = None) -> Estimate:
    """Mean over inputs of their typical time, in seconds. Here and below, `resamples` are those of the times, where they are known."""
    typical, drawn = per_input(seconds), resamples or resample(seconds)
    return drawn.interval(typical.mean(), typical[drawn.inputs].mean(1) * drawn.machine)


def percentile(seconds: np.ndarray, rank: int, resamples: Resamples | None = None) -> Estimate | None:
    """A percentile over inputs of their typical time, in seconds; None where there are too few inputs."""
    if seconds.shape[1] < FEWEST_INPUTS.get(rank, 1):
        return None
    typical, drawn = per_input(seconds), resamples or resample(seconds)
    return drawn.interval(np.percentile(typical, rank), np.percentile(typical[drawn.inputs], rank, axis=1) * drawn.machine)


def speedup(slow: np.ndarray, fast: np.ndarray, resamples: Resamples | None = None) -> Estimate:
    """Total time of `slow` over total time of `fast`, from pairs of times.

    An input's ratio is the median over rounds of the ratio within a round, whose two times are taken in turns that follow each other, so
    that slow changes of the machine cancel. Weighted with the input's own time, the ratios average to that of the totals. Here and below,
    `resamples` are those of slow / fast, where they are known.
    """
    ratio, drawn = _total_ratio(slow, fast), resamples or resample(slow / fast)
    return drawn.interval(ratio(_all(slow)), ratio(drawn.inputs) * drawn.machine)


def realised(
    slow: np.ndarray, fast: np.ndarray, slow_macs: np.ndarray, fast_macs: np.ndarray, resamples: Resamples | None = None
) -> Estimate | None:
    """Share of the saved MACs that is saved in time: (1 - time / time) / (1 - MACs / MACs); `*_macs` [N] are those of the inputs.

    None where less than `NO_SAVING` of the MACs is saved, and where so few inputs save any that a resample may save none (or cost more,
    where deciding costs MACs). Times and MACs are resampled together, because they vary together.
    """
    ratio = _total_ratio(slow, fast)

    def saved_macs(inputs):
        return 1 - fast_macs[inputs].sum(-1) / slow_macs[inputs].sum(-1)

    if not slow_macs.sum() or saved_macs(_all(slow)) < NO_SAVING:
        return None
    drawn = resamples or resample(slow / fast)
    resampled = saved_macs(drawn.inputs)
    if not (resampled > 0).all():
        return None
    in_time = 1 - 1 / (ratio(drawn.inputs) * drawn.machine)
    return drawn.interval((1 - 1 / ratio(_all(slow))) / saved_macs(_all(slow)), in_time / resampled, signed=True)


def half_width_parts(slow: np.ndarray, fast: np.ndarray, resamples: Resamples | None = None) -> tuple[float, float, float]:
    """The squared relative half-width of the speed-up's interval in three parts: choice of inputs, rounds (the machine), single calls."""
    ratio, drawn = _total_ratio(slow, fast), resamples or resample(slow / fast)
    of_inputs = drawn.interval(ratio(_all(slow)), ratio(drawn.inputs)).half_width ** 2
    of_rounds = interval(1.0, drawn.machine).half_width ** 2
    of_calls = min(of_inputs, 1.96**2 * drawn.call_variance)
    return of_inputs - of_calls, of_rounds, of_calls


def _total_ratio(slow: np.ndarray, fast: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The speed-up as a function of the numbers of the inputs that it is computed on, [..., N]."""
    with np.errstate(divide="ignore"):  # `slow` may be 0, as a sum of parts of which an input runs none
        ratios = np.exp(np.median(np.log(slow / fast), axis=0))
    weights = per_input(fast)
    return lambda inputs: (ratios * weights)[inputs].sum(-1) / weights[inputs].sum(-1)


def _all(seconds: np.ndarray) -> np.ndarray:
    """The numbers of all inputs."""
    return np.arange(seconds.shape[1])


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
