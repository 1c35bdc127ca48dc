"""One pass over a split: what the network said, decided and computed for every input.

Shapes: N inputs, S switches, U units.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..contract import Execution, GatedModel, Output, Unit
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
    """sigmoid(gate logit) without noise, float32 [N, S]; None for a network without gates."""
    decisions: np.ndarray
    """Switches that were on, boolean [N, S]."""
    executed: np.ndarray
    """Units that were really computed, boolean [N, U]."""

    @property
    def correct(self) -> np.ndarray:
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * float(self.correct.mean())

    def gate_means(self) -> dict[str, float | None]:
        """Both forms of the mean gate over inputs and switches (CosineGate, Eq. 17): soft, and hard as Eq. 16 decides."""
        if self.gates is None:
            return {"mean_gate_soft": None, "mean_gate_hard": None}
        return {"mean_gate_soft": float(self.gates.mean()), "mean_gate_hard": float(self.decisions.mean())}

    def gate_means_by_unit(self, units: list[Unit]) -> dict[str, float]:
        """Hard mean gate of every unit, as columns `gate_<unit>`."""
        shares = self.unit_fractions(units).mean(0)
        return {f"gate_{unit.name}": float(share) for unit, share in zip(units, shares, strict=True)}

    def unit_fractions(self, units: list[Unit]) -> np.ndarray:
        """Share of each unit's switches that were on, float32 [N, U]."""
        if not units:
            return np.zeros((len(self.labels), 0), np.float32)
        starts = np.cumsum([0, *(unit.width for unit in units)])
        columns = [self.decisions[:, start:end].mean(1) for start, end in zip(starts, starts[1:], strict=False)]
        return np.stack(columns, 1).astype(np.float32)


def collect(model: GatedModel, batches: Batches, precision: str, execution: Execution = "sparse") -> Outcome:
    """Run every image of a split through hard decisions."""
    model.eval()
    device = batches.labels.device
    columns: dict[str, list] = {name: [] for name in ("labels", "predictions", "confidence", "gates", "decisions", "executed")}
    with torch.inference_mode(), autocast(device, precision):
        for x, labels in batches.in_order():
            output: Output = model.infer(x, execution)
            confidence, predictions = torch.softmax(output.logits.float(), 1).max(1)
            for name, value in (
                ("labels", labels), ("predictions", predictions), ("confidence", confidence),
                ("gates", output.gates), ("decisions", output.decisions), ("executed", output.executed),
            ):  # fmt: skip
                if value is not None:
                    columns[name].append(value.cpu().numpy())
    return Outcome(**{name: np.concatenate(parts) if parts else None for name, parts in columns.items()})
