"""`gatebench sweep-lambda`."""

import functools
import json
import math
import os
import time
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..words import counted
from . import option, signals, training
from .console import DataDir, finishing, handle_errors, line, next_step, say, stderr, stdout, tell, whole_numbers

if TYPE_CHECKING:
    from ..measure.conditions import Conditions
    from ..report.results import Run
    from ..runs import RunFolder


@handle_errors
def sweep_lambda(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model whose recipe names its trade-off.")] = "router",
    values: Annotated[
        str | None, option.recipe(help="Required: one or several of the trade-off, as 0.7,0.8,0.9,1.0.", show_default=False)
    ] = None,
    config: training.Config = None,
    dataset: training.DatasetName = None,
    data_dir: DataDir = None,
    epochs: training.Epochs = None,
    seed: training.Seeds = "0",
    device: training.DeviceName = "auto",
    threads: training.Threads = None,
    set_: training.Set = None,
    out: training.Out = Path("results"),
    fresh: training.Fresh = False,
    executor: training.Executor = "local",
    address: training.Address = None,
    as_json: training.Json = False,
) -> None:
    """Train MODEL at every value of its trade-off, time all of them together, and show accuracy against latency and executed MACs.

    What is done is skipped, and an interrupted sweep goes on where it was. Where a study chooses for several values of the trade-off
    after training, a seed is trained once.
    """
    numbers = _numbers(values)
    seeds = whole_numbers(seed, "--seed", 0, 2**32 - 1)
    execute = training.choose_executor(executor, address, threads)
    from ..plan import plan_all
    from ..sweep.grid import grid

    prepared = training.prepare(model, config, dataset, data_dir, epochs, device, threads, set_, lambda recipe: grid(recipe, numbers))
    from ..assignment import Place
    from ..measure.machine import conditions
    from ..sweep.points import read
    from ..training.view import View

    planned = plan_all(prepared.recipes, seeds, **prepared.place)
    wanted, made, started = [job for job in planned if job.wanted], {}, time.time()
    here = conditions(prepared.place["device"], prepared.place["threads"])
    try:
        begun = functools.cache(lambda: _say_progress(wanted, made))

        def view(title: str) -> View:
            return View(stderr, title, begun)  # what was done before is no progress

        anew = False
        for job, folder in execute(planned, Place(out, fresh), view):
            if job.wanted:
                made[job.key] = read(folder, job.parsed.tradeoff_value(), here)
                if (folder / "summary.json").stat().st_mtime >= started:
                    _say_progress(wanted, made)
                    anew = True
        done = _in_order(wanted, made)
        runs, interrupted = _timed(done, prepared, here)
        made = dict(zip((job.key for job in wanted if job.key in made), runs, strict=True))
        if done and not anew and runs is done:
            _print(f"{len(done)} of {len(done)} done; the sweep was finished and timed before, and nothing was made anew")
    except KeyboardInterrupt:
        interrupted = True
    finally:  # whatever went wrong, what was measured is shown
        if made:
            _show(_in_order(wanted, made), out, here, f"{model} {prepared.recipes[0].name}", as_json)
    if interrupted:
        say("gatebench: interrupted; the same command (without --fresh) goes on where it was.")
        raise typer.Exit(signals.exit_code())


def _numbers(text: str | None) -> list[float]:
    """Values of the trade-off, each once. Raises UsageError for anything else."""
    if text is None:
        raise UsageError("Give --values, such as --values 0.7,0.8,0.9,1.0.")
    try:
        numbers = [float(part) for part in text.split(",")]
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise UsageError(f"--values wants numbers such as 0.7,0.8,0.9,1.0, not {text!r}.") from None
    twice = next((number for number in numbers if numbers.count(number) > 1), None)
    if twice is not None:
        raise UsageError(f"--values has {twice:g} twice; give each value once.")
    return numbers


def _in_order(wanted: list, made: dict[str, "Run"]) -> list["Run"]:
    """The runs that are there, in the order of the plan: on a cluster they are finished in any."""
    return [made[job.key] for job in wanted if job.key in made]


