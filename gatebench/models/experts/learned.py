"""A gater that is trained: a part of SqueezeNet on a small copy of the image (Routing Beats Latency, Algorithm 1).

Shapes: N images, E experts, C classes, H x W pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...contract import Output
from ...gating import gumbel_like
from .decider import in_fp32
from .features import FEATURES, Pooled
from .objective import cross_entropies, normalised, objective
from .settings import Learned, RoutingLoss


class LearnedGater(Pooled):
    """Logits [N, E] of the experts, from images [N, C, H, W].

    Every expert begins with an equal share: the head begins at zero. The paper does not say. With torch's own start the features, which
    are large, give large logits, and an expert that begins with a tiny share is hardly ever tried.
    """

    name = "learned gater"
    trainable = True

    def __init__(self, settings: Learned, experts: int, input_shape: tuple[int, int, int]):
        super().__init__(settings.size, settings.pretrained, input_shape)
        self.temperature = settings.temperature
        self.head = nn.Linear(FEATURES, experts)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.pooled(x).float()
        with in_fp32(x):
            return self.head(features)

    def soft(self, logits: Tensor) -> Tensor:
        """Shares [N, E] with fresh Gumbel noise, at the temperature (section 3.4)."""
        return torch.softmax((logits + gumbel_like(logits)) / self.temperature, 1)

    def choose(self, logits: Tensor, policy: None) -> Tensor:
        """Numbers of the chosen experts [N], without noise."""
        return logits.argmax(1)

    def gates(self, logits: Tensor) -> Tensor:
        """Shares [N, E] without noise."""
        return torch.softmax(logits.float(), 1)


def one_hot_through(soft: Tensor) -> Tensor:
    """One-hot of the largest share forward, the shares' gradient backward: the straight-through estimator (section 3.4), [N, E]."""
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


def routing_loss(output: Output, labels: Tensor, milliseconds: Sequence[float], settings: RoutingLoss) -> Tensor:
    """Mean `objective` of a batch, of the time that is expected under the shares (section 3.5).

    `output` has the sampled experts' logits [N, C], the soft shares [N, E] and, in its details, all experts' `outputs` [N, E, C];
    `milliseconds` is of each expert.
    """
    shares = output.gates.float()
    costs = shares.new_tensor(milliseconds)
    time = normalised(shares @ costs, costs).mean()
    if settings.estimator == "expected":
        loss = (shares * cross_entropies(output.details["outputs"], labels)).sum(1).mean()
    else:
        loss = cross_entropy(output.logits.float(), labels)
    return objective(loss, time, settings.weight)
