"""Where the compute goes: by block, by class and, where they are known, by severity of corruption and difficulty.

Shapes: N inputs, U units.
"""

import numpy as np
import pandas as pd
import torch

from ..contract import GatedModel
from ..data.images import Dataset
from .outcome import Outcome

DIFFICULTY_BINS = 5


def per_input(model: GatedModel, dataset: Dataset, outcome: Outcome) -> pd.DataFrame:
    """inputs.parquet: per scored input its label, prediction, confidence, MACs and the share of every unit that was on.

    Where images come in severities of corruption, `image` is the number of the underlying one, and `severity` the corruption's name.
    """
    table = {
        "label": outcome.labels,
        "prediction": outcome.predictions,
        "confidence": outcome.confidence,
        "macs_decided": outcome.decided_macs(model),
        "macs_executed": outcome.executed,
    }
    if dataset.severities:
        table |= {"image": dataset.test.source, "severity": np.array(dataset.severities)[dataset.test.severity]}
    if dataset.test.difficulty is not None:
        table["difficulty"] = dataset.test.difficulty
    names = [unit.name for unit in model.units]
    table |= dict(zip(names, model.fractions(outcome.decisions).T, strict=True))
    if outcome.gates is not None:
        table |= dict(zip([f"{name}_soft" for name in names], model.fractions(outcome.gates).T, strict=True))
    return pd.DataFrame(table)


def breakdown(model: GatedModel, dataset: Dataset, outcome: Outcome, inputs: pd.DataFrame) -> pd.DataFrame:
    """breakdown.csv: by class, severity and difficulty accuracy, mean gate and MACs; by unit mean gate and the MACs really run in it."""
    inputs = inputs.assign(
        correct=100.0 * (inputs["label"] == inputs["prediction"]),
        gate=outcome.decisions.mean(1) if model.units else np.nan,
    )
    groups = {"class": inputs["label"]}
    if "severity" in inputs:
        groups["severity"] = pd.Categorical(inputs["severity"], dataset.severities)
    if "difficulty" in inputs:
        groups["difficulty"] = difficulty_bins(inputs["difficulty"])
    tables = [_by_group(kind, keys, inputs) for kind, keys in groups.items()]
    tables[0]["group"] = [dataset.classes[label] for label in tables[0]["group"]]
    if model.units:
        tables.append(_by_unit(model, outcome, inputs))
    return pd.concat(tables, ignore_index=True)


def by_severity(outcome: Outcome, dataset: Dataset) -> dict[str, Outcome]:
    """What the network did on the scored images of each severity of corruption, in their order; empty where there are none."""
    return {name: outcome.subset(dataset.test.severity == index) for index, name in enumerate(dataset.severities)}


def difficulty_bins(difficulty: pd.Series) -> pd.Series:
    """The fifth of [0, 1] in which each difficulty lies, by name."""
    edges = np.linspace(0, 1, DIFFICULTY_BINS + 1).round(1)
    return pd.cut(difficulty, edges, include_lowest=True, labels=[f"{low}-{high}" for low, high in zip(edges, edges[1:], strict=False)])


def _by_group(kind: str, keys: "pd.Series | pd.Categorical", inputs: pd.DataFrame) -> pd.DataFrame:
    table = inputs.groupby(keys, observed=True).agg(
        inputs=("correct", "size"), accuracy=("correct", "mean"), mean_gate_hard=("gate", "mean"),
        macs_decided=("macs_decided", "mean"), macs_executed=("macs_executed", "mean"),
    )  # fmt: skip
    table = table.rename_axis("group").reset_index()
    table.insert(0, "by", kind)
    return table


def _by_unit(model: GatedModel, outcome: Outcome, inputs: pd.DataFrame) -> pd.DataFrame:
    executed, decided = outcome.executed_macs.mean(0), model.tally(torch.from_numpy(outcome.decisions)).mean(0).tolist()
    rows = [
        {
            "by": "unit", "group": unit.name, "inputs": len(inputs), "mean_gate_hard": inputs[unit.name].mean() if unit.width else None,
            "mean_gate_soft": inputs[f"{unit.name}_soft"].mean() if outcome.gates is not None else None,
            "macs_decided": decided[index], "macs_executed": executed[index],
        }
        for index, unit in enumerate(model.units)
    ]  # fmt: skip
    return pd.DataFrame(rows)
