"""What every gated model promises, whatever its method.

Shapes: N inputs, S switches (the sum of the units' widths), U units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from .errors import UsageError
from .pieces import Piece
from .weights.fit import load_into

if TYPE_CHECKING:
    from .data.batches import Batches

Execution = Literal["masked", "sparse"]
EXECUTIONS = get_args(Execution)
"""`masked` computes everything and multiplies; `sparse` leaves out what is off."""


@dataclass(frozen=True)
class Unit:
    """A piece of a network that can be left out for one input."""

    name: str
    kind: str
    """"block", "channels", "segment" up to an exit, its "head", or "expert"."""
    width: int
    """Number of switches: 1, or the number of channels; 0 for a part that has no gate and yet costs less when others are off."""
    macs: int
    """Multiply-accumulates of one input when every unit runs."""
    params: int


@dataclass(frozen=True)
class Prepare:
    """What is done to an image before a network sees it. It belongs to the network and is kept with its weights."""

    size: tuple[int, int]
    """Height and width."""
    mean: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1]."""
    std: tuple[float, ...]


class Conversion(nn.Module):
    """Images [N, C, H, W] that were prepared for one network as another wants them: another size, mean and deviation."""

    def __init__(self, given: Prepare | None, wanted: Prepare | None):
        """None: no preparation is set, and images stay as they are."""
        super().__init__()
        both = given is not None and wanted is not None
        self.size = wanted.size if both and wanted.size != given.size else None
        self.normalises = both and (given.mean, given.std) != (wanted.mean, wanted.std)
        if self.normalises:
            mean, std, own_mean, own_std = (torch.tensor(each)[:, None, None] for each in (given.mean, given.std, wanted.mean, wanted.std))
            self.register_buffer("scale", std / own_std, persistent=False)
            self.register_buffer("shift", (mean - own_mean) / own_std, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.size:
            x = nn.functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        return torch.addcmul(self.shift, x, self.scale) if self.normalises else x


@dataclass
class Output:
    """What a model returns, in training and at inference."""

    logits: Tensor
    """Class scores [N, classes]."""
    gates: Tensor | None = None
    """Gates in [0, 1], [N, S]: relaxed ones in training, without noise at inference. None: nothing was decided."""
    decisions: Tensor | None = None
    """Inference only: the switches that were on, boolean [N, S]."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Training only: quantities of the model's own that its losses read, name -> [N] or [N, U]."""
    details: dict[str, Tensor] = field(default_factory=dict)
    """Whatever else the model's own losses and studies read, such as the logits of every exit."""
    count: Callable[[], Tensor] | None = None
    """Inference only, from the executor: counts the MACs that were really computed. Not called while a call is timed."""

    @property
    def executed_macs(self) -> Tensor:
        """MACs that were computed for each input, float64 [N, U + 2]: the units, what belongs to no unit, what was spent to decide."""
        return self.count()


@dataclass(frozen=True)
class Probe:
    """Something of a network that is timed beside it."""

    work: Callable[[Tensor, Output], Callable[[], object] | None]
    """What is timed, from inputs [N, C, H, W] and the network's output on them; None: nothing for this call."""
    part: bool = False
    """Whether it is one of the parts that make up the network, whose summed times over its own are the dispatch efficiency."""


class GatedModel(nn.Module):
    """Base of every model; a network without gates has no units. `forward(x) -> Output` trains, `infer` runs hard decisions."""

    input_shape: tuple[int, int, int]
    """Channels, height, width of one input."""
    prepare: Prepare | None = None
    """Set when the network is built for a data set, or loaded."""
    macs_static: int
    """MACs of one input through the static twin: the network that a user would run instead."""
    macs_gate: int = 0
    """MACs of one input spent only in order to decide, by what is no unit."""
    units: Sequence[Unit] = ()
    """What can be left out, in the order of the computation."""
    terms: tuple[str, ...] = ()
    """Names of the terms that `forward` gives."""
    soft_gates: bool = True
    """Whether `forward` gives gates that a budget can hold down."""
    policy: Any = None
    """How it decides where that is chosen once it is trained; kept with the weights."""
    trainable: bool = True
    """Whether gradients can train it; what is not is trained for 0 epochs."""
    scoring: Execution = "sparse"
    """Execution in which epochs are scored during training: masked for what sparse execution runs one input after the other."""
    replays: bool = False
    """Whether known outputs of its parents can stand for running them: `forward` then takes them too, and there is a `replay`."""

    def infer(self, x: Tensor, execution: Execution = "sparse", decisions: Tensor | None = None, policy: Any = None) -> Output:
        """Run inputs [N, C, H, W] under hard decisions: the network's own, or the imposed ones (boolean [N, S], legal ones).

        `policy` is how to decide where a method has a choice (block gates: the threshold); None: its own. Raises ValueError for another
        execution and for decisions of another shape or type.
        """
        return self._infer(x, execution, self.checked(x, execution, decisions), policy)

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        """A method's own inference, on arguments that were checked."""
        raise NotImplementedError(f"{type(self).__name__} does not define _infer()")

    def replay(self, x: Tensor, outputs: Tensor) -> Output:
        """What `infer` gives for inputs [N, C, H, W] on which its frozen parents give `outputs` [N, parents, classes].

        None of the parents is run.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define replay()")

    def checked(self, x: Tensor, execution: Execution, decisions: Tensor | None) -> Tensor | None:
        """The decisions on the device of the inputs. Raises as `infer` does."""
        if execution not in EXECUTIONS:
            raise ValueError(f"execution must be one of {', '.join(EXECUTIONS)}, not {execution!r}")
        if decisions is not None:
            if decisions.shape != (x.shape[0], self.switches) or decisions.dtype != torch.bool:
                raise ValueError(f"decisions must be boolean [{len(x)}, {self.switches}], not {decisions.dtype} {list(decisions.shape)}")
            if decisions.device != x.device:
                decisions = decisions.to(x.device)
        return decisions

    # Decisions

    @property
    def adaptive(self) -> bool:
        """Whether it has gates; a network that was cut once and for all has none, even where it has units."""
        return bool(self.units)

    @cached_property
    def switches(self) -> int:
        """S."""
        return sum(unit.width for unit in self.units)

    def legal(self, decisions: Tensor) -> Tensor:
        """Which of the decisions [N, S] the network can run, boolean [N]; here all."""
        return torch.ones(len(decisions), dtype=torch.bool, device=decisions.device)

    def most(self) -> Tensor:
        """Legal decisions [S] that cost most."""
        return torch.ones(self.switches, dtype=torch.bool)

    def least(self) -> Tensor:
        """Legal decisions [S] that cost least."""
        return torch.zeros(self.switches, dtype=torch.bool)

    def random_decisions(self, count: int, draw: np.random.Generator) -> Tensor:
        """Random legal decisions [N, S]. Each call first draws a probability per switch, so that batches differ."""
        return torch.from_numpy(draw.random((count, self.switches)) < draw.random(self.switches))

    def needed(self, decisions: Tensor) -> Tensor:
        """Decisions [N, S] without switches that are on only in order to decide: what imposing them would run."""
        return decisions

    def keeping(self, order: Tensor, count: int) -> Tensor:
        """Decisions [S] with the first `count` switches of an order [S] on.

        A method that allows few patterns gives the nearest one.
        """
        on = torch.zeros(self.switches, dtype=torch.bool, device=order.device)
        on[order[:count]] = True
        return on

    def fractions(self, decisions: np.ndarray) -> np.ndarray:
        """Share of each unit's switches that are on, float32 [N, U], of decisions (or gates) [N, S]; units without switches are on."""
        starts = np.cumsum([0, *(unit.width for unit in self.units)])
        columns = [
            decisions[:, start:end].mean(1, dtype=np.float32) if end > start else np.ones(len(decisions), np.float32)
            for start, end in zip(starts, starts[1:], strict=False)
        ]
        return np.stack(columns, 1) if columns else np.zeros((len(decisions), 0), np.float32)

    def claimed(self, decisions: np.ndarray, gates: np.ndarray | None = None) -> float:
        """What the method's paper would claim to save, in percent; here the switches that are off. Decisions and gates are [N, S]."""
        return 100 * (1 - float(decisions.mean()))

    # Cost

    @property
    def macs_outside(self) -> int:
        """MACs of one input that belong to no unit; here those of a network whose static twin runs every unit."""
        return self.macs_static - sum(unit.macs for unit in self.units)

    @cached_property
    def macs_most(self) -> float:
        """MACs of one input in its units under the costliest decisions."""
        return float(self.unit_macs(self.most().double()[None]).sum())

    def unit_macs(self, on: Tensor) -> Tensor:
        """MACs [N, U] of each unit under decisions or gates `on` (float, [N, S]); differentiable.

        Here each switch has an equal part, and a unit without switches all of its MACs.
        """
        macs = on.new_tensor([unit.macs for unit in self.units])
        if all(unit.width == 1 for unit in self.units):
            return on * macs
        parts = on.split([unit.width for unit in self.units], 1)
        return torch.stack([part.mean(1) if part.shape[1] else part.new_ones(len(part)) for part in parts], 1) * macs

    def tally(self, on: Tensor, deciding: bool = True) -> Tensor:
        """MACs of inputs under decisions [N, S], float64 [N, U + 2]: the units, outside of them, the gates (0 unless `deciding`)."""
        units = self.unit_macs(on.double())
        rest = units.new_tensor([self.macs_outside, self.macs_gate if deciding else 0])
        return torch.cat([units, rest.expand(len(units), 2)], 1)

    def counting(self, on: Tensor, deciding: bool = True) -> Callable[[], Tensor]:
        """What an executor gives as `Output.count` when it ran the switches `on` [N, S], and no more."""
        return partial(self.tally, on, deciding)

    def counting_all(self, inputs: int, deciding: bool = True) -> Callable[[], Tensor]:
        """What an executor gives as `Output.count` when it computed everything for that many inputs."""
        return lambda: self.tally(torch.ones(inputs, self.switches), deciding)

    def measured(self, outcome: Any) -> dict[str, Any]:
        """Further columns of a run's row, such as shares of exits, from what it did on the scored inputs (an `Outcome`)."""
        return {}

    # What it is compared with, and how it is timed

    def references(self) -> dict[str, nn.Module]:
        """What a user would run instead, over the same weights: images [N, C, H, W] -> logits, by the name that tables give it.

        Speed-ups are over the first. None for a network that is static itself.
        """
        return {}

    @property
    def fixed_policies(self) -> dict[str, Any]:
        """Policies under which the gates are evaluated and always give the same: "all on" and "all off", where a method has such."""
        return {}

    def probes(self) -> dict[str, Probe]:
        """Further things to time beside it, by name."""
        return {}

    def recorded(self, example: Tensor, record: Callable[..., Callable[[Tensor], Any]]) -> Any:
        """The network for one input at a time, with `infer` and `references`, out of pieces that `record(work, example)` replays.

        With `share_memory=True` pieces share memory: a replay of one overwrites the results of the others. None where its inference
        cannot be recorded.
        """
        return None

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        """The network for one input at a time in pieces that really skip, by name, the first one first; over its own weights.

        `decided` are decisions [N, S] on real inputs: what the common ones run may be made ready as a whole, of the `most` common ones.
        Raises UsageError where its work cannot be cut like that.
        """
        raise UsageError(f"{type(self).__name__} has no pieces that could be exported.")

    def tune(self, x: Tensor) -> dict[str, Any]:
        """Choose by measurement how calls with as many inputs as x [N, C, H, W] are run from now on; here nothing.

        For a copy for inference (`runtimes.fold`), on the device and with the threads that it will be timed with. Returns what was
        chosen, for the record of the times; `Output.count` then counts what the chosen way computes.
        """
        return {}

    def operate(self, row: Mapping[str, Any]) -> None:
        """Decide from now on as a row of its study says. For a family with a study."""
        raise NotImplementedError(f"{type(self).__name__} does not define operate()")

    # Training

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights by name before training; here all of them. Raises ValueError naming what does not fit."""
        load_into(self)(state)

    def first_weights(self) -> Mapping[str, Tensor]:
        """The tensors that `start_from` looks for, by the names that it knows them by."""
        return self.state_dict()

    def learn(self, train: "Batches") -> None:
        """Called once before training, for whatever is learned without gradients, such as neighbours.

        `train` are all training batches, not augmented, which can be gone through several times; `train.shuffled(0)` are augmented.
        """

    def begin_epoch(self, progress: float) -> None:
        """Called before every epoch with the share of training already done, for whatever a method anneals."""
