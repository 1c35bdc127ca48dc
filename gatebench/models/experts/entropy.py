"""Chooses by the predicted entropy of the experts' answers: phase 1 of Routing Beats Latency, which calls it useless.

Shapes: N images, E experts, C classes, F features.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from ...losses import Batch
from .decider import in_fp32
from .features import FEATURES, Pooled, standardise
from .intervals import ByIntervals
from .settings import Entropy

RIDGE = 1e-2
"""Penalty of the regression, over standardised features and the mean over images."""


class EntropyPredictor(ByIntervals, Pooled):
    """Scores [N, 1]: the mean entropy (nats) of the experts' answers, by ridge regression on pooled features."""

    name = "predicted entropy"

    def __init__(self, settings: Entropy, experts: int, input_shape: tuple[int, int, int]):
        super().__init__(settings.size, settings.pretrained, input_shape)
        self.head = torch.nn.Linear(FEATURES, 1).requires_grad_(False)
        self.keep_intervals(experts)

    @torch.no_grad()
    def learn(self, train: Iterable[Batch], prepared: Callable[[Tensor], Tensor]) -> None:
        features, entropies = [], []
        for batch in train:
            features.append(self.pooled(prepared(batch.x)).double())
            entropies.append(mean_entropies(batch.outputs))
        features, entropies = torch.cat(features), torch.cat(entropies)
        mean, deviation = standardise(features)
        standard = (features - mean) / deviation
        gram = standard.T @ standard / len(standard) + RIDGE * torch.eye(FEATURES, dtype=standard.dtype, device=standard.device)
        slopes = torch.linalg.solve(gram, standard.T @ (entropies - entropies.mean()) / len(standard)) / deviation
        self.head.weight.copy_(slopes[None])
        self.head.bias.copy_(entropies.mean() - slopes @ mean)

    def forward(self, x: Tensor) -> Tensor:
        features = self.pooled(x).float()
        with in_fp32(x):
            return self.head(features)

    def columns(self, scores: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """R2 of the prediction."""
        entropies = mean_entropies(torch.from_numpy(outputs)).numpy()
        spread = ((entropies - entropies.mean()) ** 2).sum()
        return {"entropy_r2": float(1 - ((entropies - scores[:, 0]) ** 2).sum() / spread)} if spread else {}


def mean_entropies(outputs: Tensor) -> Tensor:
    """Mean over the experts of the entropy (nats) of their answers, from logits [N, E, C]: float64 [N]."""
    logs = outputs.double().log_softmax(2)
    return -(logs.exp() * logs).sum(2).mean(1)
