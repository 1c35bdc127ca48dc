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
    """sigmoid(gate logit) without noise, float32 [N, S]; None where decisions come without soft gates, or there are none."""
    decisions: np.ndarray
    """Switches that were on, boolean [N, S]."""
    executed: np.ndarray
    """Share of each unit that was really computed, [N, U]."""

    @property
    def correct(self) -> np.ndarray:
        return self.predictions == self.labels

    @property
    def accuracy(self) -> float:
        """Percent."""
        return 100 * float(self.correct.mean())

    def gate_means(self) -> dict[str, float | None]:
        """Both forms of the mean gate over inputs and switches (CosineGate, Eq. 17): soft, and hard as Eq. 16 decides."""
        hard = float(self.decisions.mean()) if self.decisions.size else None
        return {"mean_gate_soft": None if self.gates is None else float(self.gates.mean()), "mean_gate_hard": hard}

    def gate_means_by_unit(self, units: list[Unit]) -> dict[str, float]:
        """Hard mean gate of every unit, as columns `gate_<unit>`."""
        shares = self.unit_fractions(units).mean(0)
        return {f"gate_{unit.name}": float(share) for unit, share in zip(units, shares, strict=True)}

    def unit_fractions(self, units: list[Unit]) -> np.ndarray:
        """Share of each unit's switches that were on, float32 [N, U]."""
        return by_unit(self.decisions, units)

    def decided_macs(self, model: GatedModel) -> np.ndarray:
        """MACs [N] that the decisions ask for, the price of deciding included."""
        return model.macs(self.unit_fractions(model.units))

    def executed_macs(self, model: GatedModel) -> np.ndarray:
        """MACs [N] that the executor really ran, with whatever was computed only in order to decide."""
        return model.macs(self.executed)


def by_unit(switches: np.ndarray, units: list[Unit]) -> np.ndarray:
    """Mean over each unit's switches: [N, S] -> float32 [N, U]."""
    starts = np.cumsum([0, *(unit.width for unit in units)])
    columns = [switches[:, start:end].mean(1, dtype=np.float32) for start, end in zip(starts, starts[1:], strict=False)]
    return np.stack(columns, 1) if columns else np.zeros((len(switches), 0), np.float32)


def macro_scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 in percent, each a mean over the classes that occur in either; 0 for one never predicted, as is usual.
    Both [N]."""
    classes = int(max(labels.max(), predictions.max())) + 1
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes).astype(float)
    hits, predicted, true = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    precision = np.divide(hits, predicted, out=np.zeros(classes), where=predicted > 0)
    recall = np.divide(hits, true, out=np.zeros(classes), where=true > 0)
    f1 = np.divide(2 * hits, predicted + true, out=np.zeros(classes), where=predicted + true > 0)
    occur = predicted + true > 0
    return {name: 100 * float(each[occur].mean()) for name, each in (("f1", f1), ("precision_macro", precision), ("recall_macro", recall))}


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
                    columns[name].append((value.float() if value.is_floating_point() else value).cpu().numpy())  # numpy has no bf16
    return Outcome(**{name: np.concatenate(parts) if parts else None for name, parts in columns.items()})
