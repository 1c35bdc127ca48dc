"""What every exit of a network says of every input of a split: one pass, from which every threshold can be judged.

Shapes: N inputs, E exits, C classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...data.batches import Batches
from ...device import autocast
from .network import EarlyExit
from .policy import all_scores
from .settings import Rule


@dataclass(frozen=True)
class Answers:
    """What every exit says of every input of a split."""

    labels: np.ndarray
    """[N]."""
    logits: Tensor
    """[N, E, C], fp32, on the CPU."""
    source: np.ndarray | None = None
    """Number of the underlying image [N], the same in all of its severities; None: images come as they are."""
    difficulty: np.ndarray | None = None
    """[N], if known."""

    @property
    def right(self) -> np.ndarray:
        """Boolean [N, E]."""
        return self.logits.argmax(2).numpy() == self.labels[:, None]

    @property
    def losses_of_last(self) -> np.ndarray:
        """Cross-entropy [N] of the last exit, which is the static twin's answer."""
        return cross_entropy(self.logits[:, -1], torch.from_numpy(self.labels), reduction="none").numpy()

    def scores(self, rule: Rule, temperatures: tuple[float, ...] | None) -> Tensor:
        return all_scores(self.logits, rule, temperatures)


def ask_all(model: EarlyExit, batches: Batches, precision: str) -> Answers:
    """Every exit's answer to every image of a split."""
    model.eval()
    labels, logits = [], []
    with torch.inference_mode(), autocast(batches.labels.device, precision):
        for batch in batches.in_order():
            logits.append(model.infer(batch.x, "masked").details["exits"].float().cpu())
            labels.append(batch.labels.cpu().numpy())
    return Answers(np.concatenate(labels), torch.cat(logits).clone(), batches.source, batches.difficulty)
