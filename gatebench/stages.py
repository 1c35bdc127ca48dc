"""What is done for a job: train, evaluate, time, publish. Each stage reads what the one before left in the run folder.

Shapes: N inputs, S switches.
"""

import csv
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
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
from .evaluation.breakdown import breakdown, by_severity, per_input
from .evaluation.outcome import Outcome, answers, collect
from .evaluation.row import make_row, severity_row
from .measure.exclusive import alone
from .measure.machine import describe, peak_memory_mb
from .measure.macs import count_params
from .models import registry
from .plan import Job, Line, parents_of
from .pool import Conditions, Pool
from .pool import digest as pool_digest
from .profiling import session
from .profiling.networks import Loader
from .profiling.together import Together
from .recipe import Recipe, read
from .row import TRADEOFF
from .runs import RunFolder, choose_folder
from .trained import WEIGHTS, create, file_digest, load_run, start_from, write_weights
from .training.loop import fit
from .training.view import View

EVALUATION_BATCH = 250
THUMBNAILS = 48
TIMED_INPUTS, TIMED_ROUNDS, TIMED_SECONDS = 48, 20, 90.0
"""How the networks are timed that a router chooses from."""
POOL_IS_SHARED = "Wait for it, then give the command again: runs of the same experts share this folder"
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
    """With everything filled in that was measured for it."""
    digest: str
    """Of all that decides its numbers but seed, device, precision and threads; `digests` says what."""
    folder: RunFolder
    exact: bool
    """Whether it must be evaluated as its recipe says. A parent of which only the weights count is taken as it is."""
    parents: Mapping[str, "Run"]
    """By role."""
    start: Path | None = None
    """File of weights that it starts from."""
    again: str = ""
    """What its folder's name has after that of the first run with this identity, such as "-2": a run that was made again has other
    weights."""

    @property
    def inside(self) -> dict[str, "Run"]:
        """The parents that it is made of, or that teach it: all but the one whose weights it starts from."""
        return {role: each for role, each in self.parents.items() if role != WEIGHTS}

    @property
    def title(self) -> str:
        return f"{self.job.recipe['model']['name']} {self.job.recipe['name']} on {load_data(self.job).name}, seed {self.job.seed}"


def run(jobs: list[Job], place: Place, view: Callable[[str], View]) -> Iterator[tuple[Job, RunFolder]]:
    """Train and evaluate the jobs of a plan, in order; yields each with its finished folder.

    `view` makes the live view of a run from its title. A parent is made only where a child still has to be trained.
    """
    assigned = Assignment(jobs, place, view)
    for job in assigned.needed():
        each = assigned.runs.get(job.key) or complete(job, assigned, view)
        shown = view(each.title)
        try:
            if needs_work(each, place, shown):
                with each.folder.locked():
                    each.folder.remove_leftovers()
                    train(each, shown)
                    evaluate(each, shown)
        finally:
            shown.end()
        yield job, each.folder


