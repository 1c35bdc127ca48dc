"""One pass over a split: what the network said, decided and computed for every input.

Shapes: N inputs, S switches, U units.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..contract import Execution, GatedModel, Output
from ..data.batches import Batches
from ..device import autocast


@dataclass
class Outcome:
    """Per input, in the split's order."""

    labels: np.ndarray
    predictions: np.ndarray
    confidence: np.ndarray
    """Largest softmax probability."""
    gates: np.ndarray | None
    """sigmoid(gate logit) without noise, float32 [N, S]; None where decisions come without soft gates, or there are none."""
    decisions: np.ndarray
    """Switches that were on, boolean [N, S]."""
    executed_macs: np.ndarray
    """MACs that were really computed, float64 [N, U + 2]: the units, what belongs to no unit, what was spent to decide."""

    @property
    def correct(self) -> np.ndarray:
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * float(self.correct.mean())

    def subset(self, chosen: np.ndarray) -> "Outcome":
        """What the network did on the chosen inputs, a boolean mask [N] or their numbers."""
        return replace(self, **{name: column[chosen] for name, column in vars(self).items() if isinstance(column, np.ndarray)})

    def gate_means(self) -> dict[str, float | None]:
        """Both forms of the mean gate over inputs and switches (CosineGate, Eq. 17): soft, and hard as Eq. 16 decides."""
        hard = float(self.decisions.mean()) if self.decisions.size else None
        return {"mean_gate_soft": None if self.gates is None else float(self.gates.mean()), "mean_gate_hard": hard}

    def gate_means_by_unit(self, model: GatedModel) -> dict[str, float]:
        """Hard mean gate of every unit, as columns `gate_<unit>`."""
        shares = model.fractions(self.decisions).mean(0)
        return {f"gate_{unit.name}": float(share) for unit, share in zip(model.units, shares, strict=True)}

    def decided_macs(self, model: GatedModel) -> np.ndarray:
        """MACs [N] that the decisions ask for, the price of deciding included."""
        return model.tally(torch.from_numpy(self.decisions)).sum(1).numpy()

    @property
    def executed(self) -> np.ndarray:
        """MACs [N] that the executor really ran, with whatever was computed only in order to decide."""
        return self.executed_macs.sum(1)

    def macs_ratio(self, model: GatedModel) -> float:
        """Mean executed MACs over the static twin's."""
        return float(self.executed.mean()) / model.macs_static


def collect(
    model: GatedModel, batches: Batches, precision: str, execution: Execution = "sparse", imposed: torch.Tensor | None = None
) -> Outcome:
    """Run every image of a split through hard decisions: the network's own, or `imposed` ones, [N, S] or [S] the same for every image.

    Where its parents' outputs are cached, they are replayed, not run.
    """
    model.eval()
    device = batches.labels.device
    every = None if imposed is None else imposed.expand(len(batches.labels), -1)
    done = 0
    columns: dict[str, list] = {name: [] for name in ("labels", "predictions", "confidence", "gates", "decisions", "executed_macs")}
    with torch.inference_mode(), autocast(device, precision):
        for batch in batches.in_order():
            if batch.outputs is not None and every is None:
                output: Output = model.replay(batch.x, batch.outputs)
            else:
                output = model.infer(batch.x, execution, None if every is None else every[done : done + len(batch.labels)])
            done += len(batch.labels)
            confidence, predictions = torch.softmax(output.logits.float(), 1).max(1)
            for name, value in (
                ("labels", batch.labels), ("predictions", predictions), ("confidence", confidence),
                ("gates", output.gates), ("decisions", output.decisions), ("executed_macs", output.executed_macs),
            ):  # fmt: skip
                if value is not None:
                    columns[name].append((value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy())  # numpy has no bf16
    return Outcome(**{name: np.concatenate(parts) if parts else None for name, parts in columns.items()})


def answers(network: GatedModel, batches: Batches, precision: str, after_batch: Callable[[int], None]) -> np.ndarray:
    """Logits [N, C] of a network on every image, float32; `after_batch` is called with the number of images that are done."""
    network.eval()
    parts, done = [], 0
    with torch.inference_mode(), autocast(batches.labels.device, precision):
        for batch in batches.in_order():
            parts.append(network.infer(batch.x).logits.float().cpu().numpy())
            done += len(batch.labels)
            after_batch(done)
    return np.concatenate(parts)
