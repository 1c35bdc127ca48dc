"""Rules of `report --check` on what lies beside the rows: epochs, recipe, data, machine, weights, decisions."""

import hashlib
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...errors import first_line
from ...foreign import LARGEST_TABLE, Unreadable, fits, size_of
from ..evidence import Evidence, Found, number
from .numbers import near

POINTS = 1.0
"""Points of accuracy by which the last epoch may differ from the row: it may be scored in another precision."""
LARGEST_WEIGHTS, PART = 20_000_000_000, 1_000_000
"""Bytes, and how many are read at a time."""
LARGEST_ARRAY = 500_000_000
"""Bytes, unpacked."""
SEED = re.compile(r"-s(\d+)-[0-9a-f]{8}(-\d+)?$")
"""End of a folder's name."""


def epochs_are_all_there(found: Evidence) -> Iterator[Found]:
    if found.epochs is not None:
        if len(found.epochs) != found.headline["epochs"]:
            yield "epochs.csv", f"it has {len(found.epochs)} epochs, and the row {found.headline['epochs']}"
        elif [number(line.get("epoch", "")) for line in found.epochs] != list(range(1, len(found.epochs) + 1)):
            yield "epochs.csv", "its epochs are not 1, 2, 3 ..."


def scores_of_epochs_are_the_row_s(found: Evidence) -> Iterator[Found]:
    row, column = found.headline, f"{found.headline['split']}_accuracy"
    numbers = [(number(line.get("epoch", "")), number(line.get(column, ""))) for line in found.epochs or []]
    scored = {epoch: accuracy for epoch, accuracy in numbers if None not in (epoch, accuracy)}
    if not scored or "accuracy_peak" not in row:
        return
    best, last = max(scored.values()), list(scored.values())[-1]
    if not near(best, row["accuracy_peak"]):
        yield "epochs.csv", f"its best accuracy is {best:g}, and accuracy_peak {row['accuracy_peak']:g}"
    elif scored.get(row.get("peak_epoch")) != best:
        yield "epochs.csv", f"its best epoch is {max(scored, key=scored.get):g}, and peak_epoch {row.get('peak_epoch')}"
    if "policy" not in row and list(scored)[-1] == row["epochs"] and abs(last - row["accuracy"]) > POINTS:
        yield "epochs.csv", f"its last accuracy is {last:g}, and the row's {row['accuracy']:g}"


def recipe_is_the_row_s(found: Evidence) -> Iterator[Found]:
    row = found.headline
    said = {"model.name": row["model"], "name": row["recipe"], "training.epochs": row["epochs"], "changes": row.get("changes", [])}
    for key, value in said.items():
        if found.recipe and (found.setting(key) or ([] if key == "changes" else None if key != "training.epochs" else 0)) != value:
            yield "recipe.yaml", f"{key} is {found.setting(key)!r}, and the row has {value!r}"


def name_has_the_seed(found: Evidence) -> Iterator[Found]:
    said = SEED.search(found.folder.path.resolve().name)
    if found.headline["seed"] < 0 or (said and int(said[1]) != found.headline["seed"]):
        yield "rows.jsonl", f"the seed is {found.headline['seed']}, and the folder's name says {said[1] if said else '0 or more'}"


def data_are_described(found: Evidence) -> Iterator[Found]:
    if not found.data:
        return
    data, row = found.data, found.headline
    wanted = {"name": str, "scored": str, row["split"]: int, "classes": list[str], "input_shape": list[int], "mean": list[float | int],
              "std": list[float | int]}  # fmt: skip
    for key, kind in wanted.items():
        if not fits(data.get(key), kind):
            yield "data.json", f"its {key!r} is missing, or not what it should be"
            return
    if data["name"] != row["dataset"] or data.get("digest") != row.get("data_digest", data.get("digest")):
        yield "data.json", f"it describes {data['name']} {data.get('digest')}, and the row has {row['dataset']} {row.get('data_digest')}"
    if not all(each > 0 for each in data["std"]) or not [len(data["mean"])] == [len(data["std"])] == data["input_shape"][:1]:
        yield "data.json", "mean and std are not one for each channel, above 0"
    unknown = {group["group"] for group in found.groups("class")} - set(data["classes"])
    yield from (("breakdown.csv", f"{name} is no class of data.json") for name in sorted(unknown))


