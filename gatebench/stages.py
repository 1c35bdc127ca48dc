"""What is done for a job: train, evaluate, time, publish. Each stage reads what the one before left in the run folder.

Shapes: N inputs, S switches.
"""

import csv
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .changed_code import code_digest, other_code
from .contract import GatedModel
from .data import catalogue
from .data.batches import Batches
from .data.images import Dataset, Images
from .data.settings import Data
from .device import autocast, choose_device, set_threads
from .errors import GatebenchError, first_line
from .evaluation.audit import audit
from .evaluation.breakdown import breakdown, per_input
from .evaluation.outcome import Outcome, collect
from .evaluation.row import make_row
from .losses import Batch
from .measure.exclusive import alone
from .measure.machine import describe, peak_memory_mb
from .measure.macs import count_params
from .models import registry
from .plan import Job, Line, parents_of
from .profiling import session
from .profiling.networks import Loader
from .profiling.together import Together
from .recipe import Recipe, read
from .runs import RunFolder, choose_folder
from .trained import WEIGHTS, create, load_run, write_weights
from .training.loop import fit
from .training.view import View

EVALUATION_BATCH = 250
THUMBNAILS = 48
PER_RUN = ("model.safetensors", "decisions.npz", "examples.npz", "inputs.parquet")
"""Kept of seed 0 alone where a run is published."""


@dataclass(frozen=True)
class Place:
    """Where runs are written."""

    out: Path
    fresh: bool = False
    """Start over in a folder of its own, beside whatever is there."""
    take_over: bool = False
    """Go on with another machine's unfinished run."""


@dataclass(frozen=True)
class Run:
    """A job with its identity and its folder."""

    job: Job
    digest: str
    """Of all that decides its numbers but seed, device, precision and threads; `digests` says what."""
    folder: RunFolder
    exact: bool
    """Whether it must be evaluated as its recipe says. A parent of which only the weights count is taken as it is."""


def run(jobs: list[Job], place: Place, view: Callable[[str], View]) -> Iterator[tuple[Job, RunFolder]]:
    """Train and evaluate the jobs of a plan, in order; yields each with its finished folder.

    `view` makes the live view of a run from its title. A parent is made only where a child still has to be trained.
    """
    runs = assign(jobs, place)
    for each in runs.values():
        job, folder = each.job, each.folder
        shown = view(f"{job.recipe['model']['name']} {job.recipe['name']} on {load_data(job).name}, seed {job.seed}")
        try:
            if place.take_over and job.wanted and not folder.path.exists():
                shown.say("there is no unfinished run with these settings, threads, device and precision to take over; it starts anew")
            if needs_work(each, shown):
                with folder.locked():
                    folder.remove_leftovers()
                    train(each, {role: runs[key].folder for role, key in job.parents.items() if key in runs}, shown)
                    evaluate(job, folder)
        finally:
            shown.end()
        yield job, folder


def assign(jobs: list[Job], place: Place) -> dict[str, Run]:
    """The runs of a plan by the keys of their jobs, parents first; without parents that no run needs."""
    runs: dict[str, Run] = {}
    contained = {key for job in jobs for role, key in job.parents.items() if role != WEIGHTS}
    machine = describe(torch.device(jobs[0].device))["name"]
    for job in jobs:
        digest, here = digests(job, {role: _identity(role, runs[key]) for role, key in job.parents.items()})
        name = f"{job.recipe['model']['name']}-{job.recipe['name']}-{load_data(job).name}-s{job.seed}-{here}"
        folder = choose_folder(place.out, name, machine, place.fresh and job.wanted, place.take_over)
        runs[job.key] = Run(job, digest, folder, job.wanted or job.key in contained)
    needed = {job.key for job in jobs if job.wanted}
    for job in reversed(jobs):
        if job.key in needed and not runs[job.key].folder.finished:
            needed |= set(job.parents.values())
    return {key: each for key, each in runs.items() if key in needed}


