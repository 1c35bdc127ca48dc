"""Execution of a network with several exits under per-input decisions.

Shapes: N inputs, E exits, C classes; decisions [N, 2 E]: each segment, then its head. Legal are those that run the segments up to one,
and its head; of the heads before, any.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..contract import Execution, Output
from ..exit_policy import ExitPolicy, Scores, all_scores, first_sure
from ..feature_maps import flat, unflat

if TYPE_CHECKING:
    from ..models.early_exit import EarlyExit


def run_exits(net: "EarlyExit", x: Tensor, execution: Execution, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    """Inference with the network's own decisions by `policy`, or the imposed ones.

    Masked computes every segment and head, and picks; sparse goes on with those inputs alone that have not left.
    """
    if execution == "masked":
        return _run_all(net, x, imposed, policy)
    return (_run_one if len(x) == 1 else _run_leaving)(net, x, imposed, policy)


def leave_at(taken: Tensor, exits: int) -> Tensor:
    """Decisions [N, 2 E] of inputs that leave at these exits [N], having asked every head on the way."""
    reached = torch.arange(exits, device=taken.device) <= taken[:, None]
    return reached.repeat_interleave(2, 1)


def _exits_of(imposed: Tensor) -> Tensor:
    """Numbers [N] of the exits at which imposed decisions leave."""
    return imposed[:, ::2].sum(1) - 1


def _run_all(net: "EarlyExit", x: Tensor, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    exits = net.all_exits(x)
    taken = first_sure(all_scores(exits, policy.rule, policy.temperatures), policy.thresholds) if imposed is None else _exits_of(imposed)
    decisions = leave_at(taken, exits.shape[1]) if imposed is None else imposed
    logits = exits[torch.arange(len(x), device=x.device), taken]
    return Output(logits, exits=exits, decisions=decisions, executed=torch.ones_like(decisions))


def _run_one(net: "EarlyExit", x: Tensor, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    """One input: it leaves, or it goes on."""
    last, scores = len(net.heads) - 1, Scores(policy.rule, policy.temperatures)
    wanted = None if imposed is None else imposed.tolist()[0]
    end = last if wanted is None else sum(wanted[::2]) - 1
    for index, (segment, head) in enumerate(zip(net.segments, net.heads, strict=True)):
        x = segment(x)
        if wanted is None or wanted[2 * index + 1]:
            logits = head(x)
        if index == end or (wanted is None and scores.of(logits).item() >= policy.thresholds[index]):
            break
    decisions = imposed if wanted is not None else leave_at(torch.tensor([index], device=x.device), last + 1)
    return Output(logits, decisions=decisions, executed=decisions)


def _run_leaving(net: "EarlyExit", x: Tensor, imposed: Tensor | None, policy: ExitPolicy) -> Output:
    """A batch that shrinks from exit to exit."""
    inputs, last = len(x), len(net.heads) - 1
    rows = torch.arange(inputs, device=x.device)
    taken = torch.full_like(rows, last) if imposed is None else _exits_of(imposed)
    scores, logits = Scores(policy.rule, policy.temperatures), None
    for index, (segment, head) in enumerate(zip(net.segments, net.heads, strict=True)):
        x = segment(x)
        if imposed is None:
            answers = head(x)
            leaving = scores.of(answers) >= policy.thresholds[index] if index < last else torch.ones_like(rows, dtype=torch.bool)
            taken[rows[leaving]] = index
        else:
            leaving, asked = taken[rows] == index, imposed[rows, 2 * index + 1]
            answers = _where(head, x, asked)
        if logits is None:
            logits = answers.new_empty(inputs, answers.shape[1])
        logits[rows[leaving]] = answers[leaving]
        staying = (~leaving).nonzero().squeeze(1)
        if not len(staying):
            break
        if len(staying) < len(rows):
            x, rows = _rows(x, staying), rows[staying]
            scores.keep(staying)
    decisions = leave_at(taken, last + 1) if imposed is None else imposed
    return Output(logits, decisions=decisions, executed=decisions)


def _where(head: torch.nn.Module, x: Tensor, asked: Tensor) -> Tensor:
    """The head's answers [N, C] where they are asked for; elsewhere nothing in particular."""
    chosen = asked.nonzero().squeeze(1)
    if len(chosen) == len(x):
        return head(x)
    some = head(_rows(x, chosen))
    answers = some.new_zeros(len(x), some.shape[1])
    answers[chosen] = some
    return answers


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of a feature map [N, C, H, W]; the copy keeps channels_last."""
    return unflat(flat(x).index_select(0, rows), x)
