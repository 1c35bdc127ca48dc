"""A network of gatebench's own as a copy for inference, checked on the inputs that it will be timed on.

Shapes: N calls, B inputs a call, C channels, H x W pixels, S switches.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..contract import GatedModel
from ..errors import GatebenchError, UsageError, first_line
from ..runtimes.fold import folded, same_answers
from .layouts import Layout, arranged, laid_out
from .looks import refusal
from .networks import Network
from .outside import FAILURES


@dataclass(frozen=True)
class Ready:
    """A copy for inference, and what is known of it."""

    model: nn.Module
    calls: list[Tensor]
    """Its inputs, [B, C, H, W] each, in its layout."""
    folded: bool
    """Whether its batch norms are folded."""
    layout: Layout
    chosen: dict[str, Any] = field(default_factory=dict)
    """What it chose by measurement (`GatedModel.tune`)."""
    varying: int = 0
    """Calls that gave another answer, or ran something else, when they were repeated."""
    same_answers: bool = False
    """Whether these differ, as far as is known, in what they ran alone."""
    uncounted: tuple[str, ...] = ()
    """Work that it does and that no count sees."""
    uses_numpy: bool = False
    """Whether it hands tensors to NumPy while it runs."""
    reads: bool = False
    """Whether it reads values of tensors, as for a branch; not looked for in gatebench's own."""
    decides: bool = False
    """Whether what it decides differs between calls."""
    notes: tuple[str, ...] = ()
    """Sentences on how it is timed, for whoever asked for it."""


def ready(network: Network, calls: list[Tensor], random: list[Tensor], layout: Layout = "channels_last") -> Ready:
    """A copy for inference on the device of its calls, in a layout; it is not folded, and chooses nothing, where that changes the answers.

    `calls` are the inputs of each call [B, C, H, W], `random` legal decisions for each [B, S]. Raises UsageError where the network does
    not take the inputs or writes to them, GatebenchError where it cannot be copied or its answers are no logits.
    """
    try:
        plain = copy.deepcopy(network.model).eval()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise GatebenchError(f"{network.label} cannot be copied by copy.deepcopy ({reason}), which folding its norms needs.") from error
    calls = [arranged(x, layout) for x in calls]
    try:
        laid_out(plain.to(calls[0].device), layout)
        copies = [x.clone() for x in calls]
        before = _all_answers(plain, copies, random)
        own = [_own(plain, x) for x in calls] if plain.units else []
        varying = sum(not _same(first, _own(plain, x)) for first, x in zip(own, calls, strict=False))
        decides = any(not torch.equal(decisions, own[0][1]) for _, decisions in own)
    except FAILURES as error:
        raise refusal(network, calls[0], error) from error
    if not all(isinstance(answer, Tensor) for answers in before for answer in answers):
        raise GatebenchError(f"{network.label} gives no tensor of logits; Output.logits has to be one.")
    if any(answer.isnan().any() for answers in before for answer in answers):
        raise GatebenchError(f"{network.label} answers with NaN: its weights are damaged, or its training diverged. Name others.")
    if not all(map(torch.equal, copies, calls)):
        raise UsageError(f"{network.label} writes to its input, so every call would see another one. Begin its forward with x = x.clone().")
    try:
        candidate = laid_out(folded(plain), layout)
        chosen = candidate.tune(calls[0])
        after = _all_answers(candidate, calls, random)
        same = all(map(_same, before, after))
    except Exception:  # a method from elsewhere may be built in a way that folding does not foresee
        same = False
    if same:
        return Ready(candidate, calls, True, layout, chosen, varying=varying, decides=decides)
    note = f"{network.label} was timed with its batch norms as they are: folded, it fails or gives other answers."
    return Ready(plain, calls, False, layout, varying=varying, decides=decides, notes=(note,))


def _same(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(map(same_answers, first, second))


def _own(model: GatedModel, x: Tensor) -> list[Tensor]:
    """Logits under its own decisions, and those."""
    with torch.inference_mode():
        output = model.infer(x)
    return [output.logits, output.decisions]


def _all_answers(model: GatedModel, calls: list[Tensor], random: list[Tensor]) -> list[list[Tensor]]:
    with torch.inference_mode():
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
