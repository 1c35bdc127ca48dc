"""How often the 95 % intervals of times hold the truth, on simulated times whose truth is known.

    python benchmarks/intervals.py [--draws 2000]

Times differ between inputs, between rounds, and from call to call, each with a known standard deviation of the logarithm. Two networks
are timed in the same rounds; half of what a round does is the same for both. The second table adds what turns may do: whoever runs second
is slower, or the first call of a turn is, or the machine's speed changes from turn to turn. Takes half an hour on two cores.
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
TURN = 16
"""Inputs of a turn."""
EFFECTS = {
    "second 0.3 % slower": {"second": 0.003},
    "second 3 % slower": {"second": 0.03},
    "first call 5 % slower": {"first_call": 0.05},
    "each turn 3 % apart": {"turns": 0.03},
    "speed wanders by 1 % a turn": {"wander": 0.01},
}
"""What turns do: slower by these shares, or standard deviations."""
BASIS = "calls", "inputs, fewer rounds, calls"
"""Mixtures that the effects are added to."""
SHAPES = (15, 40), (30, 100)
"""Rounds and inputs."""
ESTIMATES = "mean", "median", "speed-up"


def times(
    draw: np.random.Generator, deviations: tuple[float, float, float], shape: tuple[int, int], effect: dict[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds [R, N] of a network whose time depends on the input, and of one whose time does not."""
    inputs, rounds, calls = deviations
    shared, own = (rounds / np.sqrt(2) * draw.standard_normal((shape[0], 1)) for _ in range(2))
    typical = inputs * draw.standard_normal((1, shape[1]))
    noise = calls * draw.standard_normal((2, *shape)) + of_turns(draw, shape, **effect)
    return np.exp(typical + shared + own + noise[0]), np.exp(shared + noise[1])


def of_turns(
    draw: np.random.Generator, shape: tuple[int, int], second: float = 0.0, first_call: float = 0.0, turns: float = 0.0, wander: float = 0.0
) -> np.ndarray:
    """What both networks' logarithms gain from turns over the same inputs, with one of them going first by chance, [2, R, N]."""
    place = np.argsort(draw.random(shape), axis=1)
    turn, rows = place // TURN, np.arange(shape[0])[:, None]
    late = draw.integers(0, 2, (shape[0], turn.max() + 1))  # whether the first network goes second
    order = np.stack([late, 1 - late])
    walk = wander * np.cumsum(draw.standard_normal((shape[0], 2 * order.shape[2])), axis=1)
    speed = walk[np.arange(shape[0])[:, None], 2 * np.arange(order.shape[2]) + order]
    each = second * order + turns * draw.standard_normal(order.shape) + speed - walk.mean()
    return each[:, rows, turn] + first_call * (place % TURN == 0)


def held(
    deviations: tuple[float, float, float], shape: tuple[int, int], effect: dict[str, float] | None = None, *, draws: int, seed: int = 0
) -> np.ndarray:
    """Share of the intervals of each of the `ESTIMATES` that hold the truth; of the last alone under an effect of turns, which changes the
    truth of the others."""
    draw, found = np.random.default_rng(seed), []
    mean = np.exp(deviations[0] ** 2 / 2)
    for _ in range(draws):
        slow, fast = times(draw, deviations, shape, effect or {})
        estimates = [(statistics.speedup(slow, fast), mean)]
        if not effect:
            resamples = statistics.resample(slow)
            of_times = statistics.mean_latency(slow, resamples), statistics.percentile(slow, 50, resamples)
            estimates = [*zip(of_times, (mean, 1.0), strict=True), *estimates]
        found.append([not each.excludes(truth) for each, truth in estimates])
    return np.mean(found, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    title = f"Intervals that hold the truth, of {draws}"
    table = Table("times differ by", "rounds", "inputs", *(f"{name} %" for name in ESTIMATES), title=title)
    turned = Table("times differ by", "and turns", "rounds", "inputs", "speed-up %", title=title)
    plain = [(name, shape, None) for shape in SHAPES for name in MIXTURES]
    cases = plain + [(name, shape, effect) for shape in SHAPES for name in BASIS for effect in EFFECTS]
    arguments = zip(*((MIXTURES[name], shape, EFFECTS.get(effect)) for name, shape, effect in cases), strict=True)
    with ProcessPoolExecutor() as pool:
        for (name, shape, effect), share in zip(cases, pool.map(partial(held, draws=draws), *arguments), strict=True):
            cells = [f"{100 * each:.1f}" for each in share]
            if effect:
                turned.add_row(name, effect, *map(str, shape), cells[-1])
            else:
                table.add_row(name, *map(str, shape), *cells)
    console = Console(width=110)
    console.print(table)
    console.print(turned)


if __name__ == "__main__":
    main()
