"""How the rules compare numbers, and in what all rows of a run agree."""

import math

NEAR = 1e-6
"""Relative difference of numbers that are the same; tables have ten digits."""
OF_RUN = ("model", "recipe", "digest", "seed", "epochs", "weights")
"""In which all rows of a run and its times agree."""


def near(first: float, second: float, relative: float = NEAR) -> bool:
    return math.isclose(first, second, rel_tol=relative, abs_tol=1e-9)


def at_most(least: float, most: float) -> bool:
    return least <= most or near(least, most)
