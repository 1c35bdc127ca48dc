"""Execution of residual blocks under per-input decisions.

Shapes: N inputs, B blocks, one switch a block; x is [N, C, H, W].
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...contract import Execution, Output
from ...gating import decide
from .order import BatchOrder

if TYPE_CHECKING:
    from .network import BlockGatedResNet, State


def run_blocks(net: "BlockGatedResNet", x: Tensor, execution: Execution, imposed: Tensor | None, threshold: float) -> Output:
    """Inference of a block-gated residual network with its own decisions at `threshold`, or the imposed ones [N, B].

    Both executions return the same logits. Their executed MACs differ: masked computes every block; sparse only those that are on,
    unless the gate itself needs F(x) (`net.when == "after"`), which then is computed for all.
    """
    if execution == "masked" or (imposed is None and net.when == "after"):
        return _run_all(net, x, imposed, threshold)
    return (_run_one if x.shape[0] == 1 else _run_decided)(net, x, imposed, threshold)


def _run_all(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """Every block is computed for every input and multiplied by its decision."""
    inputs = len(x)
    x = net.stem(x)
    state, gates, decisions = apart(net.start(x), x), [], []
    up_front = net.up_front_logits(x) if imposed is None and net.when == "up-front" else None
    for index, block in enumerate(net.blocks):
        if imposed is None and net.when == "before":
            logits, state = net.logits(index, x, state, None)
            state = apart(state, x)
        shortcut, residual = block.shortcut(x), net.residual(index, x, state)
        if imposed is not None:
            on = imposed[:, index]
        else:
            if up_front is not None:
                logits = up_front[:, index]
            elif net.when == "after":
                logits, state = net.logits(index, x, state, (shortcut, residual))
                state = apart(state, x, shortcut, residual)
            gate, on = decide(logits, threshold)
            gates.append(gate)
        x = net.combine(shortcut, residual.mul_(on.to(residual.dtype)[:, None, None, None]))
        decisions.append(on)
    count = net.counting_all(inputs, imposed is None)
    return Output(net.classify(x), torch.stack(gates, 1) if gates else None, torch.stack(decisions, 1), count=count)


def _run_one(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """One input: a block is run, or it is not."""
    gates, decided = None, imposed
    x = net.stem(x)
    if imposed is None and net.when == "up-front":
        gates, decided = decide(net.up_front_logits(x), threshold)
    if decided is not None:
        return Output(net.run(x, decided.tolist()[0]), gates, decided, count=net.counting(decided, imposed is None))
    state, pairs = net.start(x), []
    for index, block in enumerate(net.blocks):
        logits, state = net.logits(index, x, state, None)
        state = apart(state, x)
        pairs.append(decide(logits, threshold))
        x = net.run_block(index, x, state) if pairs[-1][1].item() else block.skip(x)
    gates, decided = (torch.stack(each, 1) for each in zip(*pairs, strict=True))
    return Output(net.classify(x), gates, decided, count=net.counting(decided))


def _run_decided(net: "BlockGatedResNet", x: Tensor, imposed: Tensor | None, threshold: float) -> Output:
    """Each block is computed only for the inputs that it is on for, which `BatchOrder` keeps side by side."""
    order, gates, inputs = BatchOrder(len(x)), None, len(x)
    if imposed is not None:
        decisions = imposed.cpu().numpy()
        counts = decisions.sum(0).tolist()
        x, _, _ = _arrange(order, x, (), decisions, counts, 0)  # now, while a move is cheap: images are smaller than any feature map
        x = net.stem(x)
    else:
        x = net.stem(x)
        if net.when == "up-front":
            gates, on = decide(net.up_front_logits(x), threshold)
            decisions = on.cpu().numpy()
            counts = decisions.sum(0).tolist()
        else:
            gates = torch.empty(inputs, len(net.blocks), device=x.device)
            decisions, counts = np.zeros(gates.shape, dtype=bool), [0] * len(net.blocks)
    executed, state = decisions.copy(), apart(net.start(x), x)
    for index, block in enumerate(net.blocks):
        if imposed is None and net.when == "before":
            logits, state = net.logits(index, x, state, None)
            state = apart(state, x)
            gates[order.inputs, index], on = decide(logits, threshold)
            decisions[order.inputs, index] = executed[order.inputs, index] = on.cpu().numpy()
            counts[index] = int(decisions[:, index].sum())
        if counts[index] == 0:
            x = block.skip(x)
        elif counts[index] == inputs:
            x = net.run_block(index, x, state)
        elif order.splits(counts[index]):
            x, state, rows = _arrange(order, x, state, decisions, counts, index)
            x = _add_residual(net, index, x, state, rows)
        else:
            x = _add_masked(net, index, x, state, decisions[order.inputs, index])
            executed[:, index] = True
    decided, executed = (torch.from_numpy(each).to(x.device) for each in (decisions, executed))
    return Output(net.classify(order.restore(x)), gates, decided, count=net.counting(executed, imposed is None))


def _arrange(
    order: BatchOrder, x: Tensor, state: "State", decisions: np.ndarray, counts: list[int], index: int
) -> tuple[Tensor, "State", slice]:
    """The batch in an order for the next two blocks, from `index` on, that are on for a part of it, as far as that is decided.

    And the rows that run the first of them.
    """
    splitting = [later for later in range(index, len(counts)) if order.splits(counts[later])][:2]
    if not splitting:
        return x, state, slice(0, len(x))
    first, *second = (decisions[:, each] for each in splitting)
    return order.arrange(x, state, first, second[0] if second else None)


def _add_residual(net: "BlockGatedResNet", index: int, x: Tensor, state: "State", rows: slice) -> Tensor:
    """The block's output with F(x) computed for a slice of the batch alone; may overwrite x."""
    block = net.blocks[index]
    residual = net.residual(index, x[rows], tuple(each[rows] for each in state))
    total = block.shortcut(x)
    part = total[rows]
    combined = net.combine(part, residual)
    if combined.data_ptr() != part.data_ptr():  # a method's own combination need not write in place
        part.copy_(combined)
    if not block.shortcut_is_positive:
        for left_out in (total[: rows.start], total[rows.stop :]):
            F.relu_(left_out)
    return total


def _add_masked(net: "BlockGatedResNet", index: int, x: Tensor, state: "State", on: np.ndarray) -> Tensor:
    """The block's output with F(x) computed for every row and added to those that are `on`."""
    residual = net.residual(index, x, state)
    residual[torch.from_numpy(~on).to(x.device)] = 0
    return net.combine(net.blocks[index].shortcut(x), residual)


def apart(state: "State", *overwritten: Tensor) -> "State":
    """The state, with copies of what shares memory with tensors that a block may overwrite."""
    if not state:
        return state
    memory = {each.untyped_storage().data_ptr() for each in overwritten}
    return tuple(each.clone() if each.untyped_storage().data_ptr() in memory else each for each in state)
