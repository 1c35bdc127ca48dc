"""The loss of confidence-gated training (CGT, arXiv 2509.17885): a cross-entropy at every exit, weighted for each input.

Shapes: N inputs, E exits, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ...losses import warmup
from .settings import ExitLoss


def eligibility(exits: Tensor, labels: Tensor, rule: ExitLoss) -> Tensor:
    """How much each exit counts for each input, [N, E]: 1 for the first, then the product of how far all before have failed (CGT).

    From the logits [N, E, C], without gradient. An exit before has failed where it was not both sure and right (hard), by
    1 - sigmoid((s - tau) x scale) (soft, as released) or 1 - s (residual, as printed), s its probability of the truth.
    """
    if rule.eligibility == "all":
        return torch.ones_like(exits[:, :, 0], dtype=torch.float32)
    probabilities = exits.detach().float().softmax(2)
    truth = probabilities.gather(2, labels[:, None, None].expand(-1, exits.shape[1], 1)).squeeze(2)
    if rule.eligibility == "hard":
        surest, answers = probabilities.max(2)
        failed = ((surest < rule.confidence) | (answers != labels[:, None])).float()
    elif rule.eligibility == "soft":
        failed = 1 - torch.sigmoid((truth - rule.confidence) * rule.scale)
    else:
        failed = 1 - truth
    return torch.cat([torch.ones_like(failed[:, :1]), failed[:, :-1].cumprod(1)], 1)


def exit_weights(exits: Tensor, labels: Tensor, rule: ExitLoss, epoch: float) -> Tensor:
    """w_e of each input, [N, E]: lambda_e(epoch) x eligibility + floor, normalised over exits."""
    start = exits.new_tensor(rule.weights, dtype=torch.float32)
    end = start if rule.final_weights is None else exits.new_tensor(rule.final_weights, dtype=torch.float32)
    weights = torch.lerp(start, end, warmup(epoch, rule.anneal_epochs)) * eligibility(exits, labels, rule) + rule.floor
    return weights / weights.sum(1, keepdim=True)


def exit_loss(exits: Tensor, labels: Tensor, rule: ExitLoss, epoch: float) -> Tensor:
    """(1/N) sum_i sum_e w_e(i) CE_e(i) (CGT)."""
    count = exits.shape[1]
    entropies = F.cross_entropy(
        exits.float().flatten(0, 1), labels.repeat_interleave(count), reduction="none", label_smoothing=rule.label_smoothing
    ).view(-1, count)  # fmt: skip
    return (exit_weights(exits, labels, rule, epoch) * entropies).sum(1).mean()