class Assignment:
    """The runs of a plan by the keys of their jobs; a run is known once everything is that its identity depends on."""

    def __init__(self, jobs: list[Job], place: Place, view: Callable[[str], View]):
        """`view` makes a view from its title; one says where a run cannot start from the weights that its model wants."""
        self.jobs, self.place = jobs, place
        self.say = functools.cache(lambda what: view("pretrained weights").say(what))  # once each
        self.contained = {key for job in jobs for role, key in job.parents.items() if role != WEIGHTS}
        self.machine = describe(torch.device(jobs[0].device))["name"]
        self.runs: dict[str, Run] = {}
        for job in jobs:
            if set(job.parents.values()) <= self.runs.keys():
                times = self.pool(job).times(conditions(job)) if job.plan.measured else None
                if times or not job.plan.measured:
                    self.add(job, times)

    def add(self, job: Job, times: Sequence[float] | None = None) -> Run:
        """The run of a job whose parents have one; `times` are theirs where its recipe is to be filled with them."""
        filled = replace(job, recipe=job.plan.with_times(times).content()) if times else job
        parents = self.parents(job)
        start = _start(filled, self.say)
        digest, here = digests(filled, {role: _identity(role, each, job) for role, each in parents.items()}, start)
        name = f"{job.recipe['model']['name']}-{job.recipe['name']}-{load_data(job).name}-s{job.seed}-{here}"
        folder = choose_folder(self.place.out, name, self.machine, self.place.fresh and job.wanted, self.place.take_over)
        again = folder.path.name.removeprefix(name)
        self.runs[job.key] = Run(filled, digest, folder, job.wanted or job.key in self.contained, parents, start, again)
        return self.runs[job.key]

    def needed(self) -> list[Job]:
        """The jobs in order, without parents that no run needs."""
        needed = {job.key for job in self.jobs if job.wanted}
        for job in reversed(self.jobs):
            if job.key in needed and not (job.key in self.runs and self.runs[job.key].folder.finished):
                needed |= set(job.parents.values())
        return [job for job in self.jobs if job.key in needed]

    def parents(self, job: Job) -> dict[str, Run]:
        return {role: self.runs[key] for role, key in job.parents.items()}

    def pool(self, job: Job) -> Pool:
        """What is kept of the runs that a job's network is made of."""
        inside = {role: each for role, each in self.parents(job).items() if role != WEIGHTS}
        return pool_of(inside, job, self.place.out)


def pool_of(inside: Mapping[str, Run], job: Job, out: Path) -> Pool:
    """The pool of these runs on the job's data."""
    dataset = load_data(job)
    members = [
        [role, each.digest, each.again, each.job.seed, each.job.device, each.job.precision, each.job.threads]
        for role, each in inside.items()
    ]
    name = pool_digest(members=members, data=dataset.describe()["digest"], device=job.device, precision=job.precision)
    return Pool(RunFolder(out / f"pool-{dataset.name}-{name}"), {role: each.folder for role, each in inside.items()}, dataset)


def conditions(job: Job) -> Conditions:
    """Under which the parents of a job are timed."""
    return Conditions(describe(torch.device(job.device))["name"], job.device, job.threads)


def complete(job: Job, assigned: Assignment, view: Callable[[str], View]) -> Run:
    """The run of a job whose parents are done, which are timed where its recipe wants that.

    All together, one input at a time, while no other timing runs on this machine.
    """
    if not job.plan.measured:
        return assigned.add(job)
    pool, shown = assigned.pool(job), view(f"times of {', '.join(job.parents)}")
    with pool.folder.locked(POOL_IS_SHARED):
        times = pool.times(conditions(job))  # by another process meanwhile
        if times is None:
            plan = session.Plan(torch.device(job.device), job.threads, 1, ("sparse",), TIMED_INPUTS, TIMED_ROUNDS, TIMED_SECONDS)
            with shown.counting("timed", TIMED_ROUNDS, "rounds") as done:
                rows = time(
                    list(pool.members.values()), [plan], Path(job.data_root), after_round=done,
                    wait=lambda: shown.say("another timing runs on this machine; waiting for its end"),
                )  # fmt: skip
            if any(row["interrupted"] for row in rows):  # times of a few rounds would decide the numbers of every router
                raise KeyboardInterrupt
            times = pool.store_times(conditions(job), [row["latency_ms"] for row in rows])
    shown.say(", ".join(f"{role} {each:g} ms" for role, each in zip(pool.members, times, strict=True)))
    return assigned.add(job, times)


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


@functools.lru_cache(maxsize=4)  # a router's and those of its experts
def _read(data: Data, root: Path) -> Dataset:
    catalogue.check(data)
    return catalogue.split(_source(data.name, data.image_size, data.shapes, root), data)


_source = functools.lru_cache(maxsize=1)(catalogue.source)


def digests(job: Job, parents: Mapping[str, list], start: Path | None) -> tuple[str, str]:
    """The identity of a job: of recipe, data, its parents' identities and the weights it starts from; and the same with device,
    precision and threads."""
    ordered = [*map(list, parents.items())] if len(parents) > 1 else dict(parents)  # a router's experts have an order
    recipe, decisive = job.plan, {"data": load_data(job).describe()["digest"], "parents": ordered}
    if start:
        decisive["start"] = file_digest(start)
    return recipe.digest(**decisive), recipe.digest(**decisive, device=job.device, precision=job.precision, threads=job.threads)


