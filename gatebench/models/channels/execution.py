"""Execution of channel gates under per-input decisions.

Shapes: N inputs, S channels.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...contract import Execution, Output
from .engines import Masked, Sliced

if TYPE_CHECKING:
    from .network import ChannelGated


def run_channels(net: "ChannelGated", x: Tensor, execution: Execution, imposed: Tensor | None, inference: str) -> Output:
    """Inference of a channel-gated network with its own decisions, or the imposed ones [N, S].

    Both executions return the same logits. masked computes everything; sparse only the active filters on the active inputs, one input
    after the other where their decisions differ.
    """
    if execution == "masked" or not len(x):
        engine = Masked(net, inference, imposed)
        logits = net.walk(x, engine)
        return _output(net, logits, engine, net.counting_all(len(x), _asks(imposed, inference)))
    if imposed is None and net.of_input and len(x) > 1 and inference != "soft":
        return _stacked([_sliced(net, each, None, inference) for each in x.split(1)])
    if imposed is None or len(x) == 1 or bool((imposed == imposed[:1]).all()):
        return _sliced(net, x, imposed, inference)
    return _stacked([_sliced(net, each, on, inference) for each, on in zip(x.split(1), imposed.split(1), strict=True)])


def _sliced(net: "ChannelGated", x: Tensor, imposed: Tensor | None, inference: str) -> Output:
    """Inputs that share their decisions."""
    engine = Sliced(net, inference, None if imposed is None else imposed[:1])
    logits = net.walk(x, engine)
    decisions = torch.cat(engine.decided, 1)
    return _output(net, logits, engine, net.counting(decisions.expand(len(x), -1), _asks(imposed, inference)))


def _asks(imposed: Tensor | None, inference: str) -> bool:
    """Whether the gates are evaluated: to decide, or to scale the channels that run."""
    return imposed is None or inference != "hard"


def _output(net, logits: Tensor, engine: Masked | Sliced, count) -> Output:
    decisions = torch.cat(engine.decided, 1).expand(len(logits), -1)
    gates = torch.cat(engine.gates, 1).expand(len(logits), -1) if engine.gates and net.bounded else None
    return Output(logits, gates, decisions, count=count)


def _stacked(outputs: list[Output]) -> Output:
    """Outputs of one input each as those of a batch."""
    gates = torch.cat([each.gates for each in outputs]) if outputs[0].gates is not None else None
    return Output(
        torch.cat([each.logits for each in outputs]),
        gates,
        torch.cat([each.decisions for each in outputs]),
        count=lambda: torch.cat([each.executed_macs for each in outputs]),
    )
