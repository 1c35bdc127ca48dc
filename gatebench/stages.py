"""What is done for a job: train, then evaluate. Each stage reads what the one before left in the run folder."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence

import torch

from .assignment import Assignment, Place, Run, load_data
from .changed_code import code_digest, other_code
from .contract import GatedModel
from .data.batches import Batches
from .data.images import Dataset
from .device import autocast, choose_device, set_threads
from .errors import GatebenchError, UsageError, first_line, needs_memory
from .evaluation.adaptivity import adaptivity, images_to_choose_on, leaves_out
from .evaluation.audit import audit
from .evaluation.breakdown import by_severity
from .evaluation.explained import explained_by_running
from .evaluation.outcome import Outcome, collect
from .evaluation.row import make_row, severity_row
from .foreign import Unreadable, read_table
from .measure.machine import describe, peak_memory_mb
from .measure.macs import count_params
from .outputs import EVALUATION_BATCH, Outputs, load_parents, scoring_batches, training_batches
from .plan import Job
from .results import write_results
from .runs import RunFolder
from .timing import complete
from .trained import WEIGHTS, create, load_run, start_from, write_weights
from .training.loop import fit
from .training.view import View

MACHINE = {"name": str, "earlier": list[str] | None}
"""What of machine.json is read again."""


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
                with each.folder.locked(say=shown.say):
                    if not each.done:  # by another process meanwhile
                        train(each, shown)
                        with needs_memory(f"scoring batches of {EVALUATION_BATCH}", "Make the network or the images smaller"):
                            evaluate(each, shown)
            else:
                each.folder.tidy()
        finally:
            shown.end()
        yield job, each.folder


def needs_work(run: Run, place: Place, view: View) -> bool:
    """Whether anything is left to do for a run; says where the code has changed since it was begun, or nothing can be taken over.

    Raises GatebenchError where the folder holds the results of another run.
    """
    job, folder = run.job, run.folder
    if place.take_over and job.wanted and not os.path.lexists(folder.path):
        view.say("there is no unfinished run with these settings, threads, device and precision to take over; it starts anew")
    elif run.again and not place.fresh and not os.path.lexists(folder.path):
        view.say(f"its finished run has no weights here, or is another machine's; it is made again, in {folder.path.name}")
    if other_code(job.recipe["model"]["name"], folder):
        view.say(f"{'finished' if folder.finished else 'begun'} by other code than today's; --fresh trains it anew")
    if not folder.finished:
        return True
    _earlier(folder, run.digest)
    return not run.done


def train(run: Run, view: View) -> None:
    """Train the run's network, or go on after its last whole epoch; leaves model.safetensors and epochs.csv. A trained one is left alone.

    Raises GatebenchError where the folder cannot be gone on with, UsageError where the recipe does not fit the data.
    """
    job, folder = run.job, run.folder
    if folder.finished:
        return
    recipe, dataset, device = job.parsed, load_data(job), choose_device(job.device)
    set_threads(job.threads)
    machine = {**describe(device), "code": code_digest(recipe.model.name)}
    if folder.has("model.safetensors"):  # written once training is over
        _record_machine(folder, machine)
        return
    networks = load_parents(run, device)
    torch.manual_seed(job.seed)
    model = create(recipe, dataset.describe(), {role: each for role, each in networks.items() if role != WEIGHTS})
    if run.start:
        for note in start_from(model, run.start):
            view.say(note)
    if WEIGHTS in networks:
        own = model.policy
        try:
            model.start_from(networks[WEIGHTS].state_dict())
        except ValueError as error:
            mend = "Name one of the same depth and widths, as with --set parents.weights.model=resnet8"
            raise UsageError(f"parents.{WEIGHTS} is another network: {error}. {mend}.") from None
        if own is not None:  # the parent's was chosen for its own answers
            model.policy = own
    model.to(device, memory_format=torch.channels_last)
    _record_machine(folder, machine)
    folder.write_json("data.json", dataset.describe())
    folder.write_text("recipe.yaml", recipe.dump())
    parents = {role: each.folder.path.name for role, each in run.parents.items()}
    folder.write_json("identity.json", {"digest": run.digest, "parents": parents})
    outputs = Outputs(run, model, lambda: networks, view)
    train_batches = training_batches(model, recipe, dataset, device, outputs)
    memory = f"training on batches of {recipe.training.batch_size}", "Give a smaller --set training.batch_size, or a smaller network"
    with needs_memory(*memory):
        model.learn(train_batches)
    if recipe.training.epochs:
        shared = {"scored": dataset.scored, "seed": job.seed, "precision": job.precision, "view": view, "parents": networks}
        test = scoring_batches(model, dataset.test, device, outputs.of(dataset.scored, dataset.test))
        with needs_memory(*memory):
            fit(model, recipe.training, recipe.losses, train_batches, test, folder, **shared)
    else:
        folder.write_text("epochs.csv", "epoch\n")
    write_weights(folder, model)


def evaluate(run: Run, view: View) -> None:
    """Choose what the recipe's study leaves to choose, score, audit, and write the results; the summary last: it marks a finished run.

    Works from model.safetensors and epochs.csv alone. Raises GatebenchError where they are not there.
    """
    job, folder = run.job, run.folder
    recipe, dataset, device = job.parsed, load_data(job), choose_device(job.device)
    set_threads(job.threads)
    epochs = _epochs(folder, recipe.training.epochs)
    identity = folder.read_json("identity.json", digest=str, parents=dict[str, str])
    digest, before = identity["digest"], _earlier(folder, identity["digest"])
    model, _, _ = load_run(folder, chosen=False)  # what an earlier evaluation chose does not count
    params = count_params(model)
    model.to(device, memory_format=torch.channels_last)
    outputs = Outputs(run, model, functools.cache(lambda: load_parents(run, device)), view)
    test = scoring_batches(model, dataset.test, device, outputs.of(dataset.scored, dataset.test))
    study, outcomes = None, ()
    if recipe.study:
        part = dataset.validation
        validation = scoring_batches(model, part, device, outputs.of("validation", part)) if part else None
        study = recipe.study.run(model, validation, test, job.precision)
        outcomes = study.outcomes
    outcome = outcomes[0] if outcomes else collect(model, test, job.precision)
    for name in recipe.training.freeze:
        model.get_submodule(name).requires_grad_(False)
    batch = next(training_batches(model, recipe, dataset, device, outputs).in_order())
    losses = recipe.losses.values() if epochs else ()
    with autocast(device, job.precision):
        findings = audit(model, losses, outcome, epochs[-1] if epochs else {}, recipe.training.epochs, batch)
    machine = folder.read_json("machine.json", **MACHINE)
    row = make_row(
        model, outcome, epochs, [*findings, *(f"taken over: trained on {each} before" for each in machine.get("earlier") or ())],
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
    _say_which_accuracy(rows[0], epochs, view)
    add_adaptivity(model, dataset, test, rows, outcomes or [outcome], view)
    for each, own in zip(rows[:], outcomes or [outcome], strict=False):
        rows += [severity_row(model, each, part, name) for name, part in by_severity(own, dataset).items()]
    folder.remove("summary.json")  # killed from here on, it is evaluated when the command is given again
    folder.write_text("recipe.yaml", recipe.dump())
    folder.remove(*(path.name for path in folder.path.glob("*.csv") if path.name not in ("epochs.csv", "breakdown.csv")))
    if study:
        study.write(folder)
    write_results(folder, model, dataset, outcome, rows, recipe.tradeoff, view.say)


def add_adaptivity(model: GatedModel, dataset: Dataset, scored: Batches, rows: list[dict], outcomes: Sequence[Outcome], view: View) -> None:
    """Complete the rows of these outcomes by what deciding per input is worth, where their study did not; the model is left as it was."""
    wanted = [
        (number, row, outcome)
        for number, (row, outcome) in enumerate(zip(rows, outcomes, strict=False))
        if "reference" not in row and "adaptivity_gain" not in row and model.adaptive and leaves_out(outcome)
    ]
    if not wanted:
        return
    part, samples = images_to_choose_on(dataset)
    to_choose = [scoring_batches(model, images, scored.labels.device) for images in samples]
    for number, row, outcome in wanted:
        policy = model.policy
        if number:  # without, it decides as the headline says
            model.operate(row)
        row |= adaptivity(model, part, to_choose, scored, outcome, row["precision"], view.counting)
        row |= explained_by_running(model, scored, outcome, row["precision"])
        if number:
            model.policy = policy


def _say_which_accuracy(row: dict, epochs: list[dict], view: View) -> None:
    """Where a study chose how the row decides, its accuracy is not the one that was shown while it trained."""
    seen = epochs[-1].get(f"{row['split']}_accuracy") if epochs else None
    if "policy" in row and seen is not None and round(seen, 2) != round(row["accuracy"], 2):
        view.say(
            f"training ended at {seen:.2f} % on {row['split']}, deciding as the recipe says; the row's {row['accuracy']:.2f} % is by the"
            f' policy "{row["policy"]}"'
        )


def _record_machine(folder: RunFolder, machine: dict) -> None:
    """Write machine.json where there is none: it says whose folder this is, and with which code the run began.

    Where another machine goes on with a run, that is recorded.
    """
    if not folder.has("machine.json"):
        folder.write_json("machine.json", machine)
        return
    first = folder.read_json("machine.json", **MACHINE)
    if first["name"] != machine["name"]:
        earlier = [*(first.get("earlier") or ()), first["name"]]
        folder.write_json("machine.json", {**machine, "code": first.get("code"), "earlier": earlier})


def _earlier(folder: RunFolder, digest: str) -> dict:
    """The headline of an earlier evaluation of a finished run. Raises GatebenchError where it is that of another run."""
    if not folder.finished:
        return {}
    row = folder.headline()
    if row.get("digest") != digest:
        raise GatebenchError(f"{folder / 'summary.json'} is not that of this run. Remove the folder or train into another with --fresh.")
    return row


def _epochs(folder: RunFolder, count: int) -> list[dict]:
    """The lines of epochs.csv, empty cells as None. Raises GatebenchError where it does not hold all epochs."""
    try:
        lines = [{name: float(text) if text else None for name, text in line.items()} for line in read_table(folder / "epochs.csv")]
        if len(lines) < count:
            raise ValueError(f"it has {len(lines)} of {count} epochs")
        return [{**line, "epoch": int(line["epoch"])} for line in lines]
    except (Unreadable, ArithmeticError, ValueError, TypeError, KeyError) as error:
        raise GatebenchError(
            f"{folder.path} cannot be evaluated: epochs.csv is damaged or not there ({first_line(error)}). Train into a folder of its own"
            " with --fresh."
        ) from None
