"""`gatebench report`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from ..errors import UsageError
from ..words import counted
from . import option
from .console import choices, handle_errors, line, next_step, say, stderr, tell


@handle_errors
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder of run folders.")],
    format_: Annotated[
        str | None, option.results("--format", help="html, md, csv, tex, or several as html,csv. Default: all.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        option.results(help="The folder to write to, or a file such as page.html. Default: RESULTS/report.", show_default=False),
    ] = None,
    only_check: Annotated[bool, option.chosen("--check", help="Only say whether the folders' numbers hold together; 1 if not.")] = False,
    as_json: Annotated[bool, option.results("--json", help="Print the tables, or what --check found, as JSON.")] = False,
) -> None:
    """The papers' tables beside what was measured, claimed beside executed and realised, fronts and curves."""
    if only_check and (out or format_):
        raise UsageError("--check writes nothing. Leave --out and --format away.")
    if only_check:
        _check(results, as_json)
        return
    from ..report.document import FORMATS, Report, written
    from ..report.results import read_runs
    from ..report.run_pictures import FOLDER, draw_all
    from ..runs import RunFolder

    if out and out.suffix == ".csv" and not out.is_dir():
        raise UsageError(f"--out {out} is one file, and CSV is one file for each table. Name a folder.")
    kinds, folder, renamed = choices(format_, "--format", FORMATS) if format_ is not None else list(FORMATS), out or results / "report", {}
    if out and out.suffix[1:] in ("html", "md", "tex"):
        if format_ is not None and kinds != [out.suffix[1:]]:
            raise UsageError(f"--out {out} is one file, and --format {format_} is not its format. Leave --format away, or name a folder.")
        kinds, folder, renamed = [out.suffix[1:]], out.parent, {f"report{out.suffix}": out.name}
    runs, left_out = read_runs(results)
    if not runs:
        for each in left_out:
            say(f"gatebench: left out: {each}")
        raise UsageError(f"In {results} there is no finished run. `gatebench train` makes runs.")
    linked = bool({"html", "md"} & set(kinds))  # the others link no picture of a single run
    drawing = track(runs, "drawing single runs", console=stderr, transient=True)
    run_pictures, not_drawn = {}, []
    if linked:
        with RunFolder(folder / FOLDER).locked(None, brief=True, say=tell):
            run_pictures, not_drawn = draw_all(drawing, folder)
    for each in (*left_out, *not_drawn):
        say(f"gatebench: left out: {each}")
    made = Report(runs, run_pictures, [*left_out, *not_drawn])
    target = RunFolder(folder)
    names = []
    for name, fill in written(made, kinds).items():
        names.append(renamed.get(name, name))
        target.write(names[-1], fill)
    of_runs = [file for files in run_pictures.values() for file in files.values()]
    if as_json:
        flat = {name: {"units": table.columns, "rows": table.records} for name, table in made.flat.items()}
        content = {"tables": [sheet.as_dict() for sheet in made.sheets], **flat, "left_out": made.left_out,
                   "files": [str(folder / name) for name in (*names, *of_runs)]}  # fmt: skip
        typer.echo(json.dumps(content, indent=2, allow_nan=False))
        return
    for sentence in (made.summary, *made.conclusions):
        line(sentence)
    for name in names:
        if not name.endswith(".csv"):
            line(f"written to {folder / name}")
    tables = sum(name.endswith(".csv") for name in names)
    if tables:
        line(f"and {counted(tables, 'table')} as CSV beside: results.csv has every operating point, times.csv every timing")
    if of_runs:
        line(f"and {counted(len(of_runs), 'picture')} of single runs in {folder / FOLDER}")
    next_step("pareto", str(results))


def _check(results: Path, as_json: bool) -> None:
    """Print what is wrong with each folder. Exits with 1 where anything is."""
    from ..report.check import check

    checked, refusals = check(results)
    broken = len({refusal.folder for refusal in refusals})
    if as_json:
        typer.echo(json.dumps({"checked": checked, "refused": [refusal._asdict() for refusal in refusals]}, indent=2))
    else:
        for refusal in refusals:
            line(str(refusal))
        verdict = f"{counted(broken, 'does', 'do')} not hold" if broken else "all hold"
        line(f"checked {counted(checked, 'run')}: {verdict}")
    if refusals:
        raise typer.Exit(1)
