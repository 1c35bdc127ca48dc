"""Execution of residual blocks under per-input decisions.

Shapes: N inputs, B blocks, one switch a block; x is [N, C, H, W].
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..contract import Execution, Output
from ..gating import decide
from .order import BatchOrder

if TYPE_CHECKING:
    from ..models.block_gated import BlockGatedResNet
    from ..models.resnet import ResidualBlock


def run_blocks(net: "BlockGatedResNet", x: Tensor, execution: Execution, imposed: Tensor | None, threshold: float) -> Output:
    """Inference of a block-gated residual network with its own decisions at `threshold`, or the imposed ones [N, B].

    Both executions return the same logits. `executed` tells them apart: masked computes every block; sparse only the
    blocks that are on, unless the gate itself needs F(x) (`net.decides == "after"`), which then is computed for all.
    """
    if execution == "masked" or (imposed is None and net.decides == "after"):
        return _run_all(net, x, imposed, threshold)
    return _run_decided(net, x, imposed, threshold)


def _run_all(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """Every block is computed for every input and multiplied by its decision."""
    x = net.stem(x)
    up_front = net.up_front_logits(x) if imposed is None and net.decides == "up-front" else None
    gates, decisions = [], []
    for index, block in enumerate(net.blocks):
        shortcut, residual = block.shortcut(x), block.residual(x)
        if imposed is not None:
            on = imposed[:, index]
        else:
            if up_front is not None:
                logits = up_front[:, index]
            elif net.decides == "before":
                logits = net.logits_before(index, x)
            else:
                logits = net.logits_after(index, x, shortcut, residual)
            gate, on = decide(logits, threshold)
            gates.append(gate)
        x = F.relu_(residual.mul_(on.to(residual.dtype)[:, None, None, None]).add_(shortcut))
        decisions.append(on)
    decided = torch.stack(decisions, 1)
    return Output(net.classify(x), torch.stack(gates, 1) if gates else None, decisions=decided, executed=torch.ones_like(decided))


def _run_decided(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """Each block is computed only for the inputs that it is on for, which `BatchOrder` keeps side by side."""
    order = BatchOrder(len(x))
    gates, known = None, None
    if imposed is not None:
        known = imposed.cpu().numpy()
        x, _ = order.arrange(x, known[:, 0], known[:, 1:])  # the images are smaller than any feature map
        x = net.stem(x)
    else:
        x = net.stem(x)
        if net.decides == "up-front":
            gates, on = decide(net.up_front_logits(x), threshold)
            known = on.cpu().numpy()
    if known is None:
        gates = torch.empty(len(x), len(net.blocks), device=x.device)
        decisions = np.zeros(gates.shape, dtype=bool)
    else:
        decisions = known
    executed = decisions.copy()
    for index, block in enumerate(net.blocks):
        if known is None:
            gate, on = decide(net.logits_before(index, x), threshold)
            gates[order.inputs, index] = gate
            decisions[order.inputs, index] = on.cpu().numpy()
            executed[:, index] = decisions[:, index]
        on = decisions[:, index]
        x, rows = order.arrange(x, on, decisions[:, index + 1 :] if known is not None else decisions[:, :0])
        if rows.stop - rows.start == len(x):
            executed[:, index] = True
        x = _add_residual(block, x, rows, on[order.inputs[rows]])
    decided, executed = (torch.from_numpy(each).to(x.device) for each in (decisions, executed))
    return Output(net.classify(order.restore(x)), gates, decisions=decided, executed=executed)


def _add_residual(block: "ResidualBlock", x: Tensor, rows: slice, on: np.ndarray) -> Tensor:
    """The block's output with F(x) computed for the slice `rows` alone, and added where it is `on`; may overwrite x."""
    total = block.shortcut(x)
    if rows.stop > rows.start:
        residual = block.residual(x[rows])
        if not on.all():
            residual[torch.from_numpy(~on).to(x.device)] = 0
        F.relu_(total[rows].add_(residual))
    return total if block.shortcut_is_positive else F.relu_(total)
