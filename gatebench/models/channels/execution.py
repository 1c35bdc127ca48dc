"""Execution of channel gates under per-input decisions.

Shapes: N inputs, S channels.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...contract import Execution, Output
from .batches import Batched
from .engines import Deciding, Fixed, Masked, Sliced
from .tuning import OneInput

if TYPE_CHECKING:
    from .network import ChannelGated


def run_channels(net: "ChannelGated", x: Tensor, execution: Execution, imposed: Tensor | None, inference: str) -> Output:
    """Inference of a channel-gated network with its own decisions, or the imposed ones [N, S].

    Both executions return the same logits. masked computes everything; sparse only the active filters on the active inputs, one input
    after the other where their decisions differ. A tuned copy computes each layer in the way that was fastest (`tuning`), and may
    execute more.
    """
    evaluated = imposed is None or inference != "hard"  # the gates, to decide or to scale the channels that run
    if execution == "masked" or not len(x):
        return _walk(net, x, Masked(net, inference, imposed), lambda on: net.counting_all(len(x), evaluated))
    if imposed is not None and len(x) > 1 and bool((imposed == imposed[:1]).all()):
        imposed = imposed[:1]
    shared = len(x) == 1 or (len(imposed) == 1 if imposed is not None else inference == "soft" or not net.of_input)
    if net.tuned and net.tuned.inputs == len(x) and (shared or net.of_input):
        engine = net.tuned.engine(net, inference, imposed)
    elif not shared:
        decisions = [None] * len(x) if imposed is None else imposed.split(1)
        return _stacked([run_channels(net, each, execution, on, inference) for each, on in zip(x.split(1), decisions, strict=True)])
    else:
        engine = (Sliced if net.of_input and evaluated else Fixed)(net, inference, imposed)
    if isinstance(engine, OneInput | Batched):
        return _walk(net, x, engine, lambda on: net.counting_shares(engine.share, len(x), evaluated))
    return _walk(net, x, engine, lambda on: net.counting(on, evaluated))


def _walk(net: "ChannelGated", x: Tensor, engine: Deciding | Fixed, counting: Callable[[Tensor], Callable[[], Tensor]]) -> Output:
    """The output of an engine; `counting` gives what counts the MACs of the decisions [N, S]."""
    logits = net.walk(x, engine)
    decisions, gates = (each if each is None else each.expand(len(x), -1) for each in engine.outcome())
    return Output(logits, gates, decisions, count=counting(decisions))


def _stacked(outputs: list[Output]) -> Output:
    """Outputs of one input each as those of a batch."""
    gates = torch.cat([each.gates for each in outputs]) if outputs[0].gates is not None else None
    return Output(
        torch.cat([each.logits for each in outputs]),
        gates,
        torch.cat([each.decisions for each in outputs]),
        count=lambda: torch.cat([each.executed_macs for each in outputs]),
    )
