"""Whether exits are as often right as they are sure: reliability, calibration error, and temperatures that mend it.

Shapes: N inputs, E exits, C classes.
"""

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from .answers import Answers

BINS = 15
"""Of confidence, in a reliability diagram (Guo et al. 2017, arXiv 1706.04599)."""


def fit_temperatures(answers: Answers) -> tuple[float, ...]:
    """For each exit the temperature, from 1/20 to 20, with the least cross-entropy (Guo et al. 2017, arXiv 1706.04599)."""
    labels = torch.from_numpy(answers.labels)

    def entropy(log_temperature: float, logits: Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(logits / float(np.exp(log_temperature)), labels))

    return tuple(
        float(np.exp(minimize_scalar(entropy, bounds=(-3, 3), args=(logits,), method="bounded").x)) for logits in answers.logits.unbind(1)
    )


def calibration(answers: Answers, temperatures: tuple[float, ...] | None) -> pd.DataFrame:
    """calibration.csv: for each exit and bin of its largest probability, how often it is right (%), the mean probability, inputs;
    and the expected calibration error (%) of the exit. As the logits are, and divided by its temperature where there are any."""
    parts = []
    for scaled in (None, temperatures) if temperatures else (None,):
        for number in range(answers.logits.shape[1]):
            table, error = _reliability(answers, number, scaled), calibration_error(answers, number, scaled)
            parts.append(table.assign(exit=number, ece=error, temperature=scaled[number] if scaled else 1.0))
    return pd.concat(parts, ignore_index=True)


def calibration_error(answers: Answers, number: int, temperatures: tuple[float, ...] | None) -> float:
    """Of an exit (%): between how sure it is and how often it is right, the mean distance over inputs, by bins."""
    table = _reliability(answers, number, temperatures)
    return float((table["inputs"] * (table["accuracy"] - table["confidence"]).abs()).sum() / table["inputs"].sum())


def _reliability(answers: Answers, number: int, temperatures: tuple[float, ...] | None) -> pd.DataFrame:
    sure = answers.scores("max-softmax", temperatures).numpy()[:, number]
    table = pd.DataFrame(
        {"bin": np.minimum((sure * BINS).astype(int), BINS - 1), "confidence": 100 * sure, "accuracy": 100.0 * answers.right[:, number]}
    )
    return table.groupby("bin", as_index=False).agg(
        inputs=("accuracy", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )  # fmt: skip
