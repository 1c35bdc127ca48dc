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
    return (_run_one if x.shape[0] == 1 else _run_decided)(net, x, imposed, threshold)


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


def _run_one(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """One input: a block is run, or it is not."""
    gates, decided = None, imposed
    x = net.stem(x)
    if imposed is None and net.decides == "up-front":
        gates, decided = decide(net.up_front_logits(x), threshold)
    if decided is not None:
        return Output(net.run(x, decided.tolist()[0]), gates, decisions=decided, executed=decided)
    pairs = []
    for index, block in enumerate(net.blocks):
        pairs.append(decide(net.logits_before(index, x), threshold))
        x = block(x) if pairs[-1][1].item() else block.skip(x)
    gates, decided = (torch.stack(each, 1) for each in zip(*pairs, strict=True))
    return Output(net.classify(x), gates, decisions=decided, executed=decided)


def _run_decided(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """Each block is computed only for the inputs that it is on for, which `BatchOrder` keeps side by side."""
    order, gates, inputs = BatchOrder(len(x)), None, len(x)
    if imposed is not None:
        decisions = imposed.cpu().numpy()
        counts = decisions.sum(0).tolist()
        x, _ = _arrange(order, x, decisions, counts, 0)  # now, while a move is cheap: images are smaller than any feature map
        x = net.stem(x)
    else:
        x = net.stem(x)
        if net.decides == "up-front":
            gates, on = decide(net.up_front_logits(x), threshold)
            decisions = on.cpu().numpy()
            counts = decisions.sum(0).tolist()
        else:
            gates = torch.empty(inputs, len(net.blocks), device=x.device)
            decisions, counts = np.zeros(gates.shape, dtype=bool), [0] * len(net.blocks)
    executed = decisions.copy()
    for index, block in enumerate(net.blocks):
        if imposed is None and net.decides == "before":
            gates[order.inputs, index], on = decide(net.logits_before(index, x), threshold)
            decisions[order.inputs, index] = executed[order.inputs, index] = on.cpu().numpy()
            counts[index] = int(decisions[:, index].sum())
        if counts[index] == 0:
            x = block.skip(x)
        elif counts[index] == inputs:
            x = block(x)
        elif order.splits(counts[index]):
            x, rows = _arrange(order, x, decisions, counts, index)
            x = _add_residual(block, x, rows)
        else:
            x = _add_masked(block, x, decisions[order.inputs, index])
            executed[:, index] = True
    decided, executed = (torch.from_numpy(each).to(x.device) for each in (decisions, executed))
    return Output(net.classify(order.restore(x)), gates, decisions=decided, executed=executed)


def _arrange(order: BatchOrder, x: Tensor, decisions: np.ndarray, counts: list[int], index: int) -> tuple[Tensor, slice]:
    """The batch in an order for the next two blocks, from `index` on, that are on for a part of it, as far as that is known.

    And the rows that run the first of them.
    """
    splitting = [later for later in range(index, len(counts)) if order.splits(counts[later])][:2]
    if not splitting:
        return x, slice(0, len(x))
    first, *second = (decisions[:, each] for each in splitting)
    return order.arrange(x, first, second[0] if second else None)


def _add_residual(block: "ResidualBlock", x: Tensor, rows: slice) -> Tensor:
    """The block's output with F(x) computed for a slice of the batch alone; may overwrite x."""
    total = block.shortcut(x)
    F.relu_(total[rows].add_(block.residual(x[rows])))
    return total if block.shortcut_is_positive else F.relu_(total)


def _add_masked(block: "ResidualBlock", x: Tensor, on: np.ndarray) -> Tensor:
    """The block's output with F(x) computed for every row and added to those that are `on`."""
    residual = block.residual(x)
    residual[torch.from_numpy(~on).to(x.device)] = 0
    return F.relu_(residual.add_(block.shortcut(x)))
