"""`gatebench train`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingData
from .console import DataDir, say, stderr, stdout, told, whole_numbers

FALLBACK_EPOCHS = 7
"""Of `shapes`, where a recipe's own data set is missing: one to three minutes of CosineGate on 2 cores."""


@told
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Train MODEL by a recipe, evaluate it, and show what its gates claim beside what is executed.

    Stopped at any moment and started again with the same command, it goes on after the last whole epoch.
    """
    from .. import recipe as recipes
    from ..data.catalogue import data_root

    seeds = whole_numbers(seed, "--seed", 0, 2**32 - 1)
    with stderr.status("loading torch"):
        from .. import models, pipeline
        from ..device import choose_device, set_threads
        from ..training.view import View

    known = models.entry(model)
    recipe = recipes.load(known.family, model, known.default if config is None else config, set_)
    pipeline.create(recipe)  # refuses what is wrong with the model before data are loaded
    recipe = recipe if dataset is None else recipe.with_dataset(dataset)
    recipe = recipe.with_epochs(epochs) if epochs else recipe
    place = pipeline.Place(out, choose_device(device), fresh)
    set_threads(threads)
    recipe, images = _load_data(recipe, data_root(data_dir), required=dataset is not None, epochs=epochs)
    finished = []
    try:
        for number in seeds:
            view = View(stderr, recipe, images.name, number)
            try:
                finished.append(pipeline.run(recipe, images, seed=number, place=place, view=view))
            finally:
                view.end()
    except KeyboardInterrupt:
        say("gatebench: interrupted; the same command (without --fresh) goes on after the last whole epoch.")
        raise typer.Exit(130) from None
    finally:  # whatever happened to a later seed, those that are done are shown
        if finished:
            _show_runs(finished, as_json)


def _show_runs(finished: list, as_json: bool) -> None:
    """The rows of runs, each given as folder and row, with where the compute of the last one goes."""
    from ..report.train_table import breakdown_table, claims_table, exits_note, exits_table

    rows = [row for _, row in finished]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, allow_nan=False))
        return
    folder, row = finished[-1]
    stdout.print(breakdown_table(f"where the compute goes (seed {row['seed']})", folder.read_csv("breakdown.csv")))
    if "thresholds" in row:
        stdout.print(exits_table([each for each in folder.read_rows() if "latency_ms" not in each]))
        stdout.print(exits_note(row), markup=False, highlight=False, soft_wrap=True)
    stdout.print(claims_table(rows))
    for folder, row in finished:
        for finding in row["audit"]:
            stdout.print(f"audit, seed {row['seed']}: {finding}", markup=False, highlight=False, soft_wrap=True)
        stdout.print(f"written to {folder.path}", markup=False, highlight=False, soft_wrap=True)


def _load_data(recipe, root: Path, required: bool, epochs: int | None):
    """The recipe's data set; where it cannot be had and was not asked for by name, loudly the procedural one instead."""
    from ..data.catalogue import load

    try:
        with stderr.status(f"loading {recipe.data.name}"):
            return recipe, load(recipe.data, root)
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
        return instead, load(instead.data, root)