def _start(job: Job, say: Callable[[str], None]) -> Path | None:
    """File of weights that a job starts from: the one that was named, else what its model finds."""
    if job.weights:
        return Path(job.weights)
    model = job.recipe["model"]
    options = {key: value for key, value in model.items() if key != "name"}
    return _found(registry.entry(model["name"]).pretrained, json.dumps(options), Path(job.data_root), say)


@functools.cache  # a download that fails takes its time
def _found(finder: str | None, options: str, data_root: Path, say: Callable[[str], None]) -> Path | None:
    return registry.imported(finder)(json.loads(options), data_root, say) if finder else None


def _identity(role: str, parent: Run, child: Job) -> list:
    """What of a parent run decides a child's numbers.

    Its digest; what is chosen with its network where the child contains that; its seed where the child's recipe names it; which of several
    runs it is.
    """
    study, seed = parent.job.recipe.get("study"), child.recipe["parents"][role].get("seed")
    further = {"seed": seed} if seed is not None else {}
    further |= {"again": parent.again} if parent.again else {}
    return [parent.digest, *([study] if study and role != WEIGHTS else []), *([further] if further else [])]


def needs_work(run: Run, place: Place, view: View) -> bool:
    """Whether anything is left to do for a run; says where the code has changed since it was begun, or nothing can be taken over.

    Raises GatebenchError where the folder holds the results of another run.
    """
    job, folder = run.job, run.folder
    if place.take_over and job.wanted and not folder.path.exists():
        view.say("there is no unfinished run with these settings, threads, device and precision to take over; it starts anew")
    if other_code(job.recipe["model"]["name"], folder):
        view.say(f"{'finished' if folder.finished else 'begun'} by other code than today's; --fresh trains it anew")
    if not folder.finished:
        return True
    _earlier(folder, run.digest)
    return run.exact and read(folder / "recipe.yaml").study != job.plan.study


# The stages


