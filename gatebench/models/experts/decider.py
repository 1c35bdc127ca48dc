"""What all methods of choosing between experts have in common.

Shapes: N images, K scores of an image, E experts, C classes, H x W pixels.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...losses import Batch

Policy = tuple[float, ...]
"""What is chosen after training, such as thresholds; the method says what each number is."""


class Chooser(nn.Module):
    """Base of all methods of choosing. What is chosen after training, its policy, is kept with its weights."""

    name: str
    """As rows name it."""
    chooses = False
    """Whether there is anything to choose after training."""

    def keep(self, policy: Policy) -> None:
        """Called once by what chooses, with the policy that holds until then."""
        self.register_buffer("chosen", torch.tensor(policy, dtype=torch.float32))
        self.register_load_state_dict_post_hook(_settle)
        _settle(self)

    @property
    def policy(self) -> Policy | None:
        """Single-precision numbers, as scores are; None: there is nothing to choose."""
        return self._policy if self.chooses else None

    @policy.setter
    def policy(self, policy: Policy) -> None:
        """Raises ValueError for another number of numbers."""
        if len(policy) != len(self.chosen):
            raise ValueError(f"the policy has {len(policy)} numbers, wanted are {len(self.chosen)}")
        self.chosen.copy_(torch.tensor(policy, dtype=torch.float32))
        _settle(self)

    def first_weights(self) -> Mapping[str, Tensor]:
        """The tensors that `start_from` looks for, by the names that it knows them by; none where it has none."""
        return {}

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take its first weights out of pretrained ones. Raises ValueError naming what does not fit, UsageError where it has none."""
        raise UsageError(f"A router by {self.name} starts from no weights. Leave --weights out.")

    def policies(self, scores: np.ndarray, losses: np.ndarray, costs: np.ndarray, weights: Sequence[float]) -> list[Policy]:
        """For each weight (lambda) the policy with the least mean `objective`, on a part with scores [N, K] and cross-entropies
        [N, E], for experts that cost [E]."""
        raise NotImplementedError

    def described(self, policy: Policy) -> dict[str, Any]:
        """Columns of a row that say what was chosen."""
        return {}

    def policy_of(self, row: Mapping[str, Any]) -> Policy:
        """The policy of a row of the study: the inverse of `described`."""
        raise NotImplementedError

    def gates(self, scores: Tensor) -> Tensor | None:
        """Shares [N, E] without noise; None for a rule that has none."""
        return None

    def columns(self, scores: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Further columns of a row, from the scores [N, K] of a part and the experts' outputs [N, E, C] there."""
        return {}


class Decider(Chooser):
    """Chooses before an expert is run: maps images [N, C, H, W] to scores [N, K], and scores to experts."""

    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and deviation that its images are normalised by; None: as the strongest expert's."""
    macs_learned = 0
    """MACs of the scores of one input that come of what was learned, and are not there before."""
    trainable = False
    """Whether `soft` gives shares that a loss can move."""

    def choose(self, scores: Tensor, policy: Policy | None) -> Tensor:
        """Numbers of the chosen experts [N]."""
        raise NotImplementedError

    def soft(self, scores: Tensor) -> Tensor:
        """Shares [N, E] in training, differentiable."""
        raise NotImplementedError

    def learn(self, train: Iterable[Batch], prepared: Callable[[Tensor], Tensor]) -> None:
        """Learn without gradients from the training batches, which have the experts' outputs; `prepared` normalises their images for it."""


def in_fp32(x: Tensor) -> AbstractContextManager:
    """Within it, what follows from `x` is computed in its own precision where networks run in bf16, whose three digits make ties."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _settle(chooser: Chooser, *_: Any) -> None:
    """Keep the policy as plain numbers, which no inference has to fetch from the device."""
    chooser._policy = tuple(chooser.chosen.tolist())
