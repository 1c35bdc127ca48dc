"""The ways of gating, each with what a run of it decided for some of its images."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np

from ...errors import GatebenchError
from ...foreign import plain
from ...models import registry
from ...models.registry import Gating
from ..reading import read_decisions, read_inputs
from ..results import Run
from .examples import read_examples

MOST_UNITS = 30
WITHOUT_IMAGES = 16
"""Inputs of a run that kept no images."""


@dataclass(frozen=True)
class Way:
    """One way of gating, with real decisions where a run kept some."""

    name: str
    text: str
    run: str = ""
    units: list[str] = field(default_factory=list)
    decisions: list[list[float]] = field(default_factory=list)
    """Of each image: share of each unit that is on."""
    labels: list[str] = field(default_factory=list)
    strip: str = ""
    """The images side by side, if they were kept."""


def ways(runs: list[Run]) -> list[dict]:
    """All that families declare, as plain data."""
    return [asdict(next(_shown(gating, runs), Way(gating.name, gating.text))) for gating in registry.gatings()]


def _shown(gating: Gating, runs: list[Run]) -> Iterator[Way]:
    """Of the runs of a way of gating those that kept decisions, with images first."""
    own = [run for run in runs if run.headline["adaptive"] and _gating(run) == gating]
    for run in sorted(own, key=lambda run: (not run.folder.has("examples.npz"), -_fastest(run))):
        examples = read_examples(run)
        index = examples.index if examples else None
        try:
            units, decisions = _decisions(run, index)
        except Exception:  # tables may hold anything
            continue
        if len(decisions) and np.isfinite(decisions).all() and np.ptp(decisions, axis=0).any():
            labels = examples.labels if examples else [f"input {number + 1}" for number in range(len(decisions))]
            strip = examples.strip() if examples else ""
            values = np.round(decisions.astype(float), 3).tolist()
            yield Way(gating.name, gating.text, run.name, [plain(unit)[:24] for unit in units], values, labels, strip)


def _fastest(run: Run) -> float:
    return max((row["speedup"] for row in run.times if "speedup" in row), default=0.0)


def _gating(run: Run) -> Gating | None:
    """That of the run's model; None for one that is not registered here."""
    entry = registry.registered(run.headline["model"])
    return entry and entry.gating


def _decisions(run: Run, index: np.ndarray | None) -> tuple[list[str], np.ndarray]:
    """Names of the units that may be off, and the share of each that is on, [N, units]."""
    lines = [line for line in run.breakdown if line["by"] == "unit" and "mean_gate_hard" in line]
    units = [line["group"] for line in lines][:MOST_UNITS]
    if run.folder.has("inputs.parquet"):
        table = read_inputs(run.folder / "inputs.parquet")
        decisions = np.stack([table[unit] for unit in units], 1)
    else:
        decisions = read_decisions(run.folder / "decisions.npz")
    if decisions.shape[1] != len(units):
        raise GatebenchError("a unit has several switches")
    chosen = index if index is not None else np.linspace(0, len(decisions) - 1, WITHOUT_IMAGES).astype(int)
    return units, decisions[chosen]
