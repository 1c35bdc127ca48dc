"""Options of the commands that train, and what they stand for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..errors import MissingData, UsageError
from ..words import counted
from . import option
from .console import most_threads, one_of, say, stderr

if TYPE_CHECKING:
    from ..models.registry import Entry
    from ..recipe import Recipe

FALLBACK_EPOCHS = 7
"""Of `shapes`, where a recipe's own data set is missing: one to three minutes of CosineGate on 2 cores."""

Config = Annotated[str | None, option.recipe(help="A recipe's name or a YAML file. Default: the model's own.", show_default=False)]
DatasetName = Annotated[
    str | None,
    option.inputs(help="Instead of the recipe's: a name, a folder train/<class>/* test/<class>/*, an .npz or a .pt.", show_default=False),
]
Epochs = Annotated[
    int | None,
    option.recipe(min=1, max=100_000, help="Instead of the recipe's; everything it counts in epochs scales along.", show_default=False),
]
Seeds = Annotated[str, option.recipe(help="One seed or several, as 0,1,2.")]
DeviceName = Annotated[str, option.place(metavar="auto|cpu|cuda", help="Where to compute.")]
Threads = Annotated[int | None, option.place(min=1, max=1024, help="CPU threads. Default: all cores.", show_default=False)]
Set = Annotated[list[str] | None, option.recipe("--set", metavar="KEY=VALUE", help="Change a setting: training.learning_rate=0.05")]
Weights = Annotated[
    Path | None,
    option.recipe(help="File of weights to start from: .safetensors, or a torch file.", show_default=False),
]
Out = Annotated[Path, option.results(help="Where run folders are written.")]
Fresh = Annotated[bool, option.results("--fresh", help="Start over in a new folder; what is there is kept.")]
Executor = Annotated[str, option.place(metavar="local|ray", help="Where runs are made: in this process, or on a Ray cluster.")]
Address = Annotated[
    str | None, option.place(help="Of the Ray cluster: auto, or host:port. Default: this machine alone.", show_default=False)
]
Json = Annotated[bool, option.results("--json", help="Print the rows as JSON.")]


@dataclass(frozen=True)
class Prepared:
    """What is to be trained, and where."""

    recipes: "Sequence[Recipe]"
    place: dict[str, Any]
    """The other arguments of `plan.plan`, but for the seeds."""


def prepare(
    model: str,
    config: str | None,
    dataset: str | None,
    data_dir: Path | None,
    epochs: int | None,
    device: str,
    threads: int | None,
    changes: list[str] | None,
    vary: "Callable[[Recipe], Sequence[Recipe]]" = lambda recipe: [recipe],
) -> Prepared:
    """The recipe of a command's options, as `vary` makes recipes of it, for a data set that is there.

    A data set that cannot be had is loudly replaced, unless --dataset names it. Raises UsageError for options that are not allowed.
    """
    from .. import recipe as recipes
    from ..data.catalogue import data_root
    from ..models import registry

    registered = registry.entry(model)
    recipe = _default(registered, dataset, changes or []) if config is None else recipes.load(registered.recipes, model, config, changes)
    with stderr.status("loading torch"):
        from ..device import choose_device, choose_precision, default_threads, set_threads
    for each in vary(recipe):
        each.resolved()
    recipe = recipe if dataset is None else recipe.with_dataset(dataset)
    recipe = recipe.with_epochs(epochs) if epochs else recipe
    computer = choose_device(device)
    set_threads(threads)
    root = data_root(data_dir)
    try:
        _find_data(recipe, root)
    except MissingData as missing:
        if dataset is not None:
            raise
        say(str(missing))
        wanted, other = recipe.data.name, [f"recipe {recipe.fallback}"] if recipe.fallback else []
        recipe = _instead(recipe, registered.recipes, changes, epochs)
        _find_data(recipe, root)
        count = recipe.training.epochs
        length = [f"for {counted(count, 'epoch')}"] if count else []
        instead = ", ".join([f"the procedural set `{recipe.data.name}`", *other, *length])
        say(f"NOT {wanted}: going on with {instead}. The numbers below say nothing about {wanted}.")
    precision = choose_precision("auto", computer)
    place = {"data_root": root, "device": computer.type, "precision": precision, "threads": threads or default_threads()}
    return Prepared(vary(recipe), place)


def choose_executor(name: str, address: str | None, threads: int | None = None) -> Callable:
    """What runs the jobs.

    Raises UsageError for another name, a wrong --address, too many --threads for this machine where it runs them, and where Ray is not
    installed.
    """
    one_of(name, "--executor", ("local", "ray"))
    if name == "local":
        if address:
            raise UsageError("--address is that of a Ray cluster. Add --executor ray, or leave it out.")
        if threads and threads > most_threads():
            raise UsageError(f"--threads wants a number from 1 to {most_threads()}, twice the cores of this machine, not {threads}.")
        with stderr.status("loading torch"):
            from .. import stages
        return stages.run
    from ..sweep import cluster, driver

    cluster.check(address)
    return partial(driver.run, address=address)


def _default(registered: "Entry", dataset: str | None, changes: list[str]) -> "Recipe":
    """A model's default recipe; the one that stands in for it where that is for the data set of --dataset."""
    from .. import recipe as recipes

    name = registered.default
    plain = recipes.load(registered.recipes, registered.name, name) if dataset else None
    fallback = plain.fallback if plain else ""
    if not fallback or recipes.load(registered.recipes, registered.name, fallback).data.name != dataset:
        return recipes.load(registered.recipes, registered.name, name, changes)
    other = _stand_in(registered.recipes, plain, changes, f"take the other recipe with --config {name}")
    instead = f"recipe {fallback}, which is for {dataset}, instead of {name}; --config {name} takes that one"
    stderr.print(instead, highlight=False, soft_wrap=True)
    return other


def _find_data(recipe: "Recipe", root: Path) -> None:
    from ..data.reading import describe

    with stderr.status(f"loading {recipe.data.name}"):
        described = describe(recipe.data, root)
    for note in described.get("notes", ()):
        say(f"gatebench: {described['name']}: {note}")


def _instead(recipe: "Recipe", family: str, changes: list[str] | None, epochs: int | None) -> "Recipe":
    """What is trained without a recipe's data: the recipe that it names for that, else itself on `shapes` for a few epochs."""
    if recipe.fallback:
        other = _stand_in(family, recipe, changes or [], "give the data with --data-dir")
        return other.with_epochs(epochs) if epochs else other
    other = recipe.with_dataset("shapes")
    return other if epochs else other.with_epochs(min(FALLBACK_EPOCHS, other.training.epochs))


def _stand_in(family: str, recipe: "Recipe", changes: list[str], mend: str) -> "Recipe":
    """The stand-in of a recipe. Raises UsageError for the first --set that it does not take.

    `mend` completes "Leave it out, or ...".
    """
    from .. import recipe as recipes

    def load(count: int) -> "Recipe":
        return recipes.load(family, recipe.model.name, recipe.fallback, changes[:count])

    try:
        return load(len(changes))
    except UsageError:
        for number, change in enumerate(changes, 1):
            try:
                load(number)
            except UsageError:
                refused = f"The stand-in recipe {recipe.fallback} does not take --set {change}."
                raise UsageError(f"{refused} Leave it out, or {mend}.") from None
        raise
