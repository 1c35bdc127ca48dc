"""A network's copy for inference, checked on the inputs that it will be timed on.

Shapes: N calls, B inputs a call, S switches.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..contract import GatedModel
from ..errors import GatebenchError, UsageError, first_line
from ..runtimes.fold import channels_last, folded, same_answers
from .networks import Network


def ready(
    network: Network, calls: list[Tensor], random: list[Tensor], device: torch.device
) -> tuple[nn.Module, bool, dict[str, Any]]:
    """A copy for inference on the device, whether its batch norm is folded, and what it chose by measurement.

    It is not folded, and chooses nothing, where that fails or changes the answers.
    `calls` are the inputs of each call [B, C, H, W] on the device, `random` legal decisions for each [B, S]. Raises UsageError where the
    network does not take the inputs or writes to them, GatebenchError where it cannot be copied or its answers are no logits.
    """
    try:
        plain = copy.deepcopy(network.model).eval()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise GatebenchError(f"{network.label} cannot be copied by copy.deepcopy ({reason}), which folding its norms needs.") from error
    try:
        if any(map(is_lazy, plain.parameters())):
            with torch.no_grad():
                plain(calls[0].cpu())  # from which such layers take their shapes
        channels_last(plain.to(device))
        copies = [x.clone() for x in calls]
        before = _all_answers(plain, copies, random)
    except Exception as error:
        count, shape = len(calls[0]), "x".join(map(str, network.data.input_shape))
        inputs = f"one {shape} input" if count == 1 else f"{count} {shape} inputs at once"
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UsageError(f"{network.label} does not take {inputs} of {network.data.name} ({reason}).") from error
    if any(answers[0] is None for answers in before):
        raise GatebenchError(f"{network.label} gives no tensor of logits, nor a tuple that starts with one, nor anything with `logits`.")
    if any(answer.isnan().any() for answers in before for answer in answers):
        raise GatebenchError(f"{network.label} answers with NaN: its weights are damaged, or its training diverged. Name others.")
    if not all(map(torch.equal, copies, calls)):
        raise UsageError(f"{network.label} writes to its input, so every call would see another one. Begin its forward with x = x.clone().")
    try:
        candidate = folded(plain)
        chosen = candidate.tune(calls[0]) if isinstance(candidate, GatedModel) else {}
        after = _all_answers(candidate, calls, random)
        same = all(
            same_answers(first, second)
            for answers, others in zip(before, after, strict=True)
            for first, second in zip(answers, others, strict=True)
        )
    except Exception:  # a network from elsewhere may be built in a way that folding does not foresee
        same = False
    return (candidate, True, chosen) if same else (plain, False, {})


def _all_answers(model: nn.Module, calls: list[Tensor], random: list[Tensor]) -> list[list[Tensor | None]]:
    with torch.inference_mode():
        if not isinstance(model, GatedModel):
            return [[_logits(model(x))] for x in calls]
        if not model.units:
            return [[model.infer(x).logits] for x in calls]
        return [_gated_answers(model, x, decisions) for x, decisions in zip(calls, random, strict=True)]


def _gated_answers(model: GatedModel, x: Tensor, random: Tensor) -> list[Tensor]:
    """Logits under imposed decisions, and what the gates see: under its own decisions, one may turn on the last digit of rounding."""
    most = model.most().to(x.device).expand(len(x), -1)
    answers = [model.infer(x, decisions=decisions).logits for decisions in (most, random)]
    deciding = model.infer(x, "masked", policy=model.fixed_policies.get("all on"))
    if deciding.gates is not None:
        answers.append(deciding.gates)
    return answers + [detail for detail in deciding.details.values() if detail.is_floating_point()]


def _logits(answer) -> Tensor | None:
    """The logits among what a network returns: a tensor, or the first or the `logits` of a collection."""
    by_name = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    for candidate in (answer, by_name, answer[0] if isinstance(answer, (tuple, list)) and answer else None):
        if isinstance(candidate, Tensor):
            return candidate
    return None
