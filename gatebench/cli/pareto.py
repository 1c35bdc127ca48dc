"""`gatebench pareto`."""

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .console import handle_errors, line, next_step, one_of, say, stdout

COSTS = ("macs_executed", "latency_ms", "energy_mj")


@handle_errors
def pareto(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder of run folders.")],
    x: Annotated[
        str | None, typer.Option("--x", metavar="|".join(COSTS), help="The cost. Default: all that were measured.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="This data set alone.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Times of this batch size alone.", show_default=False)] = None,
    machine: Annotated[str | None, typer.Option(help="Times of machines with this in their name alone.", show_default=False)] = None,
    max_ms: Annotated[float | None, typer.Option(help="Name the most accurate network under so many ms.", show_default=False)] = None,
    max_macs: Annotated[
        float | None, typer.Option(help="Name the most accurate network under so many million MACs.", show_default=False)
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(min=0, max=100, help="Name the cheapest network with so many % accuracy.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The picture, .png or .svg. Default: both, in RESULTS.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print panels, points and answers as JSON.")] = False,
) -> None:
    """Accuracy against cost: the best network under a budget, or those that nothing beats.

    Times of two machines are never compared; every place has a panel of its own. All points are in the CSV beside each picture.
    """
    budgets = {"--max-ms": (max_ms, "latency_ms"), "--max-macs": (max_macs, "macs_executed"), "--min-accuracy": (min_accuracy, None)}
    for option, (budget, _) in budgets.items():
        if budget is not None and not 0 < budget < math.inf:
            raise UsageError(f"{option} wants a number above 0, not {budget:g}.")
    if out is not None and out.suffix not in (".png", ".svg"):
        raise UsageError(f"--out wants a .png or .svg file, not {str(out)!r}.")
    costs = [one_of(x, "--x", COSTS)] if x else list(COSTS)
    if x == "macs_executed" and (machine is not None or batch_size is not None):
        raise UsageError("--machine and --batch-size choose among times, and --x macs_executed shows none. Leave --x out, or both of them.")
    from ..report.front import answered, cheapest, most_accurate, only, panels
    from ..report.front_figure import write_fronts
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
    for option, (budget, cost) in budgets.items():
        if budget is not None and cost and cost not in shown:
            mend = "leave --x out" if x else f"time the runs with `gatebench profile-latency {results}`"
            raise UsageError(f"{option} wants {cost}: {mend}.")
    asked = answered(shown)
    answers = [most_accurate(panel, max_ms) for panel in asked.get("latency_ms", []) if max_ms is not None]
    answers += [most_accurate(panel, max_macs) for panel in asked.get("macs_executed", []) if max_macs is not None]
    answers += [cheapest(panel, min_accuracy) for each in asked.values() for panel in each if min_accuracy is not None]
    written = write_fronts(shown, results, out, [str(each) for each in (dataset, batch_size, machine) if each is not None])
    if as_json:
        typer.echo(json.dumps(as_dict(shown, answers), indent=2, allow_nan=False))
        return
    for answer in answers:
        line(sentence(answer))
    for sheet in [] if answers else front_sheets(shown):
        show(stdout, sheet)
    for path in written:
        line(f"written to {path}")
    next_step(*next_command(str(results), shown, bool(answers)))
