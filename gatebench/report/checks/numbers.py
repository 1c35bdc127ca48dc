"""How the rules compare numbers, and in what all rows of a run agree."""

import math

from ..results import NETWORK_OF_TIMES

NEAR = 1e-6
"""Relative difference of numbers that are the same; tables have ten digits."""
OF_RUN = (*NETWORK_OF_TIMES, "weights")
"""In which all rows of a run and its times agree."""
PERCENTILES = ("latency_p50", "latency_p90", "latency_p99")


def near(first: float, second: float, relative: float = NEAR) -> bool:
    return math.isclose(first, second, rel_tol=relative, abs_tol=1e-9)


def at_most(least: float, most: float) -> bool:
    return least <= most or near(least, most)
