"""How good predictions are.

Shapes: N inputs.
"""

import numpy as np

from ..measure.statistics import wilson


def scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Percent: accuracy with Wilson's interval, and the share of the most frequent class, which is that of answering nothing else;
    precision, recall and F1, each a mean over the classes that occur in either, 0 for one never predicted, as is usual. Both [N]."""
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
        "majority_pct": 100 * float(true.max() / true.sum()),
        **{name: 100 * float(each[occur].mean()) for name, each in macro.items()},
    }
