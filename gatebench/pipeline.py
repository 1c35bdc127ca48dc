"""A run from recipe to row: data -> model -> training -> evaluation -> run folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors

from . import models
from .compatibility import check
from .contract import GatedModel
from .data.batches import Batches
from .data.images import Dataset
from .device import choose_precision
from .errors import GatebenchError, UsageError
from .evaluation.audit import audit
from .evaluation.breakdown import breakdown, per_input
from .evaluation.exits import ExitStudy
from .evaluation.outcome import Outcome, collect
from .evaluation.row import make_row
from .measure.machine import describe, peak_memory_mb
from .measure.macs import count_params
from .recipe import Recipe, load, read
from .runs import RunFolder, choose_folder
from .training.loop import fit
from .training.view import View

EVALUATION_BATCH = 250
THUMBNAILS = 48


@dataclass(frozen=True)
class Place:
    """Where runs compute and write."""

    out: Path
    device: torch.device
    fresh: bool = False
    """Start over in a folder of its own, beside whatever is there."""


def run(recipe: Recipe, dataset: Dataset, *, seed: int, place: Place, view: View, as_it_is: bool = False) -> tuple[RunFolder, dict]:
    """Train, evaluate and write one run, or go on with it where it stopped; returns its folder and its headline row.

    A finished run is read back, not repeated; one that was evaluated in another way is evaluated again (unless it will do
    `as_it_is`), not trained again. The run whose weights it starts from is made first. Device, precision and the number of CPU
    threads (torch's, set before the call) decide the last digits of the result, so they enter the folder's hash.

    Raises GatebenchError where a folder cannot be gone on with, UsageError where the recipe does not fit the data.
    """
    recipe = recipe.model_copy(update={"model": models.resolve(recipe.model)})
    precision = choose_precision(recipe.training.precision, place.device)
    machine = describe(place.device)
    data = dataset.describe()
    sources = _sources(recipe, data["fingerprint"])
    digest = recipe.hash(**sources)
    place_digest = recipe.hash(**sources, device=place.device.type, precision=precision, threads=machine["threads"])
    name = f"{recipe.model.name}-{recipe.name}-{dataset.name}-s{seed}-{place_digest}"
    folder = choose_folder(place.out, name, machine["name"], place.fresh)
    if folder.finished:
        row = folder.read_json("summary.json")
        if row.get("digest") != digest:
            raise GatebenchError(
                f"{folder / 'summary.json'} is not that of this run. Remove the folder or train into another with --fresh."
            )
        if as_it_is or read(folder / "recipe.yaml").evaluation == recipe.evaluation:
            return folder, row

    torch.manual_seed(seed)
    model = create(recipe, num_classes=len(dataset.classes), input_shape=dataset.input_shape)
    parent = parent_of(recipe)
    if parent:
        parent_view, own = View(view.console, parent, dataset.name, seed), model.policy
        try:
            parent_folder, _ = run(parent, dataset, seed=seed, place=Place(place.out, place.device), view=parent_view, as_it_is=True)
        finally:
            parent_view.end()
        model.load_state_dict(load_file(parent_folder / "model.safetensors"))
        if own is not None:  # the parent's thresholds were chosen for its own answers
            model.policy = own
    params = count_params(model)  # before some of them are frozen
    model.to(place.device, memory_format=torch.channels_last)
    statistics = {"mean": dataset.mean, "std": dataset.std, "device": place.device}
    crop, rand = recipe.data.augment != "none", recipe.data.augment == "rand-augment"
    augment = {"crop": crop, "flip": crop and dataset.mirrors, "rand": rand}
    train = Batches(dataset.train, batch_size=recipe.training.batch_size, **augment, **statistics)
    test = Batches(dataset.test, batch_size=EVALUATION_BATCH, **statistics)
    validation = dataset.validation and Batches(dataset.validation, batch_size=EVALUATION_BATCH, **statistics)

    if not (folder / "machine.json").exists():  # first: it says whose folder this is, and with which code the run began
        folder.write_json("machine.json", machine)
    folder.write_json("data.json", data)
    if not folder.finished:  # a finished run keeps its own until it has been evaluated anew
        folder.write_text("recipe.yaml", recipe.dump())
    progress = fit(model, recipe, train, test, folder, scored=dataset.scored, seed=seed, precision=precision, view=view)

    choice = recipe.evaluation.exits
    study = ExitStudy(model, choice, validation, test, precision) if choice else None
    outcome = collect(model, test, precision)
    folder.write_text("epochs.csv", progress.table())
    findings = audit(model, recipe, outcome, progress.epochs[-1], next(train.in_order()), precision)
    row = make_row(
        model, recipe, outcome, progress.epochs, findings,
        digest=digest, dataset=dataset.name, split=dataset.scored, seed=seed, device=place.device.type, machine=machine["name"],
        threads=machine["threads"], batch_size=EVALUATION_BATCH, precision=precision, execution="sparse", runtime="torch",
        params=params, training_seconds=progress.seconds, peak_memory_mb=peak_memory_mb(),
        parents=[parent_folder.path.name] if parent else None,
    )  # fmt: skip
    rows = study.rows(row) if study else [row]
    if folder.finished:  # killed from here on, it is evaluated when the command is given again
        if folder.remove("latency.csv", "latency.json", "latency-*.png", "decisions*.png"):
            view.say("its times were those of other thresholds and are removed; profile-latency takes them anew")
        (folder / "summary.json").unlink()
        folder.write_text("recipe.yaml", recipe.dump())
        folder.remove("exits.*", "calibration.*")  # not written again without exits to evaluate
    if study:
        study.write(folder)
    write_results(folder, model, dataset, outcome, rows)
    return folder, rows[0]


def parent_of(recipe: Recipe) -> Recipe | None:
    """The recipe of the run whose weights this one starts from: the same model, data, evaluation, share of epochs and --set training.*."""
    if not recipe.parent:
        return None
    known = models.entry(recipe.model.name)
    training = [change for change in recipe.changes if change.startswith("training.") and not change.startswith("training.freeze")]
    parent = load(known.family, recipe.model.name, recipe.parent, training)
    shared = {"data": recipe.data, "model": recipe.model, "evaluation": recipe.evaluation}
    changes = [change for change in recipe.changes if change in training or change.startswith(tuple(f"{part}." for part in shared))]
    parent = parent.model_copy(update={**shared, "changes": changes})
    if recipe.scaled_from_epochs:
        parent = parent.with_epochs(max(1, round(parent.training.epochs * recipe.training.epochs / recipe.scaled_from_epochs)))
    return parent


def _sources(recipe: Recipe, fingerprint: str, above: tuple[str, ...] = ()) -> dict[str, str]:
    """What decides a run's numbers beside its recipe: the data, and the run it starts from. Raises UsageError where that is itself."""
    parent = parent_of(recipe)
    if parent is None:
        return {"data": fingerprint}
    if recipe.parent in above:
        raise UsageError(f"recipe {recipe.name}: parent {recipe.parent} starts from itself in the end. Name one that starts from nothing.")
    return {"data": fingerprint, "parent": parent.hash(**_sources(parent, fingerprint, (*above, recipe.parent)))}


def create(recipe: Recipe, **data) -> GatedModel:
    """The recipe's model, for `data` of so many classes and that shape. Raises UsageError for what does not fit together."""
    model = models.create(recipe.model.name, **data, **models.resolve(recipe.model).options)
    if not isinstance(model, GatedModel):
        raise UsageError(f"{recipe.model.name} is no GatedModel (gatebench.contract): profile-latency can time it, train cannot train it.")
    check(recipe, model, sized=bool(data))
    return model


def write_results(folder: RunFolder, model: GatedModel, dataset: Dataset, outcome: Outcome, rows: list[dict]) -> None:
    """Everything that later commands read, the headline row first; the summary last, since it marks the run as finished."""
    inputs = per_input(model, dataset, outcome)
    folder.write_text("breakdown.csv", breakdown(model, dataset, outcome, inputs).to_csv(index=False, float_format="%.10g"))
    folder.write("inputs.parquet", lambda stream: inputs.to_parquet(stream, index=False))
    packed = {"decisions": np.packbits(outcome.decisions, axis=1), "switches": outcome.decisions.shape[1]}
    folder.write("decisions.npz", lambda stream: np.savez_compressed(stream, **packed))
    folder.write("examples.npz", lambda stream: np.savez_compressed(stream, **_examples(dataset, inputs, outcome)))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    folder.write("model.safetensors", lambda stream: stream.write(to_safetensors(weights)))
    folder.write_rows(rows)
    folder.write_json("summary.json", rows[0])


def _examples(dataset: Dataset, inputs: pd.DataFrame, outcome: Outcome) -> dict[str, np.ndarray]:
    """The easiest and hardest inputs as the gates see them: fewest and most MACs decided, then lowest and highest gates; without
    gates, as the confidence has it."""
    hardness = outcome.gates.mean(1) if outcome.gates is not None else 1 - outcome.confidence
    order = np.lexsort([hardness, inputs["macs_decided"]])
    half = min(THUMBNAILS, len(order)) // 2
    chosen = np.concatenate([order[:half], order[len(order) - half :]])
    return {"index": chosen, "pixels": dataset.test.pixels[chosen], "labels": outcome.labels[chosen], "hardness": hardness[chosen]}
