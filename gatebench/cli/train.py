"""`gatebench train`."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import GatebenchError, UsageError
from . import option, signals, training
from .console import DataDir, handle_errors, line, next_step, say, stderr, stdout, whole_numbers


@handle_errors
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model's name; `gatebench list models` shows them.")],
    config: training.Config = None,
    dataset: training.DatasetName = None,
    data_dir: DataDir = None,
    epochs: training.Epochs = None,
    seed: training.Seeds = "0",
    device: training.DeviceName = "auto",
    threads: training.Threads = None,
    set_: training.Set = None,
    weights: training.Weights = None,
    out: training.Out = Path("results"),
    fresh: training.Fresh = False,
    take_over: Annotated[bool, option.results("--take-over", help="Go on with an unfinished run of another machine.")] = False,
    executor: training.Executor = "local",
    address: training.Address = None,
    details: Annotated[
        bool, option.results("--details", help="Show where the compute goes, by class and unit, and all operating points.")
    ] = False,
    as_json: training.Json = False,
) -> None:
    """Train MODEL by a recipe, evaluate it, and show what its gates claim beside what is executed.

    Stopped at any moment and started again with the same command, it goes on after the last whole epoch.
    """
    if fresh and take_over:
        raise UsageError("--fresh starts over in a new folder, and --take-over goes on in an old one. Leave one of them away.")
    if details and as_json:
        raise UsageError("--details shows tables, and --json prints the rows instead. Leave one of them away.")
    seeds = whole_numbers(seed, "--seed", 0, 2**32 - 1)
    execute = training.choose_executor(executor, address, threads)
    prepared = training.prepare(model, config, dataset, data_dir, epochs, device, threads, set_)
    from ..assignment import Place
    from ..changed_code import other_code
    from ..plan import plan
    from ..training.view import View

    (recipe,) = prepared.recipes
    jobs = plan(recipe, seeds, weights=weights, **prepared.place)
    finished, started = {}, time.time()
    try:
        for job, folder in execute(jobs, Place(out, fresh, take_over), lambda title: View(stderr, title)):
            if job.wanted:
                before = (folder / "summary.json").stat().st_mtime < started
                end = f"{folder.path} was finished before; nothing was trained" if before else f"written to {folder.path}"
                end += "; the code has changed since it began: --fresh trains a second run beside it" * other_code(model, folder)
                finished[job.key] = folder, folder.headline(), end
    except KeyboardInterrupt:
        say("gatebench: interrupted; the same command (without --fresh) goes on after the last whole epoch.")
        raise typer.Exit(signals.exit_code()) from None
    finally:  # whatever happened to a later seed, those that are done are shown
        if finished:
            _show_runs([finished[job.key] for job in jobs if job.key in finished], as_json, details)


def _show_runs(finished: list, as_json: bool, details: bool) -> None:
    """Print the rows of runs, each given as folder, row and last line, and what each comes to.

    With details also where the compute of the last one goes.
    """
    from ..report.train_table import show, show_details
    from ..report.verdict import trained
    from ..row import Row
    from ..rows import read_columns, read_rows

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
    if details:
        show_details(stdout, rows[-1], points, columns, last.read_csv("breakdown.csv"))
    show(stdout, rows)
    for folder, row, end in finished:
        for finding in row["audit"]:
            line(f"audit, seed {row['seed']}: {finding}")
        seed = f"seed {row['seed']}: " if len(finished) > 1 else ""
        line(seed + trained(row, folder.read_csv("breakdown.csv")))
        line(end)
    next_step("profile-latency", *(str(folder.path) for folder, *_ in finished))
