"""When an input leaves a network that has several exits: a score of its answers so far, and a threshold for each exit.

max-softmax (CGT), entropy and margin: see `gating.sureness`. patience: exits in a row that agree (PABEE, arXiv 2006.04152), 1 for the
first.

Shapes: N inputs, E exits, C classes. A score is higher the surer the answer; an input leaves at the first exit whose score
reaches its threshold, and at the last one whatever its score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from ...gating import sureness
from .settings import Rule

NEVER = math.inf
"""A threshold at which nothing leaves: its head need not be asked."""
BEYOND = float(np.finfo(np.float32).max)
"""A threshold that no score reaches, though the head is asked."""


@dataclass(frozen=True)
class ExitPolicy:
    """A rule and its thresholds."""

    rule: Rule
    thresholds: tuple[float, ...]
    """One for each exit but the last, as single-precision numbers: what scores are, one input at a time or a batch."""
    temperatures: tuple[float, ...] | None = None
    """Positive; they divide the logits of each exit before the softmax. None: 1."""

    def __post_init__(self):
        """Raises ValueError for another rule, thresholds that are no numbers, and temperatures that are not positive."""
        if self.rule not in get_args(Rule):
            raise ValueError(f"the rule must be one of {', '.join(get_args(Rule))}, not {self.rule!r}")
        if any(map(math.isnan, self.thresholds)):
            raise ValueError(f"thresholds must be numbers, not {', '.join(map(str, self.thresholds))}")
        object.__setattr__(self, "thresholds", tuple(float(np.float32(each)) for each in self.thresholds))
        if self.temperatures:
            if not all(each > 0 for each in self.temperatures):
                raise ValueError(f"temperatures must be positive, not {', '.join(map(str, self.temperatures))}")
            temperatures = tuple(float(np.float32(each)) for each in self.temperatures)
            object.__setattr__(self, "temperatures", None if set(temperatures) == {1.0} else temperatures)

    @cached_property
    def asked(self) -> tuple[bool, ...]:
        """Whether inputs that pass an exit run its head, [E]: where any may leave. Patience counts answers, so it also asks all before."""
        leaves = [threshold < NEVER for threshold in self.thresholds]
        if self.rule == "patience":
            leaves = [any(leaves[number:]) for number in range(len(leaves))]
        return (*leaves, True)

    def check(self, exits: int) -> None:
        """Raises ValueError where it is for another number of exits."""
        if len(self.thresholds) != exits - 1:
            raise ValueError(f"{exits} exits want {exits - 1} thresholds, not {len(self.thresholds)}")
        if self.temperatures and len(self.temperatures) != exits:
            raise ValueError(f"{exits} exits want {exits} temperatures, not {len(self.temperatures)}")


class Scores:
    """The scores of exits in their order, for inputs of which some leave on the way."""

    def __init__(self, rule: Rule, temperatures: Sequence[float] | None = None):
        self.rule, self.temperatures = rule, temperatures
        self.answers: Tensor | None = None
        self.agreed: Tensor | None = None

    def of(self, logits: Tensor, number: int) -> Tensor:
        """Scores [N] of the exit of that number, from its logits [N, C]."""
        logits = logits.float()
        if self.temperatures:
            logits = logits / self.temperatures[number]
        if self.rule == "patience":
            answers = logits.argmax(1)
            if self.answers is None:
                self.agreed = torch.ones_like(answers)
            else:
                self.agreed = torch.where(answers == self.answers, self.agreed + 1, 1)
            self.answers = answers
            return self.agreed.float()
        return sureness(logits, self.rule)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (numbers or a mask) alone."""
        if self.answers is not None:
            self.answers, self.agreed = self.answers[rows], self.agreed[rows]


def all_scores(exits: Tensor, rule: Rule, temperatures: Sequence[float] | None = None) -> Tensor:
    """Scores [N, E] of every exit, had every input gone to the end, from the logits [N, E, C]."""
    scores = Scores(rule, temperatures)
    return torch.stack([scores.of(logits, number) for number, logits in enumerate(exits.unbind(1))], 1)
