"""What methods share: estimators that turn gate logits into gates, the signals that logits are made of, and how sure an answer is.

Shapes: N inputs, any further axes. A gate logit's sigmoid is the probability that the switch is on.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

DECISIONS_AT_ONCE = 100_000
"""Inputs times lists of thresholds that are decided together."""


def gumbel_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Two-class Gumbel-softmax over [identity, residual] = [0, logit]; the residual's share (CosineGate, Eq. 13-15)."""
    pair = torch.stack([torch.zeros_like(logits), logits], dim=-1)
    return torch.softmax((pair + gumbel_like(pair)) / temperature, dim=-1)[..., 1]


def gumbel_sigmoid(logits: Tensor, temperature: float) -> Tensor:
    """sigmoid((logit + one Gumbel variable) / temperature): the form of CosineGate's released notebook.

    One Gumbel variable has mean 0.577 where the difference of two has mean 0, so this form leans towards running.
    """
    return torch.sigmoid((logits + gumbel_like(logits)) / temperature)


def straight_through(soft: Tensor, threshold: float = 0.5) -> Tensor:
    """Hard 0/1 gates forward, the soft gates' gradient backward (Bengio et al. 2013, arXiv 1308.3432)."""
    hard = (soft > threshold).to(soft.dtype)
    return hard - soft.detach() + soft


def gumbel_like(like: Tensor) -> Tensor:
    """Standard Gumbel noise -log(-log u), u ~ U(0, 1) (CosineGate, Eq. 14), kept off the infinities at u = 0 and 1."""
    tiny = torch.finfo(like.dtype).tiny
    epsilon = torch.finfo(like.dtype).eps
    uniform = torch.rand_like(like).clamp(tiny, 1 - epsilon)
    return -torch.log(-torch.log(uniform))


def logistic_like(like: Tensor) -> Tensor:
    """Standard logistic noise, the difference of two Gumbel variables."""
    return gumbel_like(like) - gumbel_like(like)


def log_probability(logits: Tensor, gates: Tensor) -> Tensor:
    """Of gates that were drawn, 0 or 1, where sigmoid(logit) is the probability of 1; any shape."""
    return -F.binary_cross_entropy_with_logits(logits, gates, reduction="none")


def decide(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Gates sigmoid(logit) in fp32 and hard decisions 1[gate > threshold], boolean (CosineGate, Eq. 16)."""
    gates = torch.sigmoid(logits.float())
    return gates, gates > threshold


def incompatibility(products: Tensor) -> Tensor:
    """CIR = 1 - cos(x, F(x)) in [0, 2] (Eq. 6-7), [N], from the products [N, 3]."""
    xx, xf, ff = products.unbind(1)
    return 1 - xf * (xx * ff).clamp(min=1e-12).rsqrt()


def sureness(logits: Tensor, rule: str) -> Tensor:
    """How sure a network is of its answers, [N], from its logits [N, C]; higher the surer.

    max-softmax: the largest probability. entropy: 1 - H / log C (BranchyNet, arXiv 1709.01686, scaled to [0, 1]). margin: the largest
    probability minus the second. Raises ValueError for another rule.
    """
    logits = logits.float()
    if rule == "entropy":
        logs = logits.log_softmax(1)
        return 1 + (logs.exp() * logs).sum(1) / math.log(logits.shape[1])
    probabilities = logits.softmax(1)
    if rule == "max-softmax":
        return probabilities.amax(1)
    if rule == "margin":
        first, second = probabilities.topk(2, dim=1).values.unbind(1)
        return first - second
    raise ValueError(f"the rule must be max-softmax, entropy or margin, not {rule!r}")


def first_sure(scores: Tensor, thresholds: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
    """Numbers [N] of the first of E answers whose score [N, E] reaches its threshold [E - 1]; of the last one where none does.

    For K lists of thresholds [K, E - 1] at once, [K, N].
    """
    sure = scores[:, :-1] >= scores.new_tensor(thresholds).unsqueeze(-2)
    leaving = torch.cat([sure, sure.new_ones((*sure.shape[:-1], 1))], -1)
    return leaving.int().argmax(-1)


def means_of_first_sure(scores: np.ndarray, tried: Sequence[Sequence[float]], *values: np.ndarray) -> list[np.ndarray]:
    """For each of K lists of thresholds, the means over inputs [K] of `values` [N, E] or [E] of the answers that `first_sure` takes."""
    inputs, at_once = np.arange(len(scores)), max(1, DECISIONS_AT_ONCE // max(1, len(scores)))
    blocks = []
    for start in range(0, len(tried), at_once):
        taken = first_sure(torch.from_numpy(scores), tried[start : start + at_once]).numpy()
        blocks.append([np.broadcast_to(each, scores.shape)[inputs, taken].mean(1) for each in values])
    return [np.concatenate(means) for means in zip(*blocks, strict=True)]
