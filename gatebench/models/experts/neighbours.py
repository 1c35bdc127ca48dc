"""Chooses the expert that did best, at its price, on the most similar training images: a router that is hard to beat and learns nothing.

Shapes: N images, M training images, E experts, F features.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...losses import Batch
from .decider import Policy, in_fp32
from .features import FEATURES, Pooled, standardise
from .objective import cross_entropies, normalised, objective
from .settings import Neighbours


class NearestNeighbours(Pooled):
    """Scores [N, E]: the mean cross-entropy of every expert on the k nearest training images, by the cosine of standardised features.

    The policy is lambda.
    """

    chooses = True

    def __init__(self, settings: Neighbours, costs: Sequence[float], input_shape: tuple[int, int, int]):
        super().__init__(settings.size, settings.pretrained, input_shape)
        self.count, self.name = settings.neighbours, f"{settings.neighbours} nearest neighbours"
        costs = np.array(costs, np.float64)
        self.register_buffer("times", torch.tensor(normalised(costs, costs), dtype=torch.float32), persistent=False)
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("deviation", torch.ones(FEATURES))
        self.register_buffer("embeddings", torch.zeros(0, FEATURES))
        self.register_buffer("losses", torch.zeros(0, len(costs)))
        self.keep((0.7,))

    @property
    def macs_learned(self) -> int:
        """Of the comparison with every training image."""
        return self.embeddings.numel()

    @torch.no_grad()
    def learn(self, train: Iterable[Batch], prepared: Callable[[Tensor], Tensor]) -> None:
        features, losses = [], []
        for batch in train:
            features.append(self.pooled(prepared(batch.x)).float())
            losses.append(cross_entropies(batch.outputs, batch.labels))
        features = torch.cat(features)
        self.mean, self.deviation = standardise(features)
        self.embeddings, self.losses = self._unit(features), torch.cat(losses)

    def forward(self, x: Tensor) -> Tensor:
        features = self._unit(self.pooled(x).float())
        with in_fp32(x):
            similar = features @ self.embeddings.T
        return self.losses[similar.topk(min(self.count, len(self.embeddings)), 1).indices].mean(1)

    def _unit(self, features: Tensor) -> Tensor:
        return normalize((features - self.mean) / self.deviation)

    def choose(self, scores: Tensor, policy: Policy) -> Tensor:
        (weight,) = policy
        return objective(scores, self.times, weight).argmin(1)

    def policy_of(self, row: Mapping[str, Any]) -> Policy:
        return (row["tradeoff"],)

    def policies(self, scores: np.ndarray, losses: np.ndarray, costs: np.ndarray, weights: Sequence[float]) -> list[Policy]:
        return [(weight,) for weight in weights]

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """The number of training images is that of the state."""
        for name in ("embeddings", "losses"):
            if prefix + name in state:
                setattr(self, name, getattr(self, name).new_empty(state[prefix + name].shape))
        super()._load_from_state_dict(state, prefix, *args)
