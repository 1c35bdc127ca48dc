"""Networks with a gate on every output channel of their convolutions: after batch norm, before ReLU (LAG).

Shapes: N inputs, L gated convolutions, C channels of a convolution, S channels of all of them, U units, H x W pixels.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...contract import Execution, GatedModel, Output, Unit
from ...errors import UsageError
from ...measure.macs import count_macs, count_params
from ...pieces import Piece
from ..backbones.static import StaticPath
from . import gates
from .engines import Decision, Engine, PartialMap, Relaxed
from .execution import run_channels
from .settings import Gate, Inference
from .tuning import Tuned

if TYPE_CHECKING:
    from ...evaluation.outcome import Outcome

NORM = 2
"""Weights that batch norm has for each channel."""


class Layer(NamedTuple):
    """A convolution or linear layer of the network."""

    name: str
    module: nn.Conv2d | nn.Linear
    gated: bool


class ChannelGated(GatedModel):
    """What channel-gated networks share. A trunk mixed in gives `weighted_layers`, `inputs` and `walk`."""

    scoring: Execution = "masked"
    tuned: Tuned | None = None
    """How calls of one batch size are run, in a copy for inference."""

    def add_gates(self, settings: Gate, inference: Inference) -> None:
        """Called once the trunk is built. Raises ValueError for gates that cannot be run so."""
        self.policy = inference
        layers = self.weighted_layers()
        gated = [each.module for each in layers if each.gated]
        self.gates = nn.ModuleList(gates.build(settings, conv.in_channels, conv.out_channels) for conv in gated)
        self.of_input, self.bounded = self.gates[0].of_input, self.gates[0].bounded
        if not self.bounded:
            self.terms = ("saliency",)
            if inference != "scaled":
                raise ValueError(f"saliencies scale their channels, so inference must be scaled, not {inference}")
        macs = self._layer_macs(layers)
        self.units = [
            Unit(name, "channels" if has_gate else "dense", module.out_channels if has_gate else 0, macs[name], count_params(module))
            for name, module, has_gate in layers
        ]
        self.widths = [conv.out_channels for conv in gated]
        if self.of_input:
            self.macs_gate = sum(count_macs(each, (1, conv.in_channels)) for each, conv in zip(self.gates, gated, strict=True))

    # What a trunk gives

    def gated_layers(self) -> list[Sequence[nn.Module]]:
        """The convolution and norm of every gated layer; without the norm where it was folded."""
        raise NotImplementedError

    def weighted_layers(self) -> list[Layer]:
        """Every convolution and linear layer, in the order of the computation."""
        raise NotImplementedError

    def inputs(self, on: list[Tensor]) -> list[Tensor]:
        """Active inputs [N] that each of these layers reads, from the gates [N, C] of the gated ones; differentiable."""
        raise NotImplementedError

    def walk(self, x: Tensor, engine: Engine) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W], every layer computed by an engine."""
        raise NotImplementedError

    # Gates

    def logits(self, index: int, part: PartialMap | None) -> Tensor:
        """Gate logits [N, C], or [1, C] where they do not depend on the input, from a layer's input."""
        gate = self.gates[index]
        if not self.of_input:
            return gate.logits[None]
        pooled = gate.pool(part.x)
        if not part.whole:
            held, pooled = pooled, pooled.new_zeros(pooled.shape[0], gate.layers[0].in_features)
            pooled.index_copy_(1, part.channels, held)
        return gate(pooled)

    def decide(self, index: int, part: PartialMap | None, inference: Inference, imposed: Tensor | None) -> Decision:
        """From a layer's input, which free gates do without. Imposed decisions of hard inference evaluate no gate."""
        if imposed is not None and inference == "hard":
            return Decision(imposed)
        gate, logits = self.gates[index], self.logits(index, part)
        if imposed is None:
            imposed = torch.ones_like(logits, dtype=torch.bool) if inference == "soft" else gate.on(logits)
        return Decision(imposed, None if inference == "hard" else gate.soft(logits), logits)

    def soft(self, logits: list[Tensor]) -> Tensor | None:
        """Gates in [0, 1], [N, S] or [1, S], from the logits of every layer: at once, since all have the same temperature.

        None where no gate was evaluated, or where gates are saliencies.
        """
        return self.gates[0].soft(torch.cat(logits, 1)) if logits and self.bounded else None

    def begin_epoch(self, progress: float) -> None:
        for gate in self.gates:
            gate.begin_epoch(progress)

    def forward(self, x: Tensor) -> Output:
        """Relaxed gates [N, S]; every channel is computed."""
        engine = Relaxed(self)
        logits = self.walk(x, engine)
        return Output(logits, torch.cat(engine.gates, 1), terms=engine.terms())

    def pieces(self, decided: Tensor, most: int) -> dict[str, Piece]:
        raise UsageError(
            "No file leaves out other channels for each image. Export a smaller network: lag-compact, of free gates, or pruned."
        )

    def _infer(self, x: Tensor, execution: Execution, decisions: Tensor | None, policy: Inference | None) -> Output:
        return run_channels(self, x, execution, decisions, policy or self.policy)

    def operate(self, row: Mapping[str, Any]) -> None:
        self.policy = row["policy"]

    # Decisions: with saliencies, as many channels of a layer for every input

    def legal(self, decisions: Tensor) -> Tensor:
        if self.bounded:
            return super().legal(decisions)
        counts = torch.stack([each.sum(1) for each in self.by_layer(decisions)], 1)
        return (counts == counts.new_tensor([gate.count for gate in self.gates])).all(1)

    def most(self) -> Tensor:
        return super().most() if self.bounded else self._first()

    def least(self) -> Tensor:
        return super().least() if self.bounded else self._first()

    def random_decisions(self, count: int, draw: np.random.Generator) -> Tensor:
        if self.bounded:
            return super().random_decisions(count, draw)
        parts = [draw.permuted(np.tile(each.numpy(), (count, 1)), axis=1) for each in self.by_layer(self._first()[None])]
        return torch.from_numpy(np.concatenate(parts, 1))

    def _first(self) -> Tensor:
        """Decisions [S] with the first channels of each layer on, as many as there must be."""
        return torch.cat([torch.arange(width) < gate.count for width, gate in zip(self.widths, self.gates, strict=True)])

    def keeping(self, order: Tensor, count: int) -> Tensor:
        if self.bounded:
            return super().keeping(order, count)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device)
        parts = [each[0] for each in self.by_layer(rank[None])]
        return torch.cat([part.argsort().argsort() < gate.count for part, gate in zip(parts, self.gates, strict=True)])

    def claimed(self, decisions: np.ndarray, gates: np.ndarray | None = None) -> float:
        """1 - mean soft gate, as LAG reports it; without gates, the share of channels off."""
        return 100 * (1 - float((decisions if gates is None else gates).mean()))

    # Cost

    def by_layer(self, on: Tensor) -> list[Tensor]:
        """Gates or decisions [N, S] by gated convolution, [N, C] each."""
        return list(on.split(self.widths, 1))

    def by_layer_or_none(self, on: Tensor | None) -> list[Tensor | None]:
        """The same, and None for every layer where there are no decisions."""
        return [None] * len(self.widths) if on is None else self.by_layer(on)

    def unit_macs(self, on: Tensor) -> Tensor:
        """Active inputs x active outputs of every layer, in MACs [N, U]."""
        parts = self.by_layer(on)
        outputs = iter(parts)
        columns = []
        for unit, (_, module, gated), active in zip(self.units, self.weighted_layers(), self.inputs(parts), strict=True):
            reads, makes = module.weight.shape[1], module.weight.shape[0]
            made = next(outputs).sum(1) if gated else makes
            columns.append(active * made * (unit.macs / (reads * makes)))
        return torch.stack(columns, 1)

    def counting_shares(self, share: Callable[[nn.Module], Tensor | float], inputs: int, deciding: bool) -> Callable[[], Tensor]:
        """What an executor gives as `Output.count` that ran such shares of its layers' MACs, each a number or [N]."""

        def count() -> Tensor:
            layers = zip(self.units, self.weighted_layers(), strict=True)
            units = [unit.macs * torch.as_tensor(share(module), dtype=torch.float64).expand(inputs) for unit, (_, module, _) in layers]
            rest = [torch.full((inputs,), macs, dtype=torch.float64) for macs in (self.macs_outside, self.macs_gate if deciding else 0)]
            return torch.stack([*units, *rest], 1)

        return count

    def params_used(self, on: Tensor) -> int:
        """Weights of the network that is left when only the channels `on` [S] are kept, with gates that depend on the input."""
        parts = self.by_layer(on.double()[None])
        outputs, total = iter(parts), 0.0
        for (_, module, gated), active in zip(self.weighted_layers(), self.inputs(parts), strict=True):
            made = float(next(outputs).sum()) if gated else module.weight.shape[0]
            others = made if isinstance(module, nn.Linear) else NORM * made
            total += float(active) * made * module.weight[0, 0].numel() + others
        return round(total) + (count_params(self.gates) if self.of_input else 0)

    def measured(self, outcome: "Outcome") -> dict[str, Any]:
        used = self.params_used(torch.from_numpy(outcome.decisions.any(0)))
        return {"params_used": used, "params_kept": used / self.params_used(torch.ones(self.switches))}

    def tune(self, x: Tensor) -> dict[str, Any]:
        self.tuned = Tuned(self, x)
        return self.tuned.record()

    def references(self) -> dict[str, nn.Module]:
        """The twin is in its fastest layout once the network is tuned."""
        return {"its static twin": self.tuned.twin if self.tuned else StaticPath(self)}

    def _layer_macs(self, layers: list[Layer]) -> dict[str, int]:
        """MACs of each layer for one input."""
        shapes, copied = {}, copy.deepcopy(StaticPath(self)).to("meta").eval()
        for name, module, _ in copied.trunk.weighted_layers():
            module.register_forward_hook(lambda module, inputs, output, name=name: shapes.update({name: tuple(inputs[0].shape)}))
        with torch.no_grad():
            copied(torch.empty(1, *self.input_shape, device="meta"))
        return {name: count_macs(module, shapes[name]) for name, module, _ in layers}
