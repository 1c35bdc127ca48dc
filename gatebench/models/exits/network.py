"""Networks with exits: a trunk cut into segments, and behind each segment a head that may already answer.

Confidence-gated training (CGT, arXiv 2509.17885) trains them so that early heads are good where they are used; the loss is in
`loss.py`, the rules by which inputs leave in `policy.py`, the way they are run in `execution.py`.

Shapes: N inputs, E exits, C channels or classes, H x W pixels.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ...contract import Execution, GatedModel, Output, Unit
from ...measure.macs import count_macs, count_params
from ...pieces import Piece
from .execution import leave_at, run_exits
from .pieces import pieces
from .policy import BEYOND, NEVER, ExitPolicy
from .settings import Backbone, Cnn, Rule
from .trunks import build

RULES = get_args(Rule)


class EarlyExit(GatedModel):
    """Segments and heads, by turns the units; an input runs all up to the exit at which it leaves."""

    soft_gates = False

    def __init__(
        self, segments: Sequence[nn.Module], heads: Sequence[nn.Module], input_shape: tuple[int, int, int], rule: Rule, threshold: float
    ):
        super().__init__()
        self.segments, self.heads = nn.ModuleList(segments), nn.ModuleList(heads)
        self.input_shape, self.exits = tuple(input_shape), len(heads)
        self.register_buffer("thresholds", torch.full((len(heads) - 1,), float(threshold)))
        self.register_buffer("temperatures", torch.ones(len(heads)))
        self.register_buffer("rule_number", torch.tensor(RULES.index(rule), dtype=torch.uint8))
        self._leaving: dict[tuple[bool, ...], tuple[Tensor, ...]] = {}
        self.register_load_state_dict_post_hook(_settle)
        _settle(self)
        self.units, shape = [], (1, *self.input_shape)
        for index, (segment, head) in enumerate(zip(self.segments, self.heads, strict=True)):
            after = _shape_after(segment, shape)
            self.units.append(Unit(f"segments.{index}", "segment", 1, count_macs(segment, shape), count_params(segment)))
            self.units.append(Unit(f"heads.{index}", "head", 1, count_macs(head, after), count_params(head)))
            shape = after
        self.macs_static = sum(unit.macs for unit in self.units[::2]) + self.units[-1].macs

    def _apply(self, *args, **kwargs) -> "EarlyExit":
        """Whatever moves it to another device."""
        super()._apply(*args, **kwargs)
        self._leaving = {}
        return self

    def leaving(self, policy: ExitPolicy | None = None) -> tuple[Tensor, ...]:
        """For each exit the decisions [1, 2 E] of an input that leaves there, with the heads on the way that the policy asks; None: all.

        They are kept: a slice alone takes a hundredth of a small network's time.
        """
        asked = policy.asked if policy else (True,) * self.exits
        if asked not in self._leaving:
            with torch.inference_mode(False):  # outlives whatever is run now
                numbers = torch.arange(self.exits, device=self.thresholds.device)
                self._leaving[asked] = leave_at(numbers, self.exits, asked).split(1)
        return self._leaving[asked]

    @property
    def fixed_policies(self) -> dict[str, ExitPolicy]:
        return {"all on": self._always(BEYOND), "all off": self._always(-NEVER)}

    @property
    def macs_outside(self) -> int:
        return 0

    @property
    def policy(self) -> ExitPolicy:
        """The network's own; its rule, thresholds and temperatures are kept with the weights."""
        return self._policy

    @policy.setter
    def policy(self, policy: ExitPolicy) -> None:
        policy.check(self.exits)
        self.rule_number.fill_(RULES.index(policy.rule))
        self.thresholds.copy_(torch.tensor(policy.thresholds))
        self.temperatures.copy_(torch.tensor(policy.temperatures or [1.0] * self.exits))
        _settle(self)

    def _always(self, threshold: float) -> ExitPolicy:
        return ExitPolicy(self.policy.rule, (threshold,) * (self.exits - 1), self.policy.temperatures)

    def all_exits(self, x: Tensor) -> Tensor:
        """Logits [N, E, C] of every exit."""
        answers = []
        for segment, head in zip(self.segments, self.heads, strict=True):
            x = segment(x)
            answers.append(head(x))
        return torch.stack(answers, 1)

    def forward(self, x: Tensor) -> Output:
        """The last exit's logits, and those of all [N, E, C]."""
        exits = self.all_exits(x)
        return Output(exits[:, -1], details={"exits": exits})

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        return pieces(self)

    def references(self) -> dict[str, nn.Module]:
        """The trunk with its last head only."""
        return {"its static twin": nn.Sequential(*self.segments, self.heads[-1])}

    def legal(self, decisions: Tensor) -> Tensor:
        """Those that run the segments up to one, and its head; of the heads before, any."""
        reached, heads = decisions[:, ::2], decisions[:, 1::2]
        end = reached.sum(1) - 1
        prefix = (reached == (torch.arange(self.exits, device=decisions.device) <= end[:, None])).all(1)
        answers = heads.gather(1, end.clamp(min=0)[:, None]).squeeze(1)
        return prefix & (end >= 0) & answers & ~(heads & ~reached).any(1)

    def random_decisions(self, count: int, draw: np.random.Generator) -> Tensor:
        """[N, 2 E]: leaving somewhere, at an exit that the whole call favours."""
        shares = draw.dirichlet(np.full(self.exits, 0.5))
        return self.needed(leave_at(torch.from_numpy(draw.choice(self.exits, count, p=shares)), self.exits))

    def least(self) -> Tensor:
        return leave_at(torch.zeros(1), self.exits)[0]

    def needed(self, decisions: Tensor) -> Tensor:
        """Without the heads that only said: go on."""
        reached = decisions[:, ::2]
        further = torch.cat([reached[:, 1:], torch.zeros_like(reached[:, :1])], 1)
        return torch.stack([reached, reached & ~further], 2).flatten(1)

    def claimed(self, decisions: np.ndarray, gates: np.ndarray | None = None) -> float:
        """The share of the segments that are not reached, in percent: a head that is not asked is no part of the claim."""
        return super().claimed(decisions[:, ::2])

    def operate(self, row: Mapping[str, Any]) -> None:
        """By the rule, thresholds and temperatures of the row."""
        thresholds = tuple(NEVER if each is None else each for each in row["thresholds"])
        self.policy = ExitPolicy(row["policy"].partition(",")[0], thresholds, tuple(row.get("temperatures", ())) or None)

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: ExitPolicy | None) -> Output:
        return run_exits(self, x, execution, decisions, policy or self.policy)


def _settle(net: EarlyExit, *_) -> None:
    """Keep the policy as plain numbers, which no inference has to fetch from the device; called whenever they may be new."""
    net._policy = ExitPolicy(RULES[int(net.rule_number)], tuple(net.thresholds.tolist()), tuple(net.temperatures.tolist()))


def _shape_after(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what `module` makes of one input of this shape."""
    with torch.no_grad():
        return tuple(copy.deepcopy(module).eval().to("meta")(torch.zeros(shape, device="meta")).shape)


def cgt(
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (1, 28, 28),
    backbone: Backbone = Cnn(),
    rule: Rule = "max-softmax",
    threshold: Annotated[float, Field(ge=0)] = 0.9,
) -> EarlyExit:
    """A backbone with exits; `threshold` is that of every exit until thresholds are chosen."""
    return EarlyExit(*build(backbone, num_classes, input_shape), input_shape, rule, threshold)
