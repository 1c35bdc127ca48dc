"""What routers minimise (Routing Beats Latency, section 3.5), for arrays of numpy and of torch alike.

Shapes: N images, E experts, C classes.
"""

import numpy as np
from torch import Tensor
from torch.nn.functional import cross_entropy

from .settings import SCALE

Array = np.ndarray | Tensor


def normalised(times: Array, costs: Array) -> Array:
    """Times, 0 at the least of the experts' costs [E] and 1 at the most; all costs the same: how far above them."""
    span = costs.max() - costs.min()
    return (times - costs.min()) / (span + (span == 0))


def objective(losses: Array, times: Array, weight: float) -> Array:
    """weight x cross-entropy / s + (1 - weight) x normalised time, of arrays that fit each other."""
    return weight * losses / SCALE + (1 - weight) * times


def cross_entropies(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [N, E] of every expert, from logits [N, E, C] and labels [N]; differentiable."""
    return cross_entropy(outputs.float().transpose(1, 2), labels[:, None].expand(outputs.shape[:2]), reduction="none")
