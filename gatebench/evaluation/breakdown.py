"""Where the compute goes: by block, by class and, where it is known, by difficulty.

Shapes: N inputs, U units.
"""

import numpy as np
import pandas as pd

from ..contract import GatedModel
from ..data.images import Dataset
from .costs import decided_macs, executed_macs
from .outcome import Outcome

DIFFICULTY_BINS = 5


def per_input(model: GatedModel, dataset: Dataset, outcome: Outcome) -> pd.DataFrame:
    """inputs.parquet: per scored input its label, prediction, confidence, MACs and the share of every unit that was on."""
    table = {
        "label": outcome.labels,
        "prediction": outcome.predictions,
        "confidence": outcome.confidence,
        "macs_decided": decided_macs(model, outcome),
        "macs_executed": executed_macs(model, outcome),
    }
    if dataset.test.difficulty is not None:
        table["difficulty"] = dataset.test.difficulty
    for index, unit in enumerate(model.units):
        table[unit.name] = outcome.unit_fractions(model.units)[:, index]
        table[f"{unit.name}_soft"] = outcome.gates[:, index] if unit.width == 1 else None
    return pd.DataFrame(table)


def breakdown(model: GatedModel, dataset: Dataset, inputs: pd.DataFrame) -> pd.DataFrame:
    """breakdown.csv: accuracy, mean gate and MACs by class and difficulty, mean gate and MACs by unit."""
    inputs = inputs.assign(
        correct=100.0 * (inputs["label"] == inputs["prediction"]),
        gate=inputs[[unit.name for unit in model.units]].mean(axis=1) if model.units else np.nan,
    )
    groups = {"class": inputs["label"].map(dict(enumerate(dataset.classes)))}
    if "difficulty" in inputs:
        edges = np.linspace(0, 1, DIFFICULTY_BINS + 1)
        groups["difficulty"] = pd.cut(inputs["difficulty"], edges, include_lowest=True, labels=[f"{a:.1f}-{b:.1f}" for a, b in zip(edges, edges[1:], strict=False)])
    parts = []
    for kind, keys in groups.items():
        table = inputs.groupby(keys, observed=True).agg(
            inputs=("correct", "size"), accuracy=("correct", "mean"), mean_gate_hard=("gate", "mean"),
            macs_decided=("macs_decided", "mean"), macs_executed=("macs_executed", "mean"),
        )  # fmt: skip
        parts.append(table.rename_axis("group").reset_index().assign(by=kind))
    if model.units:
        parts.append(_by_unit(model, inputs))
    table = pd.concat(parts, ignore_index=True)
    return table[["by", "group", *(column for column in table if column not in ("by", "group"))]]


def _by_unit(model: GatedModel, inputs: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "group": unit.name, "by": "unit", "inputs": len(inputs), "mean_gate_hard": inputs[unit.name].mean(),
            "mean_gate_soft": inputs[f"{unit.name}_soft"].mean(), "unit_macs": unit.macs,
        }
        for unit in model.units
    ]  # fmt: skip
    return pd.DataFrame(rows)
