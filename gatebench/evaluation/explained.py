"""How much of what a network decides the input explains.

Shapes: N inputs, S switches.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..contract import GatedModel
from ..data.batches import Batches
from ..device import autocast
from ..ranks import rank_correlation
from .fixed import NORMAL, standard_error
from .outcome import Outcome, collect


def explained(
    model: GatedModel, scored: Batches, outcome: Outcome, difficulty: np.ndarray | None, precision: str
) -> dict[str, float | int]:
    """The columns `row.EXPLAINED` of a network that did as `outcome` says on the scored part; `difficulty` [N] of its inputs, if known.

    How many decisions there are and how unlike, what it gains over deciding the same for other inputs, and whether it spends more where
    its static twin finds the answer hard.
    """
    counts = times_decided(outcome.decisions)
    shares = counts / counts.sum()
    columns: dict[str, float | int] = {"patterns": len(counts), "pattern_entropy": max(0.0, float(-(shares * np.log2(shares)).sum()))}
    if len(counts) == 1:
        return columns
    other = np.random.default_rng(0).permutation(len(outcome.decisions))
    given = model.needed(torch.from_numpy(outcome.decisions[other]).to(scored.labels.device))
    gain = outcome.correct.astype(float) - collect(model, scored, precision, model.scoring, imposed=given).correct
    error = NORMAL * standard_error(gain, scored.source)
    columns |= {f"matching_gain{end}": 100 * (float(gain.mean()) + sign * error) for end, sign in (("", 0), ("_low", -1), ("_high", 1))}
    spent = outcome.decided_macs(model)
    if not np.ptp(spent):  # as where the same number of channels is on for every input
        return columns
    twin = next(iter(model.references().values()), None)
    beside = {"loss_correlation": None if twin is None else losses(twin, scored, precision), "difficulty_correlation": difficulty}
    return columns | {name: rank_correlation(spent, values) for name, values in beside.items() if values is not None and np.ptp(values)}


def times_decided(decisions: np.ndarray) -> np.ndarray:
    """How often each of the different decisions [N, S] was made."""
    return np.unique(np.packbits(decisions, axis=1), axis=0, return_counts=True)[1]


def losses(network: nn.Module, batches: Batches, precision: str) -> np.ndarray:
    """Cross-entropy [N] of a network, images [N, C, H, W] -> logits, on each of the inputs."""
    parts = []
    with torch.inference_mode(), autocast(batches.labels.device, precision):
        for batch in batches.in_order():
            parts.append(cross_entropy(network(batch.x).float(), batch.labels, reduction="none").cpu())
    return torch.cat(parts).numpy()
