"""`gatebench pareto`."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from . import option
from .console import handle_errors, line, next_step, one_of, say, stdout

COSTS = ("macs_executed", "latency_ms", "energy_mj")
LIMITED = {"--max-ms": "latency_ms", "--max-macs": "macs_executed", "--min-accuracy": "accuracy"}
"""What options limit."""


@handle_errors
def pareto(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder of run folders.")],
    x: Annotated[
        str | None, option.chosen("--x", metavar="|".join(COSTS), help="The cost. Default: all that were measured.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, option.chosen(help="This data set alone.", show_default=False)] = None,
    batch_size: Annotated[int | None, option.chosen(help="Times of this batch size alone.", show_default=False)] = None,
    machine: Annotated[str | None, option.chosen(help="Times of machines with this in their name alone.", show_default=False)] = None,
    max_ms: Annotated[
        str | None, option.limits(metavar="MS", help="Name the most accurate network under so many ms.", show_default=False)
    ] = None,
    max_macs: Annotated[
        str | None, option.limits(metavar="M", help="Name the most accurate network under so many million MACs.", show_default=False)
    ] = None,
    min_accuracy: Annotated[
        str | None,
        option.limits(metavar="%", help="Name the cheapest network with so many % accuracy; with other limits all that keep to them."),
    ] = None,
    out: Annotated[Path | None, option.results(help="The picture, .png or .svg. Default: both, in RESULTS.", show_default=False)] = None,
    as_json: Annotated[bool, option.results("--json", help="Print panels, points and answers as JSON.")] = False,
) -> None:
    """Accuracy against cost: the best network under a budget, or those that nothing beats.

    Times of two machines are never compared; every place has a panel of its own. All points are in the CSV beside each picture.
    """
    wanted = {"--max-ms": (max_ms, math.inf), "--max-macs": (max_macs, math.inf), "--min-accuracy": (min_accuracy, 100.0)}
    limits = {LIMITED[name]: _limit(text, name, most) for name, (text, most) in wanted.items() if text is not None}
    if out is not None and out.suffix not in (".png", ".svg"):
        raise UsageError(f"--out wants a .png or .svg file, not {str(out)!r}.")
    costs = [one_of(x, "--x", COSTS)] if x else list(COSTS)
    if x == "macs_executed" and (machine is not None or batch_size is not None):
        raise UsageError("--machine and --batch-size choose among times, and --x macs_executed shows none. Leave --x out, or both of them.")
    from ..report.front import only, panels
    from ..report.front_figure import write_fronts
    from ..report.front_limits import answers
    from ..report.front_table import as_dict, front_sheets, next_command
    from ..report.front_words import sentence
    from ..report.groups import groups
    from ..report.results import read_runs
    from ..report.terminal import show

    runs, left_out = read_runs(results)
    for each in left_out:
        say(f"gatebench: left out: {each}")
    members = groups(runs)
    shown = {cost: made for cost in costs if (made := panels(runs, members, cost))}
    if not shown:
        wanted = f"no {x} was measured" if x else "there is no finished run"
        raise UsageError(f"In {results} {wanted}. `gatebench train` makes runs, `gatebench profile-latency {results}` times them.")
    shown = only(shown, dataset, batch_size, machine)
    for name, cost in LIMITED.items():
        if cost in limits and cost in COSTS and cost not in shown:
            mend = "leave --x out" if x else f"time the runs with `gatebench profile-latency {results}`"
            raise UsageError(f"{name} wants {cost}: {mend}.")
    found = answers(limits, shown)
    written = write_fronts(shown, results, out, [str(each) for each in (dataset, batch_size, machine) if each is not None])
    if as_json:
        typer.echo(json.dumps(as_dict(shown, found), indent=2, allow_nan=False))
        return
    for answer in found:
        line(sentence(answer))
    for sheet in [] if found else front_sheets(shown):
        show(stdout, sheet)
    for path in written:
        line(f"written to {path}")
    next_step(*next_command(str(results), shown, bool(found)))


def _limit(text: str, name: str, most: float) -> float:
    """A number above 0, below infinity and up to `most`. Raises UsageError for anything else."""
    try:
        limit = float(text)
        if not (0 < limit < math.inf and limit <= most):
            raise ValueError
    except ValueError:
        allowed = "above 0" if most == math.inf else f"above 0, and {most:g} at most"
        raise UsageError(f"{name} wants a number {allowed}, not {text}.") from None
    return limit
