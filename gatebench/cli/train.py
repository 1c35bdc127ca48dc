"""`gatebench train`."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import GatebenchError, MissingData
from .console import DataDir, handle_errors, say, stderr, stdout, whole_numbers

FALLBACK_EPOCHS = 7
"""Of `shapes`, where a recipe's own data set is missing: one to three minutes of CosineGate on 2 cores."""


@handle_errors
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; `gatebench list models` shows them.")],
    config: Annotated[
        str | None, typer.Option(help="A recipe's name or a YAML file. Default: the model's own.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Instead of the recipe's: a name, a folder train/<class>/* test/<class>/*, or an .npz.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's; everything it counts in epochs scales along.", show_default=False)
    ] = None,
    seed: Annotated[str, typer.Option(help="One seed or several, as 0,1,2.")] = "0",
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads. Default: all cores.", show_default=False)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: training.learning_rate=0.05")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where run folders are written.")] = Path("results"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over in a new folder; what is there is kept.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Go on with an unfinished run of another machine.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Train MODEL by a recipe, evaluate it, and show what its gates claim beside what is executed.

    Stopped at any moment and started again with the same command, it goes on after the last whole epoch.
    """
    from .. import recipe as recipes
    from ..data.catalogue import data_root
    from ..models import registry
    from ..plan import plan

    seeds = whole_numbers(seed, "--seed", 0, 2**32 - 1)
    registered = registry.entry(model)
    recipe = recipes.load(registered.recipes, model, registered.default if config is None else config, set_)
    with stderr.status("loading torch"):
        from .. import stages
        from ..changed_code import other_code
        from ..device import choose_device, choose_precision, default_threads, set_threads
        from ..training.view import View

    stages.check(recipe)  # refuses what does not fit together before data are loaded
    recipe = recipe if dataset is None else recipe.with_dataset(dataset)
    recipe = recipe.with_epochs(epochs) if epochs else recipe
    computer = choose_device(device)
    set_threads(threads)
    root = data_root(data_dir)
    recipe = _with_data(recipe, root, required=dataset is not None, epochs=epochs)
    precision = choose_precision("auto", computer)
    jobs = plan(recipe, seeds, data_root=root, device=computer.type, precision=precision, threads=threads or default_threads())
    finished, started = [], time.time()
    try:
        for job, folder in stages.run(jobs, stages.Place(out, fresh, take_over), lambda title: View(stderr, title)):
            if job.wanted:
                before = (folder / "summary.json").stat().st_mtime < started
                end = f"{folder.path} was finished before; nothing was trained" if before else f"written to {folder.path}"
                end += "; the code has changed since it began: --fresh trains a second run beside it" * other_code(model, folder)
                finished.append((folder, folder.read_json("summary.json"), end))
    except KeyboardInterrupt:
        say("gatebench: interrupted; the same command (without --fresh) goes on after the last whole epoch.")
        raise typer.Exit(130) from None
    finally:  # whatever happened to a later seed, those that are done are shown
        if finished:
            _show_runs(finished, as_json)


def _show_runs(finished: list, as_json: bool) -> None:
    """The rows of runs, each given as folder, row and last line, with where the compute of the last one goes."""
    from ..report.reading import read_columns, read_rows
    from ..report.train_table import show
    from ..row import Row

    rows = [row for _, row, _ in finished]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, allow_nan=False))
        return
    last, *_ = finished[-1]
    try:
        columns = read_columns(last / "columns.json")
        points = read_rows(last / "rows.jsonl", Row, columns)
    except GatebenchError as error:
        raise GatebenchError(f"In {last.path} {error}. Remove the folder or train into another with --fresh.") from None
    show(stdout, rows, points, columns, last.read_csv("breakdown.csv"))
    for _, row, end in finished:
        for finding in row["audit"]:
            stdout.print(f"audit, seed {row['seed']}: {finding}", markup=False, highlight=False, soft_wrap=True)
        stdout.print(end, markup=False, highlight=False, soft_wrap=True)


def _with_data(recipe, root: Path, required: bool, epochs: int | None):
    """The recipe, once its data set is read. A set that cannot be had and was not named with --dataset is loudly replaced by `shapes`."""
    from ..stages import read_data

    try:
        with stderr.status(f"loading {recipe.data.name}"):
            read_data(recipe.data, root)
        return recipe
    except MissingData as missing:
        if required:
            raise
        instead = recipe.with_dataset("shapes")
        instead = instead if epochs else instead.with_epochs(min(FALLBACK_EPOCHS, instead.training.epochs))
        length = f"{instead.training.epochs} epoch{'s' * (instead.training.epochs != 1)}"
        say(str(missing))
        say(
            f"NOT {recipe.data.name}: going on with the procedural set `shapes` for {length}."
            f" The numbers below say nothing about {recipe.data.name}."
        )
        return instead
