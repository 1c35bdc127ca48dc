"""Execution of a network with several exits under per-input decisions.

Shapes: N inputs, E exits, C classes; decisions [N, 2 E]: each segment, then its head. Legal are those that run the segments up to one,
and its head; of the heads before, any.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...contract import Execution, Output
from ...gating import first_sure
from ..backbones.feature_maps import take_rows
from .policy import ExitPolicy, Scores, all_scores

if TYPE_CHECKING:
    from .network import EarlyExit


def run_exits(net: "EarlyExit", x: Tensor, execution: Execution, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    """Inference with the network's own decisions by `policy`, or the imposed ones.

    Masked computes every segment and head, and picks; sparse goes on with those inputs alone that have not left, and runs no head at
    which none can. Raises ValueError for imposed decisions that are not legal and for a policy of another number of exits.
    """
    policy.check(net.exits)
    if execution == "masked":
        return _run_all(net, x, imposed, policy)
    return (_run_one if len(x) == 1 else _run_leaving)(net, x, imposed, policy)


def leave_at(taken: Tensor, exits: int, asked: Sequence[bool] | None = None) -> Tensor:
    """Decisions [N, 2 E] of inputs that leave at these exits [N], having run the heads on the way that are `asked` [E]; None: every one."""
    numbers = torch.arange(exits, device=taken.device)
    reached, heads = numbers <= taken[:, None], numbers == taken[:, None]
    on_the_way = reached if asked is None else reached & torch.tensor(asked, device=taken.device)
    return torch.stack([reached, heads | on_the_way], 2).flatten(1)


def _exit_of(imposed: list[bool]) -> int:
    """Number of the exit at which one input's imposed decisions [2 E] leave."""
    reached, heads = imposed[::2], imposed[1::2]
    end = sum(reached) - 1
    if end < 0 or not all(reached[: end + 1]) or any(heads[end + 1 :]) or not heads[end]:
        raise ValueError(f"legal decisions run the segments up to one and its head; these do not: {[int(each) for each in imposed]}")
    return end


def _exits_of(imposed: Tensor) -> Tensor:
    """The same of several, [N]."""
    return torch.tensor([_exit_of(each) for each in imposed.tolist()], dtype=torch.long, device=imposed.device)


def _run_all(net: "EarlyExit", x: Tensor, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    exits = net.all_exits(x)
    taken = first_sure(all_scores(exits, policy.rule, policy.temperatures), policy.thresholds) if imposed is None else _exits_of(imposed)
    decisions = torch.cat(net.leaving(policy))[taken] if imposed is None else imposed
    logits = exits[torch.arange(len(x), device=x.device), taken]
    return Output(logits, decisions=decisions, details={"exits": exits}, count=net.counting_all(len(x)))


def _run_one(net: "EarlyExit", x: Tensor, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    """One input: it leaves, or it goes on."""
    if imposed is not None:
        return _run_one_imposed(net, x, imposed)
    scores, last = Scores(policy.rule, policy.temperatures), net.exits - 1
    for index, (segment, head) in enumerate(zip(net.segments, net.heads, strict=True)):
        x = segment(x)
        if not policy.asked[index]:
            continue
        logits = head(x)
        if index == last or scores.of(logits, index).item() >= policy.thresholds[index]:
            break
    decisions = net.leaving(policy)[index].clone()
    return Output(logits, decisions=decisions, count=net.counting(decisions))


def _run_one_imposed(net: "EarlyExit", x: Tensor, imposed: Tensor) -> Output:
    wanted = imposed.tolist()[0]
    for index in range(_exit_of(wanted) + 1):
        x = net.segments[index](x)
        if wanted[2 * index + 1]:
            logits = net.heads[index](x)
    return Output(logits, decisions=imposed, count=net.counting(imposed))


def _run_leaving(net: "EarlyExit", x: Tensor, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    """A batch that shrinks from exit to exit."""
    inputs, last = len(x), net.exits - 1
    rows = torch.arange(inputs, device=x.device)
    taken = torch.full_like(rows, last) if imposed is None else _exits_of(imposed)
    scores, logits = Scores(policy.rule, policy.temperatures), None
    for index, (segment, head) in enumerate(zip(net.segments, net.heads, strict=True)):
        x = segment(x)
        if imposed is None and not policy.asked[index]:
            continue
        answers = head(x) if imposed is None else _where(head, x, imposed[rows, 2 * index + 1])
        if logits is None:
            logits = answers.new_empty(inputs, answers.shape[1])
        if index == last:
            logits[rows] = answers
            break
        leaves = scores.of(answers, index) >= policy.thresholds[index] if imposed is None else taken[rows] == index
        leaving, staying = leaves.nonzero().squeeze(1), (~leaves).nonzero().squeeze(1)
        if len(leaving):
            left = rows[leaving]
            taken[left] = index
            logits[left] = answers[leaving]
            if not len(staying):
                break
            x, rows = take_rows(x, staying), rows[staying]
            scores.keep(staying)
    decisions = torch.cat(net.leaving(policy))[taken] if imposed is None else imposed
    return Output(logits, decisions=decisions, count=net.counting(decisions))


def _where(head: torch.nn.Module, x: Tensor, wanted: Tensor) -> Tensor:
    """The head's answers [N, C] where they are wanted; zeros elsewhere."""
    chosen = wanted.nonzero().squeeze(1)
    if len(chosen) == len(x):
        return head(x)
    some = head(take_rows(x, chosen))
    answers = some.new_zeros(len(x), some.shape[1])
    answers[chosen] = some
    return answers