def _say_progress(wanted: list, made: Container[str]) -> None:
    """ "2 of 4 done; lambda 0.9, seed 0 next"."""
    from ..models import registry
    from ..report.groups import tradeoff_of, tradeoff_text

    left = [job for job in wanted if job.key not in made]
    said = f"{len(wanted) - len(left)} of {len(wanted)} done"
    if left:
        recipe = left[0].parsed
        setting = recipe.tradeoff_setting()
        column = tradeoff_of(registry.entry(recipe.model.name).columns_of(recipe.tradeoff))
        what = tradeoff_text(column, setting if isinstance(setting, list) else [setting])
        said += f"; {what}, seed {left[0].seed} next"
    _print(said)


def _print(sentence: str) -> None:
    stderr.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _timed(runs: list["Run"], prepared: training.Prepared, here: "Conditions") -> tuple[list["Run"], bool]:
    """The runs, all timed together unless all were before; and whether that was interrupted."""
    from ..sweep.points import read, untimed

    points = untimed(runs)
    if not points:
        return runs, False
    from .. import timing
    from ..measure.protocol import FEWEST_ROUNDS
    from ..profiling.view import rounds_bar

    plan, count = timing.one_by_one(here), len(runs) + sum(map(len, points))
    rounds = f"{FEWEST_ROUNDS} rounds where they take longer"
    stderr.print(f"timing {counted(count, 'network')}, for {plan.max_seconds:g} s at most, or {rounds}", highlight=False)
    with rounds_bar(stderr, plan) as after_round:
        rows = timing.time(
            [run.folder for run in runs], plan, prepared.place["data_root"], after_round=after_round, points=points, finishing=finishing,
            wait=tell,
        )  # fmt: skip
    interrupted = any(row.get("interrupted") for row in rows)
    return [read(run.folder, _value(run, prepared), here) for run in runs], interrupted


def _value(run: "Run", prepared: training.Prepared) -> float | None:
    """The trade-off of a run where it is a setting of it."""
    return None if isinstance(prepared.recipes[0].tradeoff_setting(), list) else run.headline["tradeoff"]


def _show(runs: list["Run"], out: Path, here: "Conditions", title: str, as_json: bool) -> None:
    """Print the table, by severity too, and write it, with the picture; what is written of the same runs and times stays."""
    from ..report import terminal
    from ..report.formats import to_csv
    from ..report.verdict import swept
    from ..runs import RunFolder, slug
    from ..sweep import table

    headline = runs[0].headline
    folder, name = RunFolder(out), f"sweep-{slug(title)}-{slug(headline['dataset'])}"
    title = f"{title} on {headline['dataset']} ({headline['split']})"
    points = table.gathered(runs)
    _write(folder, name, to_csv(table.sheet(points, title, every=True)), runs, here)
    if as_json:
        typer.echo(json.dumps(table.rows(runs), indent=2, allow_nan=False))
        return
    terminal.show(stdout, table.sheet(points, title))
    for severity in table.severities(runs):
        terminal.show(stdout, table.sheet(points, f"{title}, {severity}", severity))
    line(swept(points))
    for kind in ("csv", "png"):
        line(f"written to {out / name}.{kind}")
    next_step("pareto", str(out))


def _write(folder: "RunFolder", name: str, lines: str, runs: list["Run"], here: "Conditions") -> None:
    """Write a table's lines, and then its picture, unless one is there that was drawn of the same."""
    from ..sweep import rivals

    folder.tidy()
    beside = rivals.read(folder.path, runs, here)
    picture, written, drawn_of = folder / f"{name}.png", folder / f"{name}.csv", rivals.digest(lines, beside)
    there = os.path.isfile(written) and os.path.isfile(picture)
    if there and written.read_bytes() == lines.encode() and drawn_of.encode() in picture.read_bytes():
        return
    from ..figures import save
    from ..sweep.picture import picture as draw

    with folder.locked(None, brief=True, say=tell):
        folder.write_text(written.name, lines)
        folder.write(picture.name, lambda stream: save(draw(runs, beside), stream, comment=drawn_of))
