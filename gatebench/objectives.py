"""The papers' loss terms, each a small function that cites its equation, and the objective that weights them.

Shapes: N inputs, U units, S switches. A term is a scalar that is differentiated; a recipe says which terms count and how much.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contract import GatedModel, Output
from .errors import UsageError, nearest
from .recipe import Budget, Objective


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


def check(objective: Objective, model: GatedModel) -> None:
    """Raises UsageError where a recipe's objective asks for what the model does not have."""
    for name in objective.terms:
        if name not in model.terms:
            raise UsageError(
                f"objective.terms.{name}: the model has no such term.{nearest(name, model.terms)}"
                f" Its own are: {', '.join(model.terms) or 'none'}."
            )
    if objective.budget and not model.units:
        raise UsageError("objective.budget: the model has no gates that a budget could hold down; leave it out.")


def total(objective: Objective, output: Output, labels: Tensor, epoch: float, macs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss (CosineGate, Eq. 21) and its weighted parts by name, detached.

    `macs` [S] are those of the model's switches. A model's own term is averaged over inputs and summed over units.
    """
    parts = {"cross_entropy": F.cross_entropy(output.logits.float(), labels)}
    if objective.budget and output.gates is not None:
        rule = objective.budget
        parts["budget"] = rule.weight * warmup(epoch - rule.start_epoch, rule.warmup_epochs) * budget(output.gates, rule, macs)
    for name, weight in objective.terms.items():
        parts[name] = weight * output.terms[name].reshape(len(labels), -1).sum(1).mean()
    loss = torch.stack(list(parts.values())).sum()
    return loss, {name: part.detach() for name, part in parts.items()}