def machine_is_the_row_s(found: Evidence) -> Iterator[Found]:
    machine, row = found.machine, found.headline
    if machine and not (fits(machine.get("name"), str) and fits(machine.get("threads"), int) and fits(machine.get("cores"), int)):
        yield "machine.json", "it lacks name, cores or threads"
    elif machine and (machine["name"] != row.get("machine", machine["name"]) or machine["threads"] != row.get("threads")):
        here = f"{row.get('machine')} with {row.get('threads')} threads"
        yield "machine.json", f"it is {machine['name']} with {machine['threads']} threads, and the row's {here}"


def weights_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.folder.has("model.safetensors") or "weights" not in found.headline:
        return
    try:
        size_of(found.folder / "model.safetensors", LARGEST_WEIGHTS)
        with open(found.folder / "model.safetensors", "rb") as stream:
            digest = hashlib.sha256()
            while part := stream.read(PART):
                digest.update(part)
    except (OSError, Unreadable) as error:
        yield "model.safetensors", f"it cannot be read: {error}"
        return
    begins = digest.hexdigest()[:8]
    if begins != found.headline["weights"]:
        yield "model.safetensors", f"its SHA-256 begins with {begins}, and the row's weights are {found.headline['weights']}"


def decisions_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.folder.has("decisions.npz"):
        return
    try:
        arrays = _arrays(found.folder / "decisions.npz", "decisions", "switches")
        packed, switches = arrays["decisions"], int(arrays["switches"])
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != math.ceil(switches / 8):
            raise ValueError(f"{packed.dtype} {list(packed.shape)} are no bits of {switches} switches")
    except (OSError, Unreadable, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        yield "decisions.npz", f"it cannot be read: {first_line(error)}"
        return
    inputs, hard = found.inputs(found.headline), found.headline.get("mean_gate_hard")
    if inputs and len(packed) != inputs:
        yield "decisions.npz", f"it has {len(packed):,} inputs, and data.json {inputs:,}"
    elif switches and hard is not None:
        on = np.unpackbits(packed, axis=1)[:, :switches].mean()
        if not near(on, hard, 1e-5):
            yield "decisions.npz", f"of its switches {on:g} are on, and mean_gate_hard is {hard:g}"


def inputs_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.folder.has("inputs.parquet"):
        return
    import pyarrow
    import pyarrow.parquet

    try:
        size_of(found.folder / "inputs.parquet", LARGEST_TABLE)
        file, inputs = pyarrow.parquet.ParquetFile(found.folder / "inputs.parquet"), found.inputs(found.headline)
        if inputs and file.metadata.num_rows != inputs:
            yield "inputs.parquet", f"it has {file.metadata.num_rows:,} inputs, and data.json {inputs:,}"
            return
        table = file.read(columns=["label", "prediction", "macs_executed"])
        label, prediction, macs = (table[name].to_numpy() for name in table.column_names)
    except (OSError, Unreadable, KeyError, ValueError, pyarrow.ArrowException) as error:
        yield "inputs.parquet", f"it cannot be read: {first_line(error)}"
        return
    for key, own in (("accuracy", 100 * float((label == prediction).mean())), ("macs_executed", float(macs.mean()))):
        if not near(own, found.headline[key], 1e-5):
            yield "inputs.parquet", f"its inputs give {key} = {own:g}, and the row has {found.headline[key]:g}"


def _arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz file. Raises ValueError where one would take more than `LARGEST_ARRAY`, OSError and others as numpy does."""
    size_of(path, LARGEST_TABLE)
    with zipfile.ZipFile(path) as packed:
        if any(each.file_size > LARGEST_ARRAY for each in packed.infolist()):
            raise ValueError("an array is too large")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in names}


RULES = (
    epochs_are_all_there,
    scores_of_epochs_are_the_row_s,
    recipe_is_the_row_s,
    name_has_the_seed,
    data_are_described,
    machine_is_the_row_s,
    weights_are_the_row_s,
    decisions_are_the_row_s,
    inputs_are_the_row_s,
)
"""In the order in which they are applied."""