def check(recipe: Recipe, above: Line = ()) -> GatedModel:
    """The recipe's network on those of its parents, untrained and for no data in particular; `above` is what it is a parent of.

    Raises UsageError for what does not fit together, before anything is trained.
    """
    return create(recipe, parents={role: check(parent, line) for role, (parent, line) in parents_of(recipe, above).items()})


def load_data(job: Job) -> Dataset:
    """The job's data set; read once for all jobs that share it. Raises as `data.catalogue.load`."""
    return read_data(Data.model_validate(job.recipe["data"]), Path(job.data_root))


def read_data(data: Data, root: Path) -> Dataset:
    """The data set of a recipe's settings, read once. Raises as `data.catalogue.load`."""
    return _read(data.model_copy(update={"augment": "none"}), root)  # which says nothing of what is read


_read = functools.lru_cache(maxsize=2)(catalogue.load)


def digests(job: Job, parents: Mapping[str, list]) -> tuple[str, str]:
    """The identity of a job: of recipe, data and its parents' identities; and the same with device, precision and threads."""
    recipe, decisive = job.plan, {"data": load_data(job).describe()["digest"], "parents": dict(parents)}
    return recipe.digest(**decisive), recipe.digest(**decisive, device=job.device, precision=job.precision, threads=job.threads)


def _identity(role: str, parent: Run) -> list:
    """What of a parent run decides a child's numbers: its digest, and what is chosen with its network where the child contains that."""
    study = parent.job.recipe.get("study")
    return [parent.digest, study] if study and role != WEIGHTS else [parent.digest]


def needs_work(run: Run, view: View) -> bool:
    """Whether anything is left to do for a run; says where the code has changed since it was begun.

    Raises GatebenchError where the folder holds the results of another run.
    """
    job, folder = run.job, run.folder
    if other_code(job.recipe["model"]["name"], folder):
        view.say(f"{'finished' if folder.finished else 'begun'} by other code than today's; --fresh trains it anew")
    if not folder.finished:
        return True
    _earlier(folder, run.digest)
    return run.exact and read(folder / "recipe.yaml").study != job.plan.study


# The stages


def train(run: Run, parents: Mapping[str, RunFolder], view: View) -> None:
    """Train the run's network, or go on after its last whole epoch; leaves model.safetensors and epochs.csv. A trained one is left alone.

    `parents` are the folders of its parent runs by role. Raises GatebenchError where the folder cannot be gone on with, UsageError where
    the recipe does not fit the data.
    """
    job, folder = run.job, run.folder
    if folder.finished:
        return
    recipe, dataset, device = job.plan, load_data(job), choose_device(job.device)
    set_threads(job.threads)
    machine = {**describe(device), "code": code_digest(recipe.model.name)}
    if (folder / "model.safetensors").exists():  # written once training is over
        _record_machine(folder, machine)
        return
    networks = {role: load_run(parent)[0].to(device).eval().requires_grad_(False) for role, parent in parents.items()}
    torch.manual_seed(job.seed)
    model = create(recipe, dataset=dataset, parents=networks)
    if WEIGHTS in networks:
        own = model.policy
        model.load_state_dict(networks[WEIGHTS].state_dict())
        if own is not None:  # the parent's was chosen for its own answers
            model.policy = own
    model.to(device, memory_format=torch.channels_last)
    _record_machine(folder, machine)
    folder.write_json("data.json", dataset.describe())
    folder.write_text("recipe.yaml", recipe.dump())
    folder.write_json("identity.json", {"digest": run.digest, "parents": {role: each.path.name for role, each in parents.items()}})
    train_batches, test = _training_batches(model, recipe, dataset, device), _batches(model, dataset.test, device)
    shared = {"scored": dataset.scored, "seed": job.seed, "precision": job.precision, "view": view, "parents": networks}
    fit(model, recipe.training, recipe.losses, train_batches, test, folder, **shared)
    write_weights(folder, model)