def train(run: Run, view: View) -> None:
    """Train the run's network, or go on after its last whole epoch; leaves model.safetensors and epochs.csv. A trained one is left alone.

    Raises GatebenchError where the folder cannot be gone on with, UsageError where the recipe does not fit the data.
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
    networks = _networks(run, device)
    torch.manual_seed(job.seed)
    model = create(recipe, dataset=dataset, parents={role: each for role, each in networks.items() if role != WEIGHTS})
    if run.start:
        start_from(model, run.start)
    if WEIGHTS in networks:
        own = model.policy
        model.load_state_dict(networks[WEIGHTS].state_dict())
        if own is not None:  # the parent's was chosen for its own answers
            model.policy = own
    model.to(device, memory_format=torch.channels_last)
    _record_machine(folder, machine)
    folder.write_json("data.json", dataset.describe())
    folder.write_text("recipe.yaml", recipe.dump())
    parents = {role: each.folder.path.name for role, each in run.parents.items()}
    folder.write_json("identity.json", {"digest": run.digest, "parents": parents})
    outputs = Outputs(run, model, networks, view)
    train_batches = _training_batches(model, recipe, dataset, device, outputs)
    model.learn(train_batches.in_order())
    if recipe.training.epochs:
        shared = {"scored": dataset.scored, "seed": job.seed, "precision": job.precision, "view": view, "parents": networks}
        test = _batches(model, dataset.test, device, outputs.of(dataset.scored, dataset.test))
        fit(model, recipe.training, recipe.losses, train_batches, test, folder, **shared)
    else:
        folder.write_text("epochs.csv", "epoch\n")
    write_weights(folder, model)


def evaluate(run: Run, view: View) -> None:
    """Choose what the recipe's study leaves to choose, score, audit, and write the results; the summary last: it marks a finished run.

    Works from model.safetensors and epochs.csv alone. Raises GatebenchError where they are not there.
    """
    job, folder = run.job, run.folder
    recipe, dataset, device = job.plan, load_data(job), choose_device(job.device)
    set_threads(job.threads)
    epochs = _epochs(folder, recipe.training.epochs)
    identity = folder.read_json("identity.json", "digest", "parents")
    digest, before = identity["digest"], _earlier(folder, identity["digest"])
    model, _, _ = load_run(folder, chosen=False)  # what an earlier evaluation chose does not count
    params = count_params(model)
    model.to(device, memory_format=torch.channels_last)
    outputs = Outputs(run, model, _networks(run, device) if model.replays else {}, view)
    test = _batches(model, dataset.test, device, outputs.of(dataset.scored, dataset.test))
    study = None
    if recipe.study:
        part = dataset.validation
        validation = _batches(model, part, device, outputs.of("validation", part)) if part else None
        study = recipe.study.run(model, validation, test, job.precision)
    outcome = collect(model, test, job.precision)
    for name in recipe.training.freeze:
        model.get_submodule(name).requires_grad_(False)
    batch = next(_training_batches(model, recipe, dataset, device, outputs).in_order())
    losses = recipe.losses.values() if epochs else ()
    with autocast(device, job.precision):
        findings = audit(model, losses, outcome, epochs[-1] if epochs else {}, recipe.training.epochs, batch)
    machine = folder.read_json("machine.json", "name")
    row = make_row(
        model, outcome, epochs, [*findings, *(f"taken over: trained on {each} before" for each in machine.get("earlier", []))],
        model=recipe.model.name, recipe=recipe.name, changes=recipe.changes, digest=digest, seed=job.seed, epochs=recipe.training.epochs,
        recipe_epochs=recipe.scaled_from_epochs or recipe.training.epochs, params=params,
        schedule=f"{recipe.training.schedule} {recipe.training.learning_rate:g}" if epochs else None,
        tradeoff=recipe.tradeoff_value(),
        parents=list(identity["parents"].values()) or None,
        dataset=dataset.name, data_digest=dataset.describe()["digest"], split=dataset.scored,
        device=job.device, machine=machine["name"], threads=job.threads, batch_size=EVALUATION_BATCH, precision=job.precision,
        execution="sparse", runtime="torch",
        training_seconds=before.get("training_seconds", sum(each.get("seconds", 0.0) for each in epochs)),
        peak_memory_mb=before.get("peak_memory_mb", peak_memory_mb()),
    )  # fmt: skip
    rows = study.rows(row) if study else [row]
    for each, own in zip(rows[:], study and study.outcomes or [outcome], strict=False):
        rows += [severity_row(model, each, part, name) for name, part in by_severity(own, dataset).items()]
    folder.remove("summary.json")  # killed from here on, it is evaluated when the command is given again
    folder.write_text("recipe.yaml", recipe.dump())
    folder.remove(*(path.name for path in folder.path.glob("*.csv") if path.name not in ("epochs.csv", "breakdown.csv")))
    if study:
        study.write(folder)
    write_results(folder, model, dataset, outcome, rows)


def answer(run: Run, view: View) -> None:
    """Run the parents of a run on the parts of its data where `lacks_answers` misses something; kept in their pool."""
    device = choose_device(run.job.device)
    set_threads(run.job.threads)
    networks = _networks(run, device)
    model = create(run.job.plan, dataset=load_data(run.job), parents={role: networks[role] for role in run.inside})
    outputs = Outputs(run, model, networks, view)
    for part, images in _answered(run.job).items():
        outputs.of(part, images)


def lacks_answers(run: Run) -> bool:
    """Whether outputs of a run's parents that can stand for running them have still to be computed."""
    if not run.inside or not check(run.job.plan).replays:
        return False
    pool = pool_of(run.inside, run.job, run.folder.path.parent)
    return not all(pool.has(part) for part in _answered(run.job))


def _answered(job: Job) -> dict[str, Images]:
    """The parts of the data whose images are the same every time: what a run is trained, chosen and scored on."""
    recipe, dataset = job.plan, load_data(job)
    parts = {dataset.scored: dataset.test}
    if recipe.study and dataset.validation:
        parts["validation"] = dataset.validation
    if _fixed(recipe.data):
        parts["train"] = dataset.train
    return parts


