"""What every gated model promises, whatever its method.

Shapes: N inputs, S switches (the sum of the units' widths), U units.
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

Execution = Literal["masked", "sparse"]


@dataclass(frozen=True)
class Unit:
    """A piece of a network that can be left out for one input."""

    name: str
    kind: str
    """"block", "channels", "segment" or "expert"."""
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
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Training only: the model's own loss terms, name -> [N] or [N, U]. The recipe's objective weights them."""
    decisions: Tensor | None = None
    """Inference only: the switches that were on, boolean [N, S]."""
    executed: Tensor | None = None
    """Inference only: which units were really computed for which input, boolean [N, U]."""


class GatedModel(nn.Module):
    """Base of every model; a network without gates has no units.

    `forward(x) -> Output` trains. `infer(x, execution, decisions) -> Output` runs hard decisions: its own, or the imposed
    ones (boolean [N, S]). `masked` computes everything and multiplies, `sparse` leaves out what is off.
    """

    input_shape: tuple[int, int, int]
    """Channels, height, width of one input."""
    macs_static: int
    """MACs of one input through the static twin: the same network without gates."""
    macs_gate: int = 0
    """MACs of one input spent only in order to decide."""

    @property
    def units(self) -> list[Unit]:
        return []

    def infer(self, x: Tensor, execution: Execution = "sparse", decisions: Tensor | None = None) -> Output:
        raise NotImplementedError(f"{type(self).__name__} does not define infer()")

    def begin_epoch(self, progress: float) -> None:
        """Called before every epoch with the share of training already done, for whatever a method anneals."""

    @property
    def macs_base(self) -> int:
        """MACs of one input that no decision can save, the gates' own aside."""
        return self.macs_static - sum(unit.macs for unit in self.units)
