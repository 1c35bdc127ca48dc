"""Runs the experts in turn, in the order of the recipe, until one is sure of its answer: what a paper on routing has to beat.

Shapes: N images, E experts, C classes.
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ...contract import Execution, GatedModel, Output, Probe
from ...gating import first_sure, means_of_first_sure, sureness
from ...pieces import Part, Piece, Step
from ..backbones.feature_maps import take_rows
from .decider import Chooser, Policy
from .objective import normalised, objective
from .router import BaseRouter, last_on
from .settings import Cascade, Milliseconds, Score

THRESHOLD = 0.9
"""Of every expert, until thresholds are chosen."""
COMBINATIONS = 4_000
"""Combinations of thresholds that are tried, about."""


class Confidence(Chooser):
    """Scores [N, E]: how sure each expert is. The policy is a threshold for each expert but the last."""

    chooses = True

    def __init__(self, rule: Score, experts: int):
        super().__init__()
        self.rule, self.name = rule, f"cascade by {rule}"
        self.keep((THRESHOLD,) * (experts - 1))

    def described(self, policy: Policy) -> dict[str, Any]:
        return {"thresholds": [each if math.isfinite(each) else None for each in policy]}

    def policy_of(self, row: Mapping[str, Any]) -> Policy:
        return tuple(math.inf if each is None else each for each in row["thresholds"])

    def policies(self, scores: np.ndarray, losses: np.ndarray, costs: np.ndarray, weights: Sequence[float]) -> list[Policy]:
        tried = candidates(scores)
        loss, time = means_of_first_sure(scores, tried, losses, normalised(np.cumsum(costs), costs))
        return [tried[int(objective(loss, time, weight).argmin())] for weight in weights]


def candidates(scores: np.ndarray) -> list[Policy]:
    """Thresholds to try for each expert but the last, from quantiles of its scores [N, E], and never; of too many, random ones."""
    early = scores[:, :-1]
    steps = max(2, int(COMBINATIONS ** (1 / early.shape[1])) - 1)
    columns = [[*np.unique(np.quantile(each, np.linspace(0, 1, steps), method="nearest")).tolist(), math.inf] for each in early.T]
    if math.prod(map(len, columns)) <= COMBINATIONS:
        return list(itertools.product(*columns))
    draw = random.Random(0)
    return [tuple(map(draw.choice, columns)) for _ in range(COMBINATIONS)]


class CascadeRouter(BaseRouter):
    """Experts that answer where those before were not sure. On are all that ran; the last one that is on answers."""

    soft_gates = trainable = False

    def __init__(
        self,
        settings: Cascade,
        experts: Mapping[str, GatedModel],
        num_classes: int,
        input_shape: tuple[int, int, int],
        milliseconds: Milliseconds,
    ):
        super().__init__(experts, num_classes, input_shape, milliseconds)
        self.confidence = Confidence(settings.rule, len(experts))

    @property
    def method(self) -> Confidence:
        return self.confidence

    @property
    def fixed_policies(self) -> dict[str, Policy]:
        early = len(self.roles) - 1
        return {"all on": (math.inf,) * early, "all off": (-math.inf,) * early}

    def scores(self, x: Tensor, outputs: Tensor) -> Tensor:
        return torch.stack([sureness(each, self.confidence.rule) for each in outputs.unbind(1)], 1)

    def decide(self, scores: Tensor, policy: Policy | None) -> Tensor:
        return self._up_to(first_sure(scores, policy))

    def _up_to(self, last: Tensor) -> Tensor:
        """Decisions [N, E] of images that are answered by these experts [N]."""
        return torch.arange(len(self.roles), device=last.device) <= last[:, None]

    def forward(self, x: Tensor, outputs: Tensor | None = None) -> Output:
        """The last expert's logits: there is nothing to train."""
        return Output((self.answers(x) if outputs is None else outputs)[:, -1])

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        last, made = len(self.roles) - 1, {}
        for number, (role, threshold) in enumerate(zip(self.roles, (*self.policy, None), strict=True)):
            work = partial(self._ask_one, number, threshold)
            outputs, following = ("logits",), None
            if number < last:
                outputs, following = ("logits", "bits"), Step({"0": self.roles[number + 1], "1": ""})
            made[role] = Piece(Part(self, work), ("image",), outputs, (number,), self.units[number].macs, following)
        return made

    def _ask_one(self, number: int, threshold: float | None, image: Tensor) -> tuple[Tensor, ...]:
        """Logits of an expert and, but for the last, whether it is sure."""
        logits = self.experts[number](image)
        if threshold is None:
            return (logits,)
        return logits, sureness(logits, self.confidence.rule) >= threshold

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        if decisions is not None and not bool(self.legal(decisions).all()):
            raise ValueError("legal decisions send every image to one expert or more")
        policy = self.policy if policy is None else policy
        if execution == "masked":
            outputs = self.answers(x)
            on = self.decide(self.scores(x, outputs), policy) if decisions is None else decisions
            logits = outputs[torch.arange(len(x), device=x.device), last_on(on)]
            return Output(logits, None, on, count=self.counting_all(len(x)))
        logits, on = self._ask(x, policy) if decisions is None else (self._run(x, decisions), decisions)
        return Output(logits, None, on, count=self.counting(on))

    def _ask(self, x: Tensor, policy: Policy) -> tuple[Tensor, Tensor]:
        """Logits [N, C] and decisions [N, E]: a batch that shrinks from expert to expert."""
        last = len(self.roles) - 1
        rows, taken, logits = torch.arange(len(x), device=x.device), torch.full((len(x),), last, device=x.device), None
        for number, expert in enumerate(self.experts):
            answers = expert(x)
            logits = answers.new_empty(len(taken), answers.shape[1]) if logits is None else logits
            logits[rows] = answers.to(logits.dtype)
            if number == last:
                break
            sure = sureness(answers, self.confidence.rule) >= policy[number]
            taken[rows[sure]] = number
            going_on = (~sure).nonzero().squeeze(1)
            if not len(going_on):
                break
            if len(going_on) < len(x):
                x, rows = take_rows(x, going_on), rows[going_on]
        return logits, self._up_to(taken)

    def _run(self, x: Tensor, on: Tensor) -> Tensor:
        """Logits [N, C] of the last expert that is on; the others that are on run too."""
        logits = None
        for expert, wanted in zip(self.experts, on.unbind(1), strict=True):
            rows = wanted.nonzero().squeeze(1)
            if len(rows):
                answers = expert(x if len(rows) == len(x) else take_rows(x, rows))
                logits = answers.new_empty(len(x), answers.shape[1]) if logits is None else logits
                logits[rows] = answers.to(logits.dtype)
        return logits

    def legal(self, decisions: Tensor) -> Tensor:
        return decisions.any(1)

    def needed(self, decisions: Tensor) -> Tensor:
        """The expert that answers, without those that ran before it."""
        return one_hot(last_on(decisions), len(self.roles)).bool()

    def random_decisions(self, count: int, draw: np.random.Generator) -> Tensor:
        """[N, E]: at least one expert each."""
        on = super().random_decisions(count, draw)
        on[torch.arange(count), torch.from_numpy(draw.integers(0, len(self.roles), count))] = True
        return on

    def probes(self) -> dict[str, Probe]:
        return self.parts()
