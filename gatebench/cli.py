"""The command line: parse, call, print. Torch and everything heavy is imported inside a command, so that --help is instant."""

import functools
import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import GatebenchError, MissingData, UsageError

app = typer.Typer(name="gatebench", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
stdout, stderr = Console(), Console(stderr=True)
_debug = False

FALLBACK_EPOCHS = 7
"""Of `shapes`, where a recipe's own data set is missing: about three minutes of CosineGate on 2 cores."""


class Device(str, Enum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Kind(str, Enum):
    models = "models"
    recipes = "recipes"
    datasets = "datasets"


DataDir = Annotated[
    Path | None,
    typer.Option(help="Where data sets lie or are downloaded to. Default: $GATEBENCH_DATA, else ~/.cache/gatebench.", show_default=False),
]


@app.callback()
def common(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    """A benchmark for adaptive (gated) neural networks: what their gates claim beside what is executed."""
    global _debug
    _debug = debug


def _say(sentence: str) -> None:
    """One line on stderr; not markup, for it may hold a path in brackets."""
    stderr.print(sentence, style="bold red", markup=False, highlight=False, soft_wrap=True)


def _told(command):
    """Errors as one sentence and an exit code: 1 failed, 2 usage, 130 interrupted."""

    @functools.wraps(command)
    def told(*arguments, **values):
        try:
            return command(*arguments, **values)
        except GatebenchError as error:
            if _debug:
                raise
            _say(f"gatebench: {error}")
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
        except KeyboardInterrupt:
            _say("gatebench: interrupted; the same command (without --fresh) goes on after the last whole epoch.")
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            if _debug:
                raise
            reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
            hint = "Try --set training.batch_size=64, or --device cpu" if type(error).__name__ == "OutOfMemoryError" else ""
            _say(f"gatebench: this failed unexpectedly: {reason}. {hint or '`gatebench --debug ...` shows where'}.")
            raise typer.Exit(1) from None

    return told


@app.command()
@_told
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
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.auto,
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
    from . import recipe as recipes
    from .data.catalogue import data_root

    seeds = _seeds(seed)
    with stderr.status("loading torch"):
        from . import models, pipeline
        from .device import choose_device, set_threads
        from .report.table import breakdown_table, claims_table
        from .training.view import View

    known = models.entry(model)
    recipe = recipes.load(known.family, model, config or known.default, set_)
    models.resolve(recipe.model)
    recipe = recipe.with_dataset(dataset) if dataset else recipe
    recipe = recipe.with_epochs(epochs) if epochs else recipe
    place = pipeline.Place(out, choose_device(device.value), fresh)
    set_threads(threads)
    recipe, images = _load_data(recipe, data_root(data_dir), required=dataset is not None, epochs=epochs)
    finished = []
    for number in seeds:
        view = View(stderr, f"{recipe.model.name} {recipe.name} on {images.name}, seed {number}")
        try:
            finished.append(pipeline.run(recipe, images, seed=number, place=place, view=view))
        finally:
            view.end()
    rows = [row for _, row in finished]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, allow_nan=False))
        return
    folder, row = finished[-1]
    stdout.print(breakdown_table(f"where the compute goes (seed {row['seed']})", folder.read_csv("breakdown.csv")))
    stdout.print(claims_table(rows))
    for folder, row in finished:
        for finding in row["audit"]:
            stdout.print(f"audit, seed {row['seed']}: {finding}", markup=False, highlight=False, soft_wrap=True)
        stdout.print(f"written to {folder.path}", markup=False, highlight=False, soft_wrap=True)


@app.command(name="list")
@_told
def list_(kind: Annotated[Kind, typer.Argument(metavar="models|recipes|datasets", help="What to list.")], data_dir: DataDir = None) -> None:
    """List models, recipes or data sets."""
    from rich.table import Table

    from . import recipe as recipes
    from .data.catalogue import CATALOGUE, data_root, is_on_disk

    table = Table(box=None, pad_edge=False)
    if kind is Kind.datasets:
        root = data_root(data_dir)
        for heading in ("name", "classes", "image", "train", "test", f"below {root}"):
            table.add_column(heading)
        for name, named in CATALOGUE.items():
            here = "yes" if is_on_disk(name, root) else "no"
            table.add_row(name, str(named.classes), "x".join(map(str, named.shape)), f"{named.train:,}", f"{named.test:,}", here)
        table.add_row("shapes", "any", "any", "any", "any", "procedural, known difficulty")
    elif kind is Kind.recipes:
        for heading in ("model", "recipe", "source"):
            table.add_column(heading)
        for family, name in recipes.available():
            table.add_row(family, name, recipes.source(family, name))
    else:
        from . import models

        for heading in ("model", "default recipe", "all recipes"):
            table.add_column(heading)
        for name in models.list_models():
            known = models.entry(name)
            table.add_row(name, known.default, ", ".join(recipe for _, recipe in recipes.available(known.family)))
    stdout.print(table)


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
        if min(seeds) < 0 or max(seeds) >= 2**32:
            raise ValueError
    except ValueError:
        raise UsageError(f"--seed wants whole numbers from 0 to {2**32 - 1}, as 0 or 0,1,2, not {text!r}.") from None
    return list(dict.fromkeys(seeds))


def _load_data(recipe, root: Path, required: bool, epochs: int | None):
    """The recipe's data set; where it cannot be had and was not asked for by name, loudly the procedural one instead."""
    from .data.catalogue import load

    try:
        with stderr.status(f"loading {recipe.data.name}"):
            return recipe, load(recipe.data, root)
    except MissingData as missing:
        if required:
            raise
        instead = recipe.with_dataset("shapes")
        instead = instead if epochs else instead.with_epochs(min(FALLBACK_EPOCHS, instead.training.epochs))
        _say(str(missing))
        _say(
            f"NOT {recipe.data.name}: going on with the procedural set `shapes` for {instead.training.epochs} epochs."
            f" The numbers below say nothing about {recipe.data.name}."
        )
        return instead, load(instead.data, root)


def main() -> None:
    """The console script."""
    app()
