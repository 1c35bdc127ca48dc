"""How often the 95 % intervals of times hold the truth, on simulated times whose truth is known.

    python benchmarks/intervals.py [--draws 2000]

Times differ between inputs, between rounds, and from call to call, each with a known standard deviation of the logarithm. Two networks
are timed in the same rounds; half of what a round does is the same for both. Takes half an hour on two cores.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from rich.console import Console
from rich.table import Table

from gatebench.measure import statistics

MIXTURES = {
    "inputs": (0.2, 0.0, 0.001),
    "rounds": (0.0, 0.05, 0.001),
    "calls": (0.0, 0.0, 0.05),
    "rounds and calls": (0.0, 0.02, 0.05),
    "inputs, fewer rounds, calls": (0.2, 0.02, 0.05),
    "all alike": (0.05, 0.05, 0.05),
    "mostly calls": (0.02, 0.02, 0.1),
}
"""Standard deviations between inputs, between rounds, and from call to call."""
SHAPES = (15, 40), (30, 100)
"""Rounds and inputs."""
ESTIMATES = "mean", "median", "speed-up"


def times(draw: np.random.Generator, deviations: tuple[float, float, float], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds [R, N] of a network whose time depends on the input, and of one whose time does not."""
    inputs, rounds, calls = deviations
    shared, own = (rounds / np.sqrt(2) * draw.standard_normal((shape[0], 1)) for _ in range(2))
    typical = inputs * draw.standard_normal((1, shape[1]))
    noise = calls * draw.standard_normal((2, *shape))
    return np.exp(typical + shared + own + noise[0]), np.exp(shared + noise[1])


def held(deviations: tuple[float, float, float], shape: tuple[int, int], draws: int, seed: int = 0) -> np.ndarray:
    """Share of the intervals of each of the `ESTIMATES` that hold the truth."""
    draw, found = np.random.default_rng(seed), np.zeros(len(ESTIMATES))
    mean = np.exp(deviations[0] ** 2 / 2)
    for _ in range(draws):
        slow, fast = times(draw, deviations, shape)
        estimates = statistics.mean_latency(slow), statistics.percentile(slow, 50), statistics.speedup(slow, fast)
        found += [not each.excludes(truth) for each, truth in zip(estimates, (mean, 1.0, mean), strict=True)]
    return found / draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    table = Table(
        "times differ by", "rounds", "inputs", *(f"{name} %" for name in ESTIMATES), title=f"Intervals that hold the truth, of {draws}"
    )
    cases = [(name, shape) for shape in SHAPES for name in MIXTURES]
    with ProcessPoolExecutor() as pool:
        shares = pool.map(partial(held, draws=draws), [MIXTURES[name] for name, _ in cases], [shape for _, shape in cases])
        for (name, shape), share in zip(cases, shares, strict=True):
            table.add_row(name, *map(str, shape), *(f"{100 * each:.1f}" for each in share))
    Console().print(table)


if __name__ == "__main__":
    main()