def evaluate(job: Job, folder: RunFolder) -> None:
    """Choose what the recipe's study leaves to choose, score, audit, and write the results; the summary last: it marks a finished run.

    Works from model.safetensors and epochs.csv alone. Raises GatebenchError where they are not there.
    """
    recipe, dataset, device = job.plan, load_data(job), choose_device(job.device)
    set_threads(job.threads)
    epochs = _epochs(folder, recipe.training.epochs)
    identity = folder.read_json("identity.json", "digest", "parents")
    digest, before = identity["digest"], _earlier(folder, identity["digest"])
    model, _, _ = load_run(folder, chosen=False)  # what an earlier evaluation chose does not count
    params = count_params(model)
    model.to(device, memory_format=torch.channels_last)
    test = _batches(model, dataset.test, device)
    study = None
    if recipe.study:
        validation = _batches(model, dataset.validation, device) if dataset.validation else None
        study = recipe.study.run(model, validation, test, job.precision)
    outcome = collect(model, test, job.precision)
    for name in recipe.training.freeze:
        model.get_submodule(name).requires_grad_(False)
    batch = Batch(*next(_training_batches(model, recipe, dataset, device).in_order()))
    with autocast(device, job.precision):
        findings = audit(model, recipe.losses.values(), outcome, epochs[-1], recipe.training.epochs, batch)
    machine = folder.read_json("machine.json", "name")
    row = make_row(
        model, outcome, epochs, [*findings, *(f"taken over: trained on {each} before" for each in machine.get("earlier", []))],
        model=recipe.model.name, recipe=recipe.name, changes=recipe.changes, digest=digest, seed=job.seed, epochs=recipe.training.epochs,
        recipe_epochs=recipe.scaled_from_epochs or recipe.training.epochs, params=params,
        schedule=f"{recipe.training.schedule} {recipe.training.learning_rate:g}",
        parents=list(identity["parents"].values()) or None,
        dataset=dataset.name, data_digest=dataset.describe()["digest"], split=dataset.scored,
        device=job.device, machine=machine["name"], threads=job.threads, batch_size=EVALUATION_BATCH, precision=job.precision,
        execution="sparse", runtime="torch",
        training_seconds=before.get("training_seconds", sum(each.get("seconds", 0.0) for each in epochs)),
        peak_memory_mb=before.get("peak_memory_mb", peak_memory_mb()),
    )  # fmt: skip
    rows = study.rows(row) if study else [row]
    folder.remove("summary.json")  # killed from here on, it is evaluated when the command is given again
    folder.write_text("recipe.yaml", recipe.dump())
    folder.remove(*(path.name for path in folder.path.glob("*.csv") if path.name not in ("epochs.csv", "breakdown.csv")))
    if study:
        study.write(folder)
    write_results(folder, model, dataset, outcome, rows)


def time(folders: Sequence[RunFolder], plans: Sequence[session.Plan], data_root: Path, dataset: str | None = None) -> list[dict]:
    """Time finished runs together, each beside its static twin, while no other timing runs on this machine; writes and returns the rows.

    Raises as `profiling.networks.Loader.enter`.
    """
    networks = Loader(data_root, dataset).enter([str(folder.path) for folder in folders])
    with alone(), Together(networks, None, plans) as timings:
        for plan in plans:
            timings.run(plan)
    return timings.rows


def publish(folder: RunFolder, to: Path) -> RunFolder:
    """Copy what is committed of a finished run to the folder `to`; returns the copy.

    Left out are what only going on needs, raw times and locks, and for every seed but 0 weights and per-input tables. Raises
    GatebenchError for a run that is not finished.
    """
    if not folder.finished:
        raise GatebenchError(f"{folder.path} is not finished; train it to its end before it is published.")
    headline = folder.read_json("summary.json", "seed")["seed"] == 0
    copy = RunFolder(to / folder.path.name)
    for path in sorted(folder.path.rglob("*")):
        name = str(path.relative_to(folder.path))
        heavy = name in PER_RUN and not headline
        if path.is_file() and not heavy and not path.name.startswith(".") and name != "resume.pt" and not path.match("times/*.csv"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / name)
    return copy


