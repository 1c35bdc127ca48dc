"""What every gated model promises, whatever its method.

Shapes: N inputs, S switches (the sum of the units' widths), U units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

Execution = Literal["masked", "sparse"]
EXECUTIONS = get_args(Execution)
"""`masked` computes everything and multiplies; `sparse` leaves out what is off. (Dense, the third, is `forward` in training.)"""


@dataclass(frozen=True)
class Unit:
    """A piece of a network that can be left out for one input."""

    name: str
    kind: str
    """"block", "channels", "segment" up to an exit, its "head", or "expert"."""
    width: int
    """Number of switches: 1, or the number of channels."""
    macs: int
    """Multiply-accumulates of one input when the whole unit runs."""
    params: int


@dataclass
class Output:
    """What a model returns, in training and at inference."""

    logits: Tensor
    """Class scores [N, classes]."""
    gates: Tensor | None = None
    """Gates in [0, 1], [N, S]: relaxed ones in training, sigmoid(logit) without noise at inference. None: nothing was decided."""
    exits: Tensor | None = None
    """Class scores of every exit [N, E, classes], of a network with several; in training, and at inference where all were computed."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Training only: the model's own loss terms, name -> [N] or [N, U]. The recipe's objective weights them."""
    decisions: Tensor | None = None
    """Inference only: the switches that were on, boolean [N, S]."""
    executed: Tensor | None = None
    """Inference only: the share of each unit that was really computed for each input, [N, U]."""


class GatedModel(nn.Module):
    """Base of every model; a network without gates has no units. `forward(x) -> Output` trains, `infer` runs hard decisions."""

    input_shape: tuple[int, int, int]
    """Channels, height, width of one input."""
    macs_static: int
    """MACs of one input through the static twin: the same network without gates."""
    units: Sequence[Unit] = ()
    """What can be left out, in the order of the computation."""
    terms: tuple[str, ...] = ()
    """Names of the loss terms of the model's own that `forward` gives; a recipe's objective may weight them."""
    soft_gates: bool = True
    """Whether `forward` gives gates that a recipe's budget can hold down."""
    exits: int = 1
    """Number of answers on the way, the last one included."""
    policy: Any = None
    """How it decides where that is chosen once it is trained, as the thresholds of exits are; kept with the weights."""
    macs_gate: int = 0
    """MACs of one input spent only in order to decide, by what is no unit (a head that says go on is one)."""

    @property
    def fixed_policies(self) -> dict[str, Any]:
        """Policies under which the gates are asked and always say the same: "all on" and "all off", where a method has such."""
        return {}

    @property
    def macs_outside(self) -> int:
        """MACs of one input that belong to no unit; here those of a network whose static twin runs every unit."""
        return self.macs_static - sum(unit.macs for unit in self.units)

    @cached_property
    def switches(self) -> int:
        return sum(unit.width for unit in self.units)

    @cached_property
    def switch_macs(self) -> np.ndarray:
        """MACs [S] of one input that each switch decides about: an equal part of its unit's."""
        return np.repeat([unit.macs / unit.width for unit in self.units], [unit.width for unit in self.units])

    def twin(self) -> nn.Module | None:
        """The static twin over the same weights, images [N, C, H, W] -> logits; None for a network that is static itself."""
        return None

    def infer(self, x: Tensor, execution: Execution = "sparse", decisions: Tensor | None = None, policy: Any = None) -> Output:
        """Run inputs [N, C, H, W] under hard decisions: the network's own, or the imposed ones (boolean [N, S], legal ones).

        `policy` is how to decide where a method has a choice (block gates: the threshold; exits: an `ExitPolicy`); none means its own.
        Raises ValueError for another execution and for decisions of another shape or type.
        """
        return self._infer(x, execution, self.checked(x, execution, decisions), policy)

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

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Any) -> Output:
        """A method's own inference, on arguments that were checked."""
        raise NotImplementedError(f"{type(self).__name__} does not define _infer()")

    def fractions(self, decisions: np.ndarray) -> np.ndarray:
        """Share of each unit's switches that are on, float32 [N, U], of decisions (or gates) [N, S]."""
        starts = np.cumsum([0, *(unit.width for unit in self.units)])
        columns = [decisions[:, start:end].mean(1, dtype=np.float32) for start, end in zip(starts, starts[1:], strict=False)]
        return np.stack(columns, 1) if columns else np.zeros((len(decisions), 0), np.float32)

    def claimed(self, decisions: np.ndarray) -> float:
        """The saving in percent that the family's papers would claim for decisions [N, S]: the share of the switches that are off."""
        return 100 * (1 - float(decisions.mean()))

    def macs(self, shares: np.ndarray, deciding: bool = True) -> np.ndarray:
        """MACs [N] of inputs that ran these shares [N, U] of the units; with the price of deciding, unless decisions were imposed."""
        units = np.array([unit.macs for unit in self.units], dtype=np.float64)
        return self.macs_outside + (self.macs_gate if deciding else 0) + shares.astype(np.float64) @ units

    def random_decisions(self, count: int, draw: np.random.Generator) -> Tensor:
        """Legal decisions [N, S] at random, from a distribution that is itself drawn, so that batches of any size differ in every unit."""
        return torch.from_numpy(draw.random((count, self.switches)) < draw.random(self.switches))

    def least(self) -> Tensor:
        """Decisions [S] with no more on than must be."""
        return torch.zeros(self.switches, dtype=torch.bool)

    def needed(self, decisions: Tensor) -> Tensor:
        """Decisions [N, S] without what is on only in order to decide: what imposing them would run."""
        return decisions

    def recorded(self, example: Tensor) -> Any:
        """The network as CUDA graphs for one input at a time, with `infer` and `twin` as here; None where that cannot be recorded."""
        return None

    def begin_epoch(self, progress: float) -> None:
        """Called before every epoch with the share of training already done, for whatever a method anneals."""
