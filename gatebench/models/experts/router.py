"""Routers: each image goes to one of several frozen networks, which differ in time and in what they withstand.

Routing Beats Latency (OpenReview ACUpdwBIxi). A gater looks at the image first and names the expert; `cascade.py` has those that run
experts in turn. Each kind of gater is a module: `learned.py`, `neighbours.py`, `entropy.py`, `complexity.py`.

Shapes: N images, E experts (the switches, and the units), C classes, H x W pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ...contract import Conversion, Execution, GatedModel, Output, Prepare, Probe, Unit
from ...losses import Batch
from ...measure.macs import count_macs, count_params
from ...pieces import Part, Piece, Step
from ..backbones.feature_maps import take_rows
from .decider import Chooser, Decider, Policy
from .learned import one_hot_through
from .settings import Milliseconds
from .worth import Routed


class Converted(nn.Module):
    """A network on images that were prepared for another one: [N, C, H, W] -> what the network gives, its logits where it is a model."""

    def __init__(self, network: nn.Module, given: Prepare | None, wanted: Prepare | None):
        super().__init__()
        self.network, self.convert = network, Conversion(given, wanted)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convert(x)
        return self.network.infer(x).logits if isinstance(self.network, GatedModel) else self.network(x)


class BaseRouter(GatedModel):
    """Base of routers: the cost of their experts, what they are compared with, and weights without theirs."""

    replays = True
    macs_outside = 0

    def __init__(self, experts: Mapping[str, GatedModel], num_classes: int, input_shape: tuple[int, int, int], milliseconds: Milliseconds):
        """`experts` by role, in the order of their times; the last is the static twin. `milliseconds` is of each."""
        super().__init__()
        self.roles, self.num_classes, self.input_shape = tuple(experts), num_classes, tuple(input_shape)
        self.milliseconds = None if milliseconds == "measured" else tuple(milliseconds)
        self.prepare = list(experts.values())[-1].prepare
        self.experts = nn.ModuleList(Converted(each, self.prepare, each.prepare) for each in experts.values())
        self.experts.requires_grad_(False).eval()
        self.units = [Unit(role, "expert", 1, int(each.macs_static), count_params(each)) for role, each in experts.items()]
        self.macs_static = self.units[-1].macs
        self.register_state_dict_post_hook(_without_experts)
        self.register_load_state_dict_post_hook(_experts_are_elsewhere)

    def train(self, mode: bool = True) -> "BaseRouter":
        """Experts are frozen: their batch norm keeps its statistics."""
        super().train(mode)
        self.experts.eval()
        return self

    def answers(self, x: Tensor) -> Tensor:
        """Logits [N, E, C] of all experts."""
        return torch.stack([each(x) for each in self.experts], 1)

    def expert_pieces(self) -> dict[str, Piece]:
        """Each expert from the image."""
        return {
            role: Piece(Part(self, lambda image, each=each: (each(image),)), ("image",), ("logits",), (number,), self.units[number].macs)
            for number, (role, each) in enumerate(zip(self.roles, self.experts, strict=True))
        }

    @property
    def method(self) -> Chooser:
        """What decides."""
        raise NotImplementedError

    @property
    def chooses(self) -> bool:
        """Whether there is anything to choose once it is trained."""
        return self.method.chooses

    @property
    def policy(self) -> Policy | None:
        return self.method.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self.method.policy = policy

    def scores(self, x: Tensor, outputs: Tensor) -> Tensor:
        """What decisions are made by, [N, K], for inputs on which the experts give `outputs` [N, E, C]."""
        raise NotImplementedError

    def decide(self, scores: Tensor, policy: Policy | None) -> Tensor:
        """Decisions [N, E]."""
        raise NotImplementedError

    def replay(self, x: Tensor, outputs: Tensor) -> Output:
        scores = self.scores(x, outputs)
        on = self.decide(scores, self.policy)
        return Output(outputs[torch.arange(len(x), device=x.device), last_on(on)], self.method.gates(scores), on, count=self.counting(on))

    def least(self) -> Tensor:
        return torch.arange(len(self.units)) == int(np.argmin([unit.macs for unit in self.units]))

    def references(self) -> dict[str, nn.Module]:
        """Each expert alone, the strongest first."""
        return {f"{role} alone": each for role, each in reversed(list(zip(self.roles, self.experts, strict=True)))}

    def claimed(self, decisions: np.ndarray, gates: np.ndarray | None = None) -> float:
        """Percent of the strongest expert's time that the chosen experts' own times save: looked up, the gater left out."""
        return 100 * (1 - looked_up(decisions, self.costs) / self.costs[-1])

    @property
    def costs(self) -> tuple[float, ...]:
        """Milliseconds of each expert, where they were given or measured; else its MACs."""
        return self.milliseconds or tuple(float(unit.macs) for unit in self.units)

    def first_weights(self) -> Mapping[str, Tensor]:
        return self.method.first_weights()

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        self.method.start_from(state)

    def operate(self, row: Mapping[str, Any]) -> None:
        """By what the study chose for the row."""
        self.policy = self.method.policy_of(row)

    def answering(self, decisions: np.ndarray) -> np.ndarray:
        """Numbers [N] of the experts whose answers are taken under decisions [N, E]."""
        return last_on(torch.from_numpy(decisions)).numpy()

    def measured(self, outcome: Any) -> dict[str, Any]:
        taken = np.bincount(self.answering(outcome.decisions), minlength=len(self.roles)) / len(outcome.labels)
        columns = {"shares": taken.tolist(), "share_names": list(self.roles)}
        if self.milliseconds:
            columns["expected_ms"] = looked_up(outcome.decisions, self.milliseconds)
        return columns | outcome.beside(outcome) if isinstance(outcome, Routed) else columns

    def parts(self) -> dict[str, Probe]:
        """Each expert on the images that reach it."""

        def group(number: int, x: Tensor, own: Output) -> Any:
            rows = own.decisions[:, number].nonzero().squeeze(1)
            return partial(self.experts[number], x if len(rows) == len(x) else take_rows(x, rows)) if len(rows) else None

        return {role: Probe(partial(group, number), part=True) for number, role in enumerate(self.roles)}


class Router(BaseRouter):
    """A gater names one expert for each image."""

    def __init__(
        self,
        gater: Decider,
        experts: Mapping[str, GatedModel],
        num_classes: int,
        input_shape: tuple[int, int, int],
        milliseconds: Milliseconds,
    ):
        super().__init__(experts, num_classes, input_shape, milliseconds)
        wanted = gater.statistics and self.prepare and Prepare(self.prepare.size, *gater.statistics)
        self.gater = Converted(gater, self.prepare, wanted or None)
        self.soft_gates = self.trainable = gater.trainable
        self.macs_scores = count_macs(gater, (1, *self.input_shape))

    @property
    def macs_gate(self) -> int:
        return self.macs_scores + self.method.macs_learned

    @property
    def method(self) -> Decider:
        return self.gater.network

    def scores(self, x: Tensor, outputs: Tensor) -> Tensor:
        return self.gater(x)

    def decide(self, scores: Tensor, policy: Policy | None) -> Tensor:
        return one_hot(self.method.choose(scores, policy), len(self.roles)).bool()

    def forward(self, x: Tensor, outputs: Tensor | None = None) -> Output:
        """The chosen expert's logits, differentiable in the choice (Algorithm 1); `outputs` [N, E, C] are the experts', if computed."""
        soft = self.method.soft(self.gater(x))
        outputs = self.answers(x) if outputs is None else outputs
        return Output((one_hot_through(soft)[:, :, None] * outputs).sum(1), soft, details={"outputs": outputs})

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        following = {"".join("01"[own == each] for own in range(len(self.roles))): role for each, role in enumerate(self.roles)}
        start = Piece(Part(self, self._name), ("image",), ("bits",), macs=self.macs_gate, next=Step(following))
        return {"start": start, **self.expert_pieces()}

    def _name(self, image: Tensor) -> tuple[Tensor]:
        return (self.decide(self.scores(image, None), self.policy).to(torch.uint8),)

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        deciding = decisions is None
        scores = self.gater(x) if deciding else None
        chosen = self.method.choose(scores, self.policy if policy is None else policy) if deciding else _chosen(decisions)
        gates = self.method.gates(scores) if deciding else None
        on = one_hot(chosen, len(self.roles)).bool() if deciding else decisions
        if execution == "masked":
            logits = self.answers(x)[torch.arange(len(x), device=x.device), chosen]
            return Output(logits, gates, on, count=self.counting_all(len(x), deciding))
        return Output(self._run_groups(x, chosen), gates, on, count=self.counting(on, deciding))

    def _run_groups(self, x: Tensor, chosen: Tensor) -> Tensor:
        """Logits [N, C]: each expert runs once, on the images that chose it."""
        if len(x) == 1:
            return self.experts[int(chosen)](x)
        logits = None
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(1)
            if len(rows) == len(x):
                return expert(x)
            if len(rows):
                answers = expert(take_rows(x, rows))
                logits = answers.new_empty(len(x), answers.shape[1]) if logits is None else logits
                logits[rows] = answers.to(logits.dtype)
        return logits

    def legal(self, decisions: Tensor) -> Tensor:
        return decisions.sum(1) == 1

    def most(self) -> Tensor:
        return torch.arange(len(self.units)) == int(np.argmax([unit.macs for unit in self.units]))

    def random_decisions(self, count: int, draw: np.random.Generator) -> Tensor:
        """[N, E]: one expert each, out of shares that are drawn first."""
        shares = draw.dirichlet(np.full(len(self.roles), 0.5))
        return one_hot(torch.from_numpy(draw.choice(len(self.roles), count, p=shares)), len(self.roles)).bool()

    def probes(self) -> dict[str, Probe]:
        """The gater, and each expert on the images that were sent to it."""
        return {"gater": Probe(lambda x, own: partial(self.gater, x), part=True), **self.parts()}

    def learn(self, train: Iterable[Batch]) -> None:
        answered = (batch if batch.outputs is not None else replace(batch, outputs=self.answers(batch.x)) for batch in train)
        self.method.learn(answered, self.gater.convert)


def looked_up(decisions: np.ndarray, costs: Sequence[float]) -> float:
    """Mean cost of the experts that run under decisions [N, E].

    By their shares: the mean of many times that are the same need not be that time.
    """
    return float(decisions.mean(0) @ np.array(costs))


def last_on(decisions: Tensor) -> Tensor:
    """Numbers [N] of the last experts that are on."""
    return decisions.shape[1] - 1 - decisions.flip(1).int().argmax(1)


def _chosen(decisions: Tensor) -> Tensor:
    """Numbers [N] of the experts of imposed decisions. Raises ValueError where one is not one-hot."""
    if not bool((decisions.sum(1) == 1).all()):
        raise ValueError("legal decisions send every image to one expert")
    return decisions.int().argmax(1)


def _without_experts(model: BaseRouter, state: dict, prefix: str, metadata: Any) -> None:
    """A router's weights are its gater's: its experts' are in their own runs."""
    for name in [name for name in state if name.startswith(f"{prefix}experts.")]:
        del state[name]


def _experts_are_elsewhere(model: BaseRouter, keys: Any) -> None:
    keys.missing_keys[:] = [name for name in keys.missing_keys if not name.startswith("experts.")]
