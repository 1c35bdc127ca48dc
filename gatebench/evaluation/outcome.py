"""One pass over a split: what the network said, decided and computed for every input.

Shapes: N inputs, S switches, U units.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..contract import Execution, GatedModel, Output
from ..data.batches import Batches
from ..device import autocast
from ..measure.statistics import wilson


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

    def gate_means_by_unit(self, model: GatedModel) -> dict[str, float]:
        """Hard mean gate of every unit, as columns `gate_<unit>`."""
        shares = model.fractions(self.decisions).mean(0)
        return {f"gate_{unit.name}": float(share) for unit, share in zip(model.units, shares, strict=True)}

    def decided_macs(self, model: GatedModel) -> np.ndarray:
        """MACs [N] that the decisions ask for, the price of deciding included."""
        return model.macs(model.fractions(self.decisions))

    def executed_macs(self, model: GatedModel) -> np.ndarray:
        """MACs [N] that the executor really ran, with whatever was computed only in order to decide."""
        return model.macs(self.executed)

    def macs_ratio(self, model: GatedModel) -> float:
        """Mean executed MACs over the static twin's."""
        return float(self.executed_macs(model).mean()) / model.macs_static


def scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Percent: accuracy with Wilson's interval; precision, recall and F1, each a mean over the classes that occur in either, 0 for one
    never predicted, as is usual. Both [N]."""
    correct = predictions == labels
    low, high = wilson(int(correct.sum()), len(correct))
    classes = int(max(labels.max(), predictions.max())) + 1
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes).astype(float)
    hits, predicted, true = confusion.diagonal(), confusion.sum(0), confusion.sum(1)
    precision = np.divide(hits, predicted, out=np.zeros(classes), where=predicted > 0)
    recall = np.divide(hits, true, out=np.zeros(classes), where=true > 0)
    f1 = np.divide(2 * hits, predicted + true, out=np.zeros(classes), where=predicted + true > 0)
    occur = predicted + true > 0
    macro = {"f1": f1, "precision_macro": precision, "recall_macro": recall}
    return {
        "accuracy": 100 * float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        **{name: 100 * float(each[occur].mean()) for name, each in macro.items()},
    }


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
