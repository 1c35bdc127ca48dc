"""`gatebench report`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .console import choices, say, stdout, told


@told
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder of run folders.")],
    format_: Annotated[str, typer.Option("--format", help="html, md, csv, tex, or several as html,csv.")] = "html,md,csv,tex",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to, or a file such as page.html. Default: RESULTS/report.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """The papers' tables beside what was measured, claimed beside executed and realised, fronts and curves."""
    from ..report.document import FORMATS, compose, written
    from ..report.results import read_runs
    from ..runs import RunFolder

    kinds, folder, renamed = choices(format_, "--format", FORMATS), out or results / "report", {}
    if out and out.suffix[1:] in ("html", "md", "tex"):
        kinds, folder, renamed = [out.suffix[1:]], out.parent, {f"report{out.suffix}": out.name}
    runs, left_out = read_runs(results)
    for line in left_out:
        say(f"gatebench: left out: {line}")
    if not runs:
        raise UsageError(f"In {results} there is no finished run. `gatebench train` makes runs.")
    made = compose(runs, left_out)
    target = RunFolder(folder)
    names = []
    for name, fill in written(made, kinds).items():
        names.append(renamed.get(name, name))
        target.write(names[-1], fill)
    if as_json:
        tables = [{"name": each.name, "title": each.title, "headings": each.headings, "lines": each.lines} for each in made.sheets]
        typer.echo(json.dumps({"tables": tables, "left_out": left_out, "files": [str(folder / name) for name in names]}, indent=2))
        return
    stdout.print(made.summary, markup=False, highlight=False)
    for name in names:
        if not name.endswith(".csv"):
            stdout.print(f"written to {folder / name}", markup=False, highlight=False, soft_wrap=True)
    tables = sum(name.endswith(".csv") for name in names)
    if tables:
        stdout.print(f"and {tables} tables as CSV beside", highlight=False)
