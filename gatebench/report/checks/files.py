"""Rules of `report --check` on what lies beside the rows: epochs, recipe, the name, data, identity, machine, weights."""

import re
from collections.abc import Iterator

from ...data.catalogue import NAMES
from ...data.images import digest
from ...foreign import is_number, number, plain
from ...plain_data import fits
from ..evidence import Evidence, Problem
from .numbers import near

POINTS = 1.0
"""Points of accuracy by which the last epoch may differ from the row: it may be scored in another precision."""
NAME = re.compile(r"(.+)-s(\d+)-[0-9a-f]{8}(-\d+)?")
"""Of a folder that gatebench names: model, recipe and data, then the seed, the beginning of its digest, and which of several it is."""


def epochs_are_all_there(evidence: Evidence) -> Iterator[Problem]:
    if evidence.epochs is not None:
        if len(evidence.epochs) != evidence.headline["epochs"]:
            yield "epochs.csv", f"it has {len(evidence.epochs)} epochs, and the row {evidence.headline['epochs']}"
        elif [number(line.get("epoch", "")) for line in evidence.epochs] != list(range(1, len(evidence.epochs) + 1)):
            yield "epochs.csv", "its epochs are not 1, 2, 3 ..."


def scores_of_epochs_are_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    row, column = evidence.headline, f"{evidence.headline['split']}_accuracy"
    numbers = [(number(line.get("epoch", "")), number(line.get(column, ""))) for line in evidence.epochs or []]
    scored = {epoch: accuracy for epoch, accuracy in numbers if None not in (epoch, accuracy)}
    if "accuracy_peak" not in row:
        return
    if not scored:
        yield "epochs.csv", f"it has no {column}, and the row has accuracy_peak"
        return
    best, last = max(scored.values()), list(scored.values())[-1]
    if not near(best, row["accuracy_peak"]):
        yield "epochs.csv", f"its best accuracy is {best:g}, and accuracy_peak {row['accuracy_peak']:g}"
    elif scored.get(row.get("peak_epoch")) != best:
        yield "epochs.csv", f"its best epoch is {max(scored, key=scored.get):g}, and peak_epoch {row.get('peak_epoch')}"
    if "policy" not in row and list(scored)[-1] == row["epochs"] and abs(last - row["accuracy"]) > POINTS:
        yield "epochs.csv", f"its last accuracy is {last:g}, and the row's {row['accuracy']:g}"


def recipe_is_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    """Data of the user's own are a path in the recipe, and another name in the row."""
    row, setting = evidence.headline, evidence.setting
    if not evidence.recipe:
        return
    said = {key: setting(key) for key in ("model.name", "name", "data.name", "training.epochs")} | {"changes": setting("changes") or []}
    wanted = {"model.name": row["model"], "name": row["recipe"], "data.name": row["dataset"], "training.epochs": row["epochs"],
              "changes": row.get("changes", [])}  # fmt: skip
    if said["data.name"] not in (*NAMES, None):
        del said["data.name"]
    if "schedule" in row:
        rate = setting("training.learning_rate")
        said["schedule"], wanted["schedule"] = f"{setting('training.schedule')} {rate if is_number(rate) else 0:g}", row["schedule"]
    if "recipe_epochs" in row:
        said["its own epochs"], wanted["its own epochs"] = setting("scaled_from_epochs") or said["training.epochs"], row["recipe_epochs"]
    tradeoff = setting(str(setting("tradeoff")))
    if is_number(tradeoff) and "tradeoff" in row and "policy" not in row:
        said["tradeoff"], wanted["tradeoff"] = tradeoff, row["tradeoff"]
    for key, value in said.items():
        if value != wanted[key]:
            yield "recipe.yaml", f"{key} is {value!r}, and the row has {wanted[key]!r}"


def name_is_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    """A name of another form is the user's own."""
    row, said = evidence.headline, NAME.fullmatch(evidence.folder.path.resolve().name)
    own = f"{row['model']}-{row['recipe']}-{row['dataset']}"
    if row["seed"] < 0 or (said and int(said[2]) != row["seed"]):
        yield "rows.jsonl", f"the seed is {row['seed']}, and the folder's name says {said[2] if said else '0 or more'}"
    elif said and plain(said[1]) != own:
        yield "rows.jsonl", f"it is of {own}, and the folder's name says {said[1]}"


def data_are_described(evidence: Evidence) -> Iterator[Problem]:
    if not evidence.data:
        return
    data, row = evidence.data, evidence.headline
    wanted = {"name": str, "scored": str, row["split"]: int, "classes": list[str], "input_shape": list[int], "mean": list[float | int],
              "std": list[float | int], "fingerprint": str, "mirrors": bool, "digest": str}  # fmt: skip
    for key, kind in wanted.items():
        if not fits(data.get(key), kind):
            yield "data.json", f"its {key!r} is missing, or not what it should be"
            return
    if data["name"] != row["dataset"] or data["digest"] != row.get("data_digest", data["digest"]):
        yield "data.json", f"it describes {data['name']} {data['digest']}, and the row has {row['dataset']} {row.get('data_digest')}"
    if not all(each > 0 for each in data["std"]) or not [len(data["mean"])] == [len(data["std"])] == data["input_shape"][:1]:
        yield "data.json", "mean and std are not one for each channel, above 0"
    if data["digest"] != digest(data):
        yield "data.json", f"its digest is {data['digest']}, and what it describes makes {digest(data)}"
    unknown = {group["group"] for group in evidence.groups("class")} - set(data["classes"])
    yield from (("breakdown.csv", f"{name} is no class of data.json") for name in sorted(unknown))


def identity_is_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    own = evidence.identity.get("digest")
    if own is not None and own != evidence.headline["digest"]:
        yield "identity.json", f"its digest is {own!r}, and the row's {evidence.headline['digest']!r}"


def machine_is_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    machine, row = evidence.machine, evidence.headline
    if machine and not (fits(machine.get("name"), str) and fits(machine.get("threads"), int) and fits(machine.get("cores"), int)):
        yield "machine.json", "it lacks name, cores or threads"
    elif machine and (machine["name"] != row.get("machine", machine["name"]) or machine["threads"] != row.get("threads")):
        here = f"{row.get('machine')} with {row.get('threads')} threads"
        yield "machine.json", f"it is {machine['name']} with {machine['threads']} threads, and the row's {here}"


def weights_are_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    wanted = evidence.headline.get("weights", "")
    if evidence.weights and wanted and evidence.weights != wanted:
        yield "model.safetensors", f"its SHA-256 begins with {evidence.weights}, and the row's weights are {wanted}"


RULES = (
    epochs_are_all_there,
    scores_of_epochs_are_the_row_s,
    recipe_is_the_row_s,
    name_is_the_row_s,
    data_are_described,
    identity_is_the_row_s,
    machine_is_the_row_s,
    weights_are_the_row_s,
)
"""In the order in which they are applied."""
