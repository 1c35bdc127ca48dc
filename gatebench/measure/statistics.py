"""Honest statistics for what is measured."""

from scipy.stats import binomtest


def wilson(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share, in percent."""
    interval = binomtest(correct, total).proportion_ci(confidence, method="wilson")
    return 100 * interval.low, 100 * interval.high
