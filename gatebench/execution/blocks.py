"""Execution of residual blocks under per-input decisions.

Shapes: N inputs, B blocks, one switch a block; x is [N, C, H, W].
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..contract import Execution, Output
from ..gating import decide

if TYPE_CHECKING:
    from ..models.block_gated import BlockGatedResNet


def run_blocks(net: "BlockGatedResNet", x: Tensor, execution: Execution, imposed: Tensor | None, threshold: float) -> Output:
    """Inference of a block-gated residual network with its own decisions at `threshold`, or the imposed ones [N, B].

    Both executions return the same logits. `executed` tells them apart: masked computes every block; sparse only the
    blocks that are on, unless the gate itself needs F(x) (`net.decides == "after"`), which then is computed for all.
    """
    x = net.stem(x)
    own = imposed is None
    up_front = net.up_front_logits(x) if own and net.decides == "up-front" else None
    gates, decisions, executed = [], [], []
    for index, block in enumerate(net.blocks):
        shortcut = block.shortcut(x)
        residual = None
        if own:
            if net.decides == "up-front":
                logits = up_front[:, index]
            else:
                residual = block.residual(x) if net.decides == "after" else None
                logits = net.block_logits(index, x, shortcut, residual)
            gates.append(torch.sigmoid(logits.float()))
            on = decide(logits.float(), threshold)
        else:
            on = imposed[:, index]
        everything = residual is not None or execution == "masked"
        if everything:
            residual = block.residual(x) if residual is None else residual
            x = F.relu(shortcut + residual * on.to(residual.dtype)[:, None, None, None])
        else:
            x = _add_where_on(block, x, shortcut, on)
        decisions.append(on)
        executed.append(torch.ones_like(on) if everything else on)
    return Output(
        net.classify(x),
        gates=torch.stack(gates, 1) if own else None,
        decisions=torch.stack(decisions, 1),
        executed=torch.stack(executed, 1),
    )


def _add_where_on(block, x: Tensor, shortcut: Tensor, on: Tensor) -> Tensor:
    """relu(shortcut + F(x)) where `on`, relu(shortcut) elsewhere; F runs on the rows that are on and on no other."""
    rows = on.nonzero().squeeze(1)
    if len(rows) == len(on):
        return F.relu(shortcut + block.residual(x))
    if len(rows) == 0:
        return F.relu(shortcut)
    y = shortcut.clone()
    y[rows] = shortcut[rows] + block.residual(x[rows])
    return F.relu_(y)
