"""What of a finished run later commands read, written to its folder, and what of that is published."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from .contract import GatedModel
from .data.images import Dataset
from .errors import GatebenchError
from .evaluation.breakdown import breakdown, per_input
from .evaluation.outcome import Outcome
from .models import registry
from .row import TRADEOFF, TimeRow
from .rows import read_rows
from .runs import RunFolder
from .trained import write_weights
from .words import counted

THUMBNAILS = 48
PER_RUN = ("model.safetensors", "examples.npz", "inputs.parquet")
"""Kept of seed 0 alone where a run is published."""
SMALL = {"compression": "zstd", "compression_level": 19, "use_dictionary": False}
"""How a table of inputs is packed: it takes half of the space of what pandas does by itself."""
MOST_BYTES = 20_000
"""Of decisions that are kept of other seeds, too."""


def write_results(
    folder: RunFolder,
    model: GatedModel,
    dataset: Dataset,
    outcome: Outcome,
    rows: list[dict],
    tradeoff: str | None,
    say: Callable[[str], None],
) -> None:
    """Everything that later commands read, the headline row first; the summary last, since it marks the run as finished.

    `tradeoff` is the setting that the recipe names as such; `say` hears of times of other weights, which go.
    """
    inputs = per_input(model, dataset, outcome)
    folder.write_text("breakdown.csv", breakdown(model, dataset, outcome, inputs).to_csv(index=False, float_format="%.10g"))
    floats = [name for name in inputs if inputs[name].dtype.kind == "f"]
    folder.write("inputs.parquet", lambda stream: inputs.to_parquet(stream, index=False, use_byte_stream_split=floats, **SMALL))
    packed = {"decisions": np.packbits(outcome.decisions, axis=1), "switches": outcome.decisions.shape[1]}
    folder.write("decisions.npz", lambda stream: np.savez_compressed(stream, **packed))
    if dataset.test.pixels.dtype == np.uint8 and dataset.test.pixels.shape[3] in (1, 3):  # others are no pictures
        folder.write("examples.npz", lambda stream: np.savez_compressed(stream, **_examples(dataset, inputs, outcome)))
    weights = write_weights(folder, model)
    outdated = remove_outdated_times(folder, weights)
    if outdated:
        say(f"removed {counted(outdated, 'timing')} of the weights that it had before")
    rows = [{**row, "weights": weights} for row in rows]
    columns = registry.entry(rows[0]["model"]).columns_of(tradeoff)
    if any("tradeoff" in row for row in rows) and all(column.name != "tradeoff" for column in columns):
        columns = (TRADEOFF, *columns)
    folder.write_text("columns.json", json.dumps([column.model_dump(exclude_defaults=True) for column in columns], indent=2) + "\n")
    folder.write_rows(rows)
    folder.write_json("summary.json", rows[0])


def remove_outdated_times(folder: RunFolder, weights: str) -> int:
    """Remove the timings that are of other weights than these, with their raw times and conditions; returns how many.

    What cannot be read, or does not say of which weights it is, stays.
    """
    removed = 0
    for timing in folder.path.glob("times/*.jsonl"):
        with contextlib.suppress(GatebenchError):
            if all(row.get("weights", weights) != weights for row in read_rows(timing, TimeRow)):
                for ending in (".jsonl", ".csv", ".json"):  # killed after the first, the others count as left behind
                    timing.with_suffix(ending).unlink(missing_ok=True)
                removed += 1
    return removed


def _examples(dataset: Dataset, inputs: pd.DataFrame, outcome: Outcome) -> dict[str, np.ndarray]:
    """The easiest and hardest inputs as the gates see them: fewest and most MACs decided, then lowest and highest gates; without
    gates, by confidence."""
    hardness = outcome.gates.mean(1) if outcome.gates is not None else 1 - outcome.confidence
    order = np.lexsort([hardness, inputs["macs_decided"]])
    half = min(THUMBNAILS, len(order)) // 2
    chosen = np.concatenate([order[:half], order[len(order) - half :]])
    return {"index": chosen, "pixels": dataset.test.pixels[chosen], "labels": outcome.labels[chosen], "hardness": hardness[chosen]}


def publish(folder: RunFolder, to: Path, whole: bool | None = None) -> RunFolder:
    """Copy what is committed of a finished run to the folder `to`; returns the copy.

    Left out are what only going on needs, raw times and locks, and of a run that is not published `whole` weights, per-input tables and
    all but small decisions; None: seed 0 is. Raises GatebenchError for a run that is not finished.
    """
    if not folder.finished:
        raise GatebenchError(f"{folder.path} is not finished; train it to its end before it is published.")
    if whole is None:
        whole = folder.headline()["seed"] == 0
    copy = RunFolder(to / folder.path.name)
    for path in sorted(folder.path.rglob("*")):
        name = str(path.relative_to(folder.path))
        heavy = not whole and (name in PER_RUN or (name == "decisions.npz" and path.stat().st_size > MOST_BYTES))
        if path.is_file() and not heavy and not path.name.startswith(".") and name != "resume.pt" and not path.match("times/*.csv"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / name)
    return copy
