"""The papers' loss terms, each a small function that cites its equation, and the objective that weights them.

Shapes: N inputs, U units, S switches, E exits, C classes. A term is a scalar that is differentiated; a recipe says which terms count
and how much.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contract import Output
from .recipe import Budget, ExitLoss, Objective


def warmup(epoch: float, warmup_epochs: float) -> float:
    """prog(t) = min(1, t / T_warmup) (CosineGate, Eq. 19); `epoch` counts from 0 and may be fractional; 0 before that."""
    if epoch < 0:
        return 0.0
    return 1.0 if warmup_epochs == 0 else min(1.0, epoch / warmup_epochs)


def macs_share(gates: Tensor, macs: Tensor) -> Tensor:
    """Share of the switches' MACs [S] that `gates` [N, S] let run."""
    return gates.float().mean(0) @ (macs / macs.sum())


def budget(gates: Tensor, rule: Budget, macs: Tensor) -> Tensor:
    """max(0, mean gate - target)^2 (CosineGate, Eq. 17-18, without the warm-up factor); `gates` [N, S], `macs` [S] of each switch.

    The mean is over gates alike, or, where the rule says so, by their MACs. Detached, as the released notebook has it, the penalty
    comes from a plain number and has no gradient.
    """
    if rule.detached:
        gates = gates.detach()
    mean = gates.float().mean() if rule.of == "gates" else macs_share(gates, macs)
    return (mean - rule.target).clamp(min=0).square()


def consistency(products: Tensor, gate: Tensor) -> Tensor:
    """||Norm(x + F) - Norm(x + gate F)||^2 (CosineGate, Eq. 20), one for each gate.

    `products` [..., 3] are <x, x>, <x, F> and <F, F>: both sums lie in the plane of x and F, so the distance of their
    directions needs nothing else and no tensor of the size of x is made. `gate` is [...].
    """
    xx, xf, ff = products.unbind(-1)
    full = xx + 2 * xf + ff
    gated = xx + 2 * gate * xf + gate.square() * ff
    inner = xx + (1 + gate) * xf + gate * ff
    norms = (full * gated).clamp(min=1e-12)
    cosine = inner * norms.rsqrt()
    # 2 - 2 cos, as 2 sin^2 / (1 + cos) where the directions agree: near an open gate the difference of 2 and 2 is all rounding
    apart = (1 - gate).square() * (xx * ff - xf.square()).clamp(min=0) / norms
    return torch.where(cosine > 0, 2 * apart / (1 + cosine.clamp(min=0)), 2 - 2 * cosine)


def prediction(predicted: Tensor, observed: Tensor) -> Tensor:
    """Squared error of a predicted gating signal against the observed one, which gets no gradient; any shape."""
    return (predicted - observed.detach()).square()


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


def exit_loss(exits: Tensor, labels: Tensor, rule: ExitLoss, epoch: float, label_smoothing: float = 0.0) -> Tensor:
    """(1/N) sum_i sum_e w_e(i) CE_e(i) (CGT)."""
    count = exits.shape[1]
    entropies = F.cross_entropy(
        exits.float().flatten(0, 1), labels.repeat_interleave(count), reduction="none", label_smoothing=label_smoothing
    ).view(-1, count)  # fmt: skip
    return (exit_weights(exits, labels, rule, epoch) * entropies).sum(1).mean()


def total(objective: Objective, output: Output, labels: Tensor, epoch: float, macs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss (CosineGate, Eq. 21) and its weighted parts by name, detached.

    `macs` [S] are those of the model's switches. A model's own term is averaged over inputs and summed over units.
    """
    smoothing = objective.label_smoothing
    if objective.exits:
        parts = {"exits": exit_loss(output.exits, labels, objective.exits, epoch, smoothing)}
    else:
        parts = {"cross_entropy": F.cross_entropy(output.logits.float(), labels, label_smoothing=smoothing)}
    if objective.budget and output.gates is not None:
        rule = objective.budget
        parts["budget"] = rule.weight * warmup(epoch - rule.start_epoch, rule.warmup_epochs) * budget(output.gates, rule, macs)
    for name, weight in objective.terms.items():
        parts[name] = weight * output.terms[name].reshape(len(labels), -1).sum(1).mean()
    loss = torch.stack(list(parts.values())).sum()
    return loss, {name: part.detach() for name, part in parts.items()}
