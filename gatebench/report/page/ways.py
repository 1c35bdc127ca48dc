"""The four ways of gating, each with what a run of it decided for some of its images."""

from dataclasses import asdict, dataclass, field

import numpy as np

from ...errors import GatebenchError
from ...foreign import LARGEST_TABLE, plain, read_table, size_of
from ...models import registry
from ..results import Run
from .examples import read_arrays, read_examples

SOURCE = "gatebench.models."
MOST_UNITS = 30
MOST_INPUTS = 2_000_000
WITHOUT_IMAGES = 16
"""Inputs of a run that kept no images."""
WAYS = {
    "blocks": "A residual block is left out for an image: its shortcut alone goes on. What is saved is the block's work, and deciding has "
    "to cost less.",
    "channels": "Channels of a convolution are left out for an image. The fewer are on, the smaller the convolution, and the more of the "
    "time goes into picking them.",
    "exits": "An image leaves at the first exit that is sure enough. What comes behind it is never computed.",
    "experts": "A small network sends each image to one of several networks. Only that one runs.",
}


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
    """All four, as plain data."""
    return [asdict(next(_told(name, runs), Way(name, text))) for name, text in WAYS.items()]


def _told(name: str, runs: list[Run]):
    """Of the runs of a way of gating those that kept decisions, with images first."""
    own = [run for run in runs if run.headline["adaptive"] and _family(run.headline["model"]) == name]
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
            yield Way(name, WAYS[name], run.name, [plain(unit)[:24] for unit in units], values, labels, strip)


def _fastest(run: Run) -> float:
    return max((row["speedup"] for row in run.times if "speedup" in row), default=0.0)


def _family(model: str) -> str:
    """The package of gatebench that a model is of; "" for one from elsewhere."""
    entry = registry.registered(model)
    source = entry.source if entry and isinstance(entry.source, str) else ""
    return source.removeprefix(SOURCE).partition(".")[0] if source.startswith(SOURCE) else ""


def _decisions(run: Run, index: np.ndarray | None) -> tuple[list[str], np.ndarray]:
    """Names of the units that may be off, and the share of each that is on, [N, units]."""
    lines = [line for line in read_table(run.folder / "breakdown.csv") if line.get("by") == "unit" and line.get("mean_gate_hard")]
    units = [line["group"] for line in lines][:MOST_UNITS]
    if run.folder.has("inputs.parquet"):
        return units, _from_inputs(run, units, index)
    arrays = read_arrays(run.folder / "decisions.npz")
    switches = int(arrays["switches"])
    if switches != len(units):
        raise GatebenchError("a unit has several switches")
    rows = arrays["decisions"]
    chosen = index if index is not None else np.linspace(0, len(rows) - 1, WITHOUT_IMAGES).astype(int)
    return units, np.unpackbits(rows[chosen], axis=1)[:, :switches]


def _from_inputs(run: Run, units: list[str], index: np.ndarray | None) -> np.ndarray:
    import pyarrow.parquet

    path = run.folder / "inputs.parquet"
    size_of(path, LARGEST_TABLE)
    file = pyarrow.parquet.ParquetFile(path)
    if file.metadata.num_rows > MOST_INPUTS:
        raise GatebenchError("too many inputs")
    table = file.read(columns=units)
    chosen = index if index is not None else np.linspace(0, file.metadata.num_rows - 1, WITHOUT_IMAGES).astype(int)
    return np.stack([table[unit].to_numpy()[chosen] for unit in units], 1)
