"""Whether networks that were trained with other seeds spend more on the same inputs.

Their patterns do not compare, since each seed has blocks, exits or channels of its own. What they spend does.
"""

import statistics
from itertools import combinations

import numpy as np

from ..ranks import rank_correlation
from .groups import Group
from .reading import read_decisions, read_inputs
from .results import Run


def seed_agreement(group: Group) -> float | None:
    """Mean over pairs of seeds of the rank correlation of the MACs that each scored input is decided to cost, in [-1, 1].

    0: which inputs get more is chance of the training; 1: the input decides. None for a single seed, where a seed spends the same on every
    input or keeps no tables of single inputs, and beside the headline, of which alone there are such tables.
    """
    headlines = all(row is run.headline for run, row in zip(group.runs, group.rows, strict=True))
    if len(group.runs) == 1 or not group.row["adaptive"] or not headlines:
        return None
    spent = [_spent(run) for run in group.runs]
    if any(macs is None or len(macs) != len(spent[0]) or not np.isfinite(macs).all() or len(set(macs)) < 2 for macs in spent):
        return None
    return statistics.mean(rank_correlation(*pair) for pair in combinations(spent, 2))


def _spent(run: Run) -> np.ndarray | None:
    """MACs [N]: as inputs.parquet has them, else from decisions.npz, where each unit has one switch."""
    inputs = run.read("inputs.parquet", read_inputs, {})
    if "macs_decided" in inputs:
        return inputs["macs_decided"]
    decisions = run.read("decisions.npz", read_decisions, None)
    units = [line["macs_decided"] for line in run.breakdown if line["by"] == "unit" and line.keys() >= {"mean_gate_hard", "macs_decided"}]
    if decisions is None or decisions.shape[1] != len(units):
        return None
    times_on = np.maximum(decisions.sum(0), 1)
    return decisions @ np.rint(np.array(units) * len(decisions) / times_on)  # whole MACs: units of one cost stay so