def write_results(folder: RunFolder, model: GatedModel, dataset: Dataset, outcome: Outcome, rows: list[dict]) -> None:
    """Everything that later commands read, the headline row first; the summary last, since it marks the run as finished."""
    inputs = per_input(model, dataset, outcome)
    folder.write_text("breakdown.csv", breakdown(model, dataset, outcome, inputs).to_csv(index=False, float_format="%.10g"))
    folder.write("inputs.parquet", lambda stream: inputs.to_parquet(stream, index=False))
    packed = {"decisions": np.packbits(outcome.decisions, axis=1), "switches": outcome.decisions.shape[1]}
    folder.write("decisions.npz", lambda stream: np.savez_compressed(stream, **packed))
    folder.write("examples.npz", lambda stream: np.savez_compressed(stream, **_examples(dataset, inputs, outcome)))
    weights = write_weights(folder, model)
    rows = [{**row, "weights": weights} for row in rows]
    columns = registry.entry(rows[0]["model"]).columns
    folder.write_text("columns.json", json.dumps([column.model_dump(exclude_defaults=True) for column in columns], indent=2) + "\n")
    folder.write_rows(rows)
    folder.write_json("summary.json", rows[0])


def _batches(model: GatedModel, images: Images, device: torch.device) -> Batches:
    """A part of the data as the network is scored on it."""
    return Batches(images, model.prepare.mean, model.prepare.std, batch_size=EVALUATION_BATCH, device=device)


def _training_batches(model: GatedModel, recipe: Recipe, dataset: Dataset, device: torch.device) -> Batches:
    crop, rand = recipe.data.augment != "none", recipe.data.augment == "rand-augment"
    return Batches(
        dataset.train, model.prepare.mean, model.prepare.std, batch_size=recipe.training.batch_size, device=device,
        crop=crop, flip=crop and dataset.mirrors, rand=rand,
    )  # fmt: skip


def _record_machine(folder: RunFolder, machine: dict) -> None:
    """Write machine.json where there is none: it says whose folder this is, and with which code the run began.

    Where another machine goes on with a run, that is recorded.
    """
    if not (folder / "machine.json").exists():
        folder.write_json("machine.json", machine)
        return
    first = folder.read_json("machine.json", "name")
    if first["name"] != machine["name"]:
        earlier = [*first.get("earlier", []), first["name"]]
        folder.write_json("machine.json", {**machine, "code": first.get("code"), "earlier": earlier})


def _earlier(folder: RunFolder, digest: str) -> dict:
    """The headline of an earlier evaluation of a finished run. Raises GatebenchError where it is that of another run."""
    if not folder.finished:
        return {}
    row = folder.read_json("summary.json")
    if row.get("digest") != digest:
        raise GatebenchError(f"{folder / 'summary.json'} is not that of this run. Remove the folder or train into another with --fresh.")
    return row


def _epochs(folder: RunFolder, count: int) -> list[dict]:
    """The lines of epochs.csv, empty cells as None. Raises GatebenchError where it does not hold all epochs."""
    try:
        with open(folder / "epochs.csv", newline="") as stream:
            lines = [{name: float(text) if text else None for name, text in line.items()} for line in csv.DictReader(stream)]
        if len(lines) < count:
            raise ValueError(f"it has {len(lines)} of {count} epochs")
        return [{**line, "epoch": int(line["epoch"])} for line in lines]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GatebenchError(
            f"{folder.path} cannot be evaluated: epochs.csv is damaged or not there ({first_line(error)}). Train into a folder of its own"
            " with --fresh."
        ) from None


def _examples(dataset: Dataset, inputs: pd.DataFrame, outcome: Outcome) -> dict[str, np.ndarray]:
    """The easiest and hardest inputs as the gates see them: fewest and most MACs decided, then lowest and highest gates; without
    gates, by confidence."""
    hardness = outcome.gates.mean(1) if outcome.gates is not None else 1 - outcome.confidence
    order = np.lexsort([hardness, inputs["macs_decided"]])
    half = min(THUMBNAILS, len(order)) // 2
    chosen = np.concatenate([order[:half], order[len(order) - half :]])
    return {"index": chosen, "pixels": dataset.test.pixels[chosen], "labels": outcome.labels[chosen], "hardness": hardness[chosen]}