def _fixed(data: Data) -> bool:
    """Whether every epoch has the same training images."""
    return data.augment == "none" and data.training_severity != "random"


class Outputs:
    """What a run's parents answer on the parts of its data, where that can stand for running them; kept in their pool."""

    def __init__(self, run: Run, model: GatedModel, networks: Mapping[str, GatedModel], view: View):
        self.job, self.model, self.networks, self.view = run.job, model, networks, view
        self.pool = pool_of(run.inside, run.job, run.folder.path.parent) if model.replays else None

    def of(self, part: str, images: Images) -> torch.Tensor | None:
        """Logits [N, P, C] on the images of a part; None for a model that runs its parents itself."""
        if self.pool is None:
            return None

        def answer(role: str) -> np.ndarray:
            network, device = self.networks[role], choose_device(self.job.device)
            with self.view.counting(f"{role} on the {part} part", len(images), "images") as done:
                return answers(network, _batches(network, images, device), self.job.precision, done)

        if self.pool.has(part):
            return torch.from_numpy(self.pool.outputs(part, images, answer))
        with self.pool.folder.locked(POOL_IS_SHARED):
            return torch.from_numpy(self.pool.outputs(part, images, answer))


def _networks(run: Run, device: torch.device) -> dict[str, GatedModel]:
    """The trained networks of a run's parents, frozen."""
    return {role: load_run(each.folder)[0].to(device).eval().requires_grad_(False) for role, each in run.parents.items()}


def time(
    folders: Sequence[RunFolder],
    plans: Sequence[session.Plan],
    data_root: Path,
    dataset: str | None = None,
    after_round: Callable[[int], None] = lambda done: None,
    points: Sequence[Sequence[dict]] = (),
    finishing: Callable[[], AbstractContextManager] = nullcontext,
    wait: Callable[[], None] = lambda: None,
) -> list[dict]:
    """Time finished runs together, each beside its static twin, while no other timing runs on this machine; writes and returns the rows.

    `points` are the rows of each run that are timed besides its headline. `after_round` is called with the number of rounds that are
    done, `wait` where another timing has to end first; `finishing` as in `profiling.together.Together`. Raises as
    `profiling.networks.Loader.enter`.
    """
    loader = Loader(data_root, dataset)
    networks = loader.enter([str(folder.path) for folder in folders])
    networks += [network.at(row) for network, rows in zip(networks, points, strict=False) for row in rows]
    with alone(wait), Together(networks, None, plans, finishing=finishing) as timings:
        for plan in plans:
            timings.run(plan, after_round)
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
    if any("tradeoff" in row for row in rows) and all(column.name != "tradeoff" for column in columns):
        columns = (TRADEOFF, *columns)
    folder.write_text("columns.json", json.dumps([column.model_dump(exclude_defaults=True) for column in columns], indent=2) + "\n")
    folder.write_rows(rows)
    folder.write_json("summary.json", rows[0])


def _batches(model: GatedModel, images: Images, device: torch.device, outputs: np.ndarray | None = None) -> Batches:
    """A part of the data as the network is scored on it; `outputs` [N, P, C] are its parents' on these images."""
    return Batches(images, model.prepare.mean, model.prepare.std, batch_size=EVALUATION_BATCH, device=device, outputs=outputs)


def _training_batches(model: GatedModel, recipe: Recipe, dataset: Dataset, device: torch.device, outputs: Outputs) -> Batches:
    crop, rand = recipe.data.augment != "none", recipe.data.augment == "rand-augment"
    random = recipe.data.training_severity == "random"
    return Batches(
        dataset.train, model.prepare.mean, model.prepare.std, batch_size=recipe.training.batch_size, device=device,
        crop=crop, flip=crop and dataset.mirrors, rand=rand, corruptions=tuple(recipe.data.severities.values()) if random else (),
        outputs=outputs.of("train", dataset.train) if _fixed(recipe.data) else None,
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
