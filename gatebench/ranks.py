"""Rank correlation, without scipy.stats, which takes a second to import."""

from collections.abc import Sequence

import numpy as np


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, in [-1, 1], of two lists of N numbers of which neither holds the same number N times."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Of N numbers, float64 [N]; equal numbers share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - count / 2)[place]
