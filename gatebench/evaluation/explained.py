"""How much of what a network decides the input explains.

Shapes: N inputs, S switches.
"""

from collections.abc import Callable

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
    decisions: np.ndarray, right: np.ndarray, spent: np.ndarray, right_with: Callable[[np.ndarray], np.ndarray],
    losses: Callable[[], np.ndarray | None], difficulty: np.ndarray | None = None, source: np.ndarray | None = None,
) -> dict[str, float | int]:  # fmt: skip
    """The columns `row.EXPLAINED` of a network with these decisions [N, S] on the scored inputs, which is right where `right` [N] says
    and spends `spent` [N] MACs.

    How many decisions there are and how unlike, what it gains over deciding the same for other inputs, and whether it spends more where
    its static twin finds the answer hard. `right_with` says where it is right [N] with the decisions of the inputs of these numbers [N].
    `losses` are the twin's [N], None without a twin; it is only called where they count. `difficulty` [N] is that of the inputs, if known.
    """
    counts = times_decided(decisions)
    shares = counts / counts.sum()
    columns: dict[str, float | int] = {"patterns": len(counts), "pattern_entropy": max(0.0, float(-(shares * np.log2(shares)).sum()))}
    if len(counts) == 1:
        return columns
    gain = right.astype(float) - right_with(np.random.default_rng(0).permutation(len(decisions)))
    error = NORMAL * standard_error(gain, source)
    columns |= {f"matching_gain{end}": 100 * (float(gain.mean()) + sign * error) for end, sign in (("", 0), ("_low", -1), ("_high", 1))}
    if not np.ptp(spent):  # as where the same number of channels is on for every input
        return columns
    beside = {"loss_correlation": losses(), "difficulty_correlation": difficulty}
    return columns | {name: rank_correlation(spent, values) for name, values in beside.items() if values is not None and np.ptp(values)}


def explained_by_running(model: GatedModel, scored: Batches, outcome: Outcome, precision: str) -> dict[str, float | int]:
    """`explained`, of a network that did as `outcome` says: it and its twin are run on the scored part once more."""

    def right_with(order: np.ndarray) -> np.ndarray:
        given = model.needed(torch.from_numpy(outcome.decisions[order]).to(scored.labels.device))
        return collect(model, scored, precision, model.scoring, imposed=given).correct

    def of_twin() -> np.ndarray | None:
        twin = next(iter(model.references().values()), None)
        return None if twin is None else losses(twin, scored, precision)

    spent = outcome.decided_macs(model)
    return explained(outcome.decisions, outcome.correct, spent, right_with, of_twin, scored.difficulty, scored.source)


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
