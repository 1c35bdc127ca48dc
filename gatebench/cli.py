"""The command line: parse, call, print. Torch and everything heavy is imported inside a command, so that --help is instant."""

import functools
import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .errors import GatebenchError, MissingData, UsageError, nearest

app = typer.Typer(name="gatebench", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
stdout, stderr = Console(), Console(stderr=True)
_debug = False

FALLBACK_EPOCHS = 7
"""Of `shapes`, where a recipe's own data set is missing: one to three minutes of CosineGate on 2 cores."""


KINDS = ("models", "recipes", "datasets")

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
            _say("gatebench: interrupted.")
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            if _debug:
                raise
            reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
            if type(error).__name__ in ("OutOfMemoryError", "MemoryError", "_ArrayMemoryError") or "can't allocate memory" in reason:
                mend = "a smaller --set training.batch_size or --batch-size, smaller images, or --device cpu"
                _say(f"gatebench: there is not enough memory. Try {mend}.")
            else:
                _say(f"gatebench: this failed unexpectedly: {reason}. `gatebench --debug ...` shows where.")
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
    from . import recipe as recipes
    from .data.catalogue import data_root

    seeds = _whole_numbers(seed, "--seed", 0, 2**32 - 1)
    with stderr.status("loading torch"):
        from . import models, pipeline
        from .device import choose_device, set_threads
        from .training.view import View

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
        _say("gatebench: interrupted; the same command (without --fresh) goes on after the last whole epoch.")
        raise typer.Exit(130) from None
    finally:  # whatever happened to a later seed, those that are done are shown
        if finished:
            _show_runs(finished, as_json)


def _show_runs(finished: list, as_json: bool) -> None:
    """The rows of runs, each given as folder and row, with where the compute of the last one goes."""
    from .report.table import breakdown_table, claims_table, exits_note, exits_table

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


@app.command(name="profile-latency")
@_told
def profile_latency(
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|MODEL...", help="Runs, folders of runs, models: all timed together."),
    ] = None,
    model_file: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:FACTORY]", help="A network of your own; FACTORY (build) takes the number of classes.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="For a model or a network of your own: .safetensors, or a torch state_dict.", show_default=False)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Instead of the network's own: a name, a folder or an .npz.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    vs: Annotated[
        str | None, typer.Option(metavar="RUN|MODEL", help="Compare all with this, not each with its static twin.", show_default=False)
    ] = None,
    batch_size: Annotated[str, typer.Option(help="One or several, as 1,8,64.")] = "1",
    threads: Annotated[str | None, typer.Option(help="One or several, as 1,2. Default: all cores.", show_default=False)] = None,
    execution: Annotated[str, typer.Option(help="sparse, or sparse,masked.")] = "sparse",
    inputs: Annotated[int, typer.Option(min=8, help="Real inputs that are timed; p90 needs 64, p99 662.")] = 128,
    repeats: Annotated[int, typer.Option(min=5, help="Rounds; in each, everything is timed once on every input.")] = 30,
    max_seconds: Annotated[float, typer.Option(min=1, help="For each batch size and number of threads.")] = 120,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Where to write. Default: the runs' own folders.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Time networks on real inputs, beside their static twins: what is claimed, executed and realised.

    Exits with 3 where the times are too noisy for an answer.
    """
    from .data.catalogue import data_root

    names = [*(networks or []), *(model_file or [])]
    if not names:
        raise UsageError("Name what to time: a run folder, a folder of runs, a model, or --model-file FILE.py:FACTORY.")
    sizes = _whole_numbers(batch_size, "--batch-size", 1, 65536)
    counts = _whole_numbers(threads, "--threads", 1, 1024) if threads else [None]
    executions = _choices(execution, "--execution", ("sparse", "masked"))
    with stderr.status("loading torch"):
        from .device import choose_device, default_threads
        from .measure.protocol import FEWEST_ROUNDS
        from .profiling import session as profiling
        from .profiling.networks import Loader
        from .profiling.record import destinations, record, rows
        from .profiling.view import rounds_bar
        from .report.latency_table import show

    place = choose_device(device)
    loader = Loader(data_root(data_dir), dataset)
    with stderr.status("loading networks and data"):
        entered = loader.enter(names, weights)
        rival = loader.rival(vs, entered) if vs else None
    for sentence in loader.left_out:
        _say(f"gatebench: not timed: {sentence}")
    folders = destinations(entered, out)
    plans = [
        profiling.Plan(place, count or default_threads(), size, executions, inputs, repeats, max_seconds)
        for count in counts
        for size in sizes
    ]
    measured, interrupted = [], False
    try:
        for plan in plans:
            with rounds_bar(stderr, plan) as after_round:
                session = profiling.run(entered, rival, plan, after_round)
            measured += [row for index in range(len(entered)) for row in rows(session, index)]
            for index, folder in enumerate(folders):
                if folder:
                    record(session, index, folder)
            interrupted = session.times.interrupted
            if interrupted:
                break
    except KeyboardInterrupt:
        interrupted = True
    finally:  # whatever went wrong, what was measured is shown
        if as_json:
            typer.echo(json.dumps(measured, indent=2, allow_nan=False))
        else:
            show(stdout, measured)
    for folder in filter(None, folders if measured and not as_json else []):
        stdout.print(f"written to {folder.path}", markup=False, highlight=False, soft_wrap=True)
    if interrupted:
        kept = "what was measured until then is kept" if measured else f"nothing was measured yet: that takes {FEWEST_ROUNDS} rounds"
        _say(f"gatebench: interrupted; {kept}.")
        raise typer.Exit(130)
    noisy = [row for row in measured if "repeats_needed" in row]
    if noisy:
        _say(f"gatebench: {_too_noisy(max(noisy, key=lambda row: row['speedup_high'] - row['speedup_low']), max_seconds)}")
        raise typer.Exit(3)


def _too_noisy(row: dict, max_seconds: float) -> str:
    """What the times could not tell, and what would."""
    found = (
        f"too noisy to tell: the speed-up of {row['network']} at batch {row['batch_size']} is {row['speedup_low']:.3f} to"
        f" {row['speedup_high']:.3f}."
    )
    if row["inputs_needed"] > row["inputs_available"]:
        return (
            f"{found} Inputs differ so much that {row['inputs_needed']:,} of them would be needed; there are {row['inputs_available']:,}."
        )
    timed = row["calls"] * row["batch_size"]
    more = [f"--repeats {row['repeats_needed']}"] if row["repeats_needed"] > row["rounds"] else []
    more += [f"--inputs {row['inputs_needed']}"] if row["inputs_needed"] > timed else []
    seconds = row["session_seconds"] * row["repeats_needed"] / row["rounds"] * row["inputs_needed"] / timed
    more += [f"--max-seconds {math.ceil(seconds)}"] if seconds > max_seconds else []
    return f"{found} {' '.join(more)} would do, if the machine stays as noisy."


@app.command(name="list")
@_told
def list_(kind: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What to list.")], data_dir: DataDir = None) -> None:
    """List models, recipes or data sets."""
    from rich.table import Table

    kind = _one_of(kind, "list", KINDS)
    from . import recipe as recipes
    from .data.catalogue import CATALOGUE, data_root, is_on_disk

    table = Table(box=None, pad_edge=False)
    if kind == "datasets":
        root = data_root(data_dir)
        for heading in ("name", "classes", "image", "train", "test", f"below {root}"):
            table.add_column(heading)
        for name, named in CATALOGUE.items():
            here = "yes" if is_on_disk(name, root) else "no"
            table.add_row(name, str(named.classes), "x".join(map(str, named.shape)), f"{named.train:,}", f"{named.test:,}", here)
        here = "yes" if (root / "indian-pines").is_dir() else "no"
        table.add_row("indian-pines", "16", "9x9x200", "patches", "patches", here)
        table.add_row("shapes", "any", "any", "any", "any", "procedural, known difficulty")
    elif kind == "recipes":
        for heading in ("model", "recipe", "source"):
            table.add_column(heading)
        for family, name in recipes.available():
            table.add_row(family, name, recipes.source(family, name))
    else:
        from . import models

        for heading in ("model", "default recipe", "all recipes"):
            table.add_column(heading)
        for name in models.list_models():
            try:
                known = models.entry(name)
            except GatebenchError:  # a package whose network does not load hides no other
                table.add_row(name, "-", "does not load")
                continue
            own = [recipe for _, recipe in recipes.available(known.family)]
            table.add_row(name, known.default if own else "-", ", ".join(own) or "none")
    stdout.print(table)


def _whole_numbers(text: str, option: str, least: int, most: int) -> list[int]:
    """One number or several, as 0,1,2, each once."""
    try:
        numbers = [int(part) for part in text.split(",")]
        if min(numbers) < least or max(numbers) > most:
            raise ValueError
    except ValueError:
        raise UsageError(f"{option} wants whole numbers from {least} to {most}, as {least} or {least},{least + 1}, not {text!r}.") from None
    return list(dict.fromkeys(numbers))


def _one_of(name: str, option: str, allowed: tuple[str, ...]) -> str:
    """The name, if it is allowed."""
    if name not in allowed:
        raise UsageError(f"{option} wants {', '.join(allowed[:-1])} or {allowed[-1]}, not {name!r}.{nearest(name, allowed)}")
    return name


def _choices(text: str, option: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The names in a list such as sparse,masked, the first of the allowed ones always among them."""
    return tuple(dict.fromkeys((allowed[0], *(_one_of(name, option, allowed) for name in text.split(",")))))


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
        length = f"{instead.training.epochs} epoch{'s' * (instead.training.epochs != 1)}"
        _say(str(missing))
        _say(
            f"NOT {recipe.data.name}: going on with the procedural set `shapes` for {length}."
            f" The numbers below say nothing about {recipe.data.name}."
        )
        return instead, load(instead.data, root)


def main() -> None:
    """The console script."""
    app()
