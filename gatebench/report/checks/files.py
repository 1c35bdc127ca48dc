"""Rules of `report --check` on what lies beside the rows: epochs, recipe, data, machine, weights, decisions, inputs, images, the name."""

import re
from collections.abc import Iterator

import numpy as np

from ...foreign import number, plain
from ...plain_data import fits
from ..evidence import Evidence, Found
from .numbers import near

POINTS = 1.0
"""Points of accuracy by which the last epoch may differ from the row: it may be scored in another precision."""
NAME = re.compile(r"(.+)-s(\d+)-[0-9a-f]{8}(-\d+)?")
"""Of a folder that gatebench names: model, recipe and data, then the seed, the beginning of its digest, and which of several it is."""


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


def name_is_the_row_s(found: Evidence) -> Iterator[Found]:
    """A name of another form is the user's own."""
    row, said = found.headline, NAME.fullmatch(found.folder.path.resolve().name)
    own = f"{row['model']}-{row['recipe']}-{row['dataset']}"
    if row["seed"] < 0 or (said and int(said[2]) != row["seed"]):
        yield "rows.jsonl", f"the seed is {row['seed']}, and the folder's name says {said[2] if said else '0 or more'}"
    elif said and plain(said[1]) != own:
        yield "rows.jsonl", f"it is of {own}, and the folder's name says {said[1]}"


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
    wanted = found.headline.get("weights", "")
    if found.weights and wanted and found.weights != wanted:
        yield "model.safetensors", f"its SHA-256 begins with {found.weights}, and the row's weights are {wanted}"


def decisions_are_the_row_s(found: Evidence) -> Iterator[Found]:
    on, inputs, hard = found.decisions, found.inputs(found.headline), found.headline.get("mean_gate_hard")
    if on is None:
        return
    if inputs and len(on) != inputs:
        yield "decisions.npz", f"it has {len(on):,} inputs, and data.json {inputs:,}"
    elif on.size and hard is not None and not near(on.mean(), hard, 1e-5):
        yield "decisions.npz", f"of its switches {on.mean():g} are on, and mean_gate_hard is {hard:g}"


def decisions_are_the_inputs_own(found: Evidence) -> Iterator[Found]:
    """Of rows that changed places, the means of classes tell."""
    on, labels, names = found.decisions, found.scored.get("label"), found.data.get("classes")
    if on is None or labels is None or not on.size or len(on) != len(labels) or not fits(names, list[str]):
        return
    means = {group["group"]: group["mean_gate_hard"] for group in found.groups("class") if "mean_gate_hard" in group}
    shares = on.mean(1)
    for name, wanted in means.items():
        own = shares[labels == names.index(name)] if names.count(name) == 1 else shares[:0]
        if len(own) and not near(own.mean(), wanted, 1e-5):
            yield "decisions.npz", f"of the switches for {name} {own.mean():g} are on, and breakdown.csv has {wanted:g}"


def decisions_differ_where_the_row_is_adaptive(found: Evidence) -> Iterator[Found]:
    on = found.decisions
    if on is not None and len(on) and not found.headline["adaptive"]:
        others = int((on != on[0]).any(1).sum())
        if others:
            yield "decisions.npz", f"{others:,} of its {len(on):,} inputs get other decisions than the first, and adaptive is false"


def inputs_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.scored or not len(found.scored["label"]):
        return
    label, prediction, macs = found.scored.values()
    inputs = found.inputs(found.headline)
    if inputs and len(label) != inputs:
        yield "inputs.parquet", f"it has {len(label):,} inputs, and data.json {inputs:,}"
        return
    for key, own in (("accuracy", 100 * float((label == prediction).mean())), ("macs_executed", float(macs.mean()))):
        if not near(own, found.headline[key], 1e-5):
            yield "inputs.parquet", f"its inputs give {key} = {own:g}, and the row has {found.headline[key]:g}"


def examples_are_of_the_inputs(found: Evidence) -> Iterator[Found]:
    if not found.examples:
        return
    index, labels, pixels = found.examples.values()
    scored = found.scored.get("label", labels[:0])
    inputs, shape = found.inputs(found.headline) or len(scored), found.data.get("input_shape")
    outside = index[(index < 0) | (index >= inputs)]
    if inputs and len(outside):
        yield "examples.npz", f"it shows input {outside[0]:,}, and there are {inputs:,} from 0 on"
    elif inputs == len(scored) > 0:
        wrong = np.flatnonzero(labels != scored[index])
        if len(wrong):
            first = wrong[0]
            yield "examples.npz", f"input {index[first]:,} has the label {labels[first]}, and {scored[index[first]]} in inputs.parquet"
    if fits(shape, list[int]) and [*shape[1:], *shape[:1]] != list(pixels.shape[1:]):
        yield "examples.npz", f"its images are {list(pixels.shape[1:])}, and data.json has channels, height and width {shape}"


RULES = (
    epochs_are_all_there,
    scores_of_epochs_are_the_row_s,
    recipe_is_the_row_s,
    name_is_the_row_s,
    data_are_described,
    machine_is_the_row_s,
    weights_are_the_row_s,
    decisions_are_the_row_s,
    decisions_are_the_inputs_own,
    decisions_differ_where_the_row_is_adaptive,
    inputs_are_the_row_s,
    examples_are_of_the_inputs,
)
"""In the order in which they are applied."""
