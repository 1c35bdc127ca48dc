"""`gatebench profile-latency`."""

import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, needs_memory
from ..words import counted
from . import option, signals
from .console import (
    DataDir,
    Policy,
    Tradeoff,
    choices,
    finishing,
    handle_errors,
    line,
    most_threads,
    next_step,
    one_of,
    say,
    stderr,
    stdout,
    tell,
    whole_numbers,
)

if TYPE_CHECKING:
    from ..profiling.session import Plan
    from ..profiling.together import Together

MOST_REPEATS = 100_000


@handle_errors
def profile_latency(
    networks: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN|MODEL...", help="Runs, folders of runs, models: all timed together."),
    ] = None,
    model_file: Annotated[
        list[str] | None, option.network(metavar="FILE[:FACTORY]", help="A network of your own; FACTORY (build) takes how many classes.")
    ] = None,
    weights: Annotated[
        Path | None,
        option.network(help="For a model or a network of your own, not for --vs: .safetensors, or a torch state_dict.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None, option.inputs(help="Instead of the network's own: a name, a folder, an .npz or a .pt.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    vs: Annotated[
        str | None, option.network(metavar="RUN|MODEL", help="Compare all with this, not each with its static twin.", show_default=False)
    ] = None,
    policy: Policy = None,
    tradeoff: Tradeoff = None,
    batch_size: Annotated[str, option.inputs(help="One or several, as 1,8,64.")] = "1",
    threads: Annotated[str | None, option.place(help="One or several, as 1,2. Default: all cores.", show_default=False)] = None,
    execution: Annotated[str, option.measuring(help="sparse, or sparse,masked.")] = "sparse",
    inputs: Annotated[int, option.inputs(min=8, max=1_000_000, help="Real inputs that are timed; p90 needs 64, p99 662.")] = 128,
    repeats: Annotated[
        int, option.measuring(min=5, max=MOST_REPEATS, help="Rounds; in each, everything is timed once on every input.")
    ] = 30,
    max_seconds: Annotated[
        float, option.measuring(min=1, max=1_000_000, help="For each batch size and number of threads; five rounds are done in any case.")
    ] = 120,
    device: Annotated[str, option.place(metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    runtime: Annotated[
        str, option.place(metavar="torch|compile|onnxruntime|openvino,...", help="What runs the networks; torch always does, too.")
    ] = "torch",
    precision: Annotated[
        str, option.place(metavar="fp32|bf16|int8,...", help="Of other runtimes than torch, where they have it.")
    ] = "fp32",
    layout: Annotated[
        str, option.network(metavar="auto|channels_last|contiguous", help="Of weights and inputs. auto: the one that suits all networks.")
    ] = "auto",
    output: Annotated[
        str | None, option.network(metavar="PATH", help="Part of your network's answer that counts: 0, exits.-1.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, option.results(help="Where to write. Default: times/ in the runs' own folders.", show_default=False)
    ] = None,
    as_json: Annotated[bool, option.results("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Time networks on real inputs, beside their static twins: what is claimed, executed and realised.

    Exits with 3 where the times are too noisy to say which is faster.
    """
    from ..data.catalogue import data_root
    from ..data.settings import storable

    names = [*(networks or []), *(model_file or [])]
    if not names:
        raise UsageError("Name what to time: a run folder, a folder of runs, a model, or --model-file FILE.py:FACTORY.")
    sizes = whole_numbers(batch_size, "--batch-size", 1, 65536)
    counts = whole_numbers(threads, "--threads", 1, most_threads()) if threads is not None else [None]
    wanted = one_of(layout, "--layout", ("auto", "channels_last", "contiguous"))
    runtimes = choices(runtime, "--runtime", ("torch", "compile", "onnxruntime", "openvino"))
    precisions = choices(precision, "--precision", ("fp32", "bf16", "int8"))
    executions = tuple(dict.fromkeys(("sparse", *choices(execution, "--execution", ("sparse", "masked")))))
    with stderr.status("loading torch"):
        from ..contract import GatedModel
        from ..device import choose_device, default_threads
        from ..measure.exclusive import alone
        from ..measure.protocol import FEWEST_ROUNDS
        from ..profiling import exported, session
        from ..profiling.networks import Loader, check
        from ..profiling.outside import output_to_stderr
        from ..profiling.together import Together
        from ..profiling.view import rounds_bar
        from ..report.latency_table import show

    if vs:
        check(vs)
    place = choose_device(device)
    others = exported.chosen(runtimes, precisions)
    if others and (max(sizes) > 1 or place.type != "cpu"):
        mend = "--batch-size 1" if max(sizes) > 1 else "--device cpu"
        raise UsageError(f"--runtime {runtime}: other runtimes than torch take one image at a time, on a CPU. Give {mend}.")
    loader = Loader(data_root(data_dir), dataset and storable(dataset), max(inputs, session.FEWEST_CALLS * max(sizes)))
    with stderr.status("loading networks and data"), output_to_stderr():
        entered = [network.at_point(policy, tradeoff) for network in loader.enter(names, weights)]
        rival = loader.rival(vs, entered) if vs else None
    for note in dict.fromkeys(loader.notes):
        say(f"gatebench: {note}")
    for sentence in loader.left_out:
        say(f"gatebench: not timed: {sentence}")
    if "masked" in executions and not any(isinstance(network.model, GatedModel) and network.model.units for network in entered):
        raise UsageError("--execution masked is for networks with gates, and none of these has any. Leave it away.")
    plans = [
        session.Plan(
            place,
            count or default_threads(),
            size,
            executions,
            inputs,
            repeats,
            max_seconds,
            layout=None if wanted == "auto" else wanted,
            output=output,
            runtimes=others,
        )
        for count in counts
        for size in sizes
    ]
    timings, interrupted = Together(entered, rival, plans, out, finishing, tell, shown=out is None), False
    try:
        with alone(tell), timings, output_to_stderr():
            notes = set()
            for plan in plans:
                memory = needs_memory(f"batches of {plan.batch_size}", "Give a smaller --batch-size, or smaller images")
                warn = partial(_warn, plan, session.calls(entered, plan))
                with memory, rounds_bar(stderr, plan, warn) as after_round:
                    measured = timings.run(plan, after_round)
                for note in measured.notes:
                    if note not in notes:
                        say(f"gatebench: {note}")
                    notes.add(note)
                if timings.interrupted:
                    break
    except KeyboardInterrupt:
        interrupted = True
    finally:  # whatever went wrong, what was measured is shown
        if as_json:
            typer.echo(json.dumps(timings.rows, indent=2, allow_nan=False))
        else:
            show(stdout, timings.rows)
            conclude(timings, {network.label: network.row for network in entered})
    if interrupted or timings.interrupted:
        if not timings.rows:
            kept = f"nothing was measured yet: that takes {FEWEST_ROUNDS} rounds"
        else:
            kept = f"what was measured until then is {'kept' if timings.written else 'shown'}"
        say(f"gatebench: interrupted; {kept}.")
        raise typer.Exit(signals.exit_code())
    noisy = [row for row in timings.rows if "repeats_needed" in row]
    if noisy:
        say(f"gatebench: {inconclusive(max(noisy, key=lambda row: row['speedup_high'] - row['speedup_low']), max_seconds)}")
        raise typer.Exit(3)


def _warn(plan: "Plan", calls: int, seconds: float) -> None:
    """Say what takes longer than was allowed, once a round of so many calls has taken so many seconds."""
    from ..profiling.view import too_long

    if sentence := too_long(plan, calls, seconds):
        tell(sentence)


def conclude(timings: "Together", scored: dict[str, dict]) -> None:
    """Below the tables: a sentence on each network, the files, what to do next; `scored` are rows of runs by network."""
    from ..report import bars
    from ..report.results import in_torch, is_masked
    from ..report.verdict import gain_of, in_runtimes, timed
    from ..runs import RunFolder

    several = len({(row["batch_size"], row["threads"]) for row in timings.rows}) > 1
    for row in timings.rows:
        if in_torch(row) and not is_masked(row):
            where = f"batch {row['batch_size']}, {counted(row['threads'], 'thread')}: " if several else ""
            line(where + timed({**gain_of(scored[row["network"]]), **row}))
    for members in timings.by_network:
        if not all(map(in_torch, members)):
            line(in_runtimes(members))
    if timings.rows:
        line("")
    for destination in timings.written:
        line(f"written to {destination.rows}")
    folders = [destination.folder.path for destination in timings.written]
    if not folders:
        return
    with RunFolder(folders[0].parent).locked(None, brief=True, say=tell):
        picture = bars.write(list(filter(in_torch, timings.rows)), folders[0].parent)
    if picture:
        line(f"written to {picture}")
    runs = [destination.folder for destination in timings.written if destination.folder.finished]
    next_step(*(["report", str(runs[0].path.parent)] if runs else ["list", "columns"]))  # with --out there may be no run to report


def inconclusive(row: dict, max_seconds: float) -> str:
    """The speed-up that the times leave open, and what would settle it."""
    from ..measure.statistics import FEWEST_INPUTS
    from ..measure.waiting import BUSY, remedy

    result = (
        f"inconclusive: the speed-up of {row['network']} at batch {row['batch_size']} is between {row['speedup_low']:.3f} and"
        f" {row['speedup_high']:.3f}."
    )
    if row.get("busy"):
        share = f"{row['waited_pct']:.0f} % of the time"
        others = f"calls of this timing waited more than {100 * BUSY:g} % of the time, its own less than 1 %"
        waited = f"its calls waited {share}" if row["waited_pct"] >= 1 else others
        return f"{result} The machine was busy: {waited}. {remedy(row['threads'])}."
    if row["inputs_needed"] > row["inputs_available"]:
        return (
            f"{result} Inputs differ so much that {row['inputs_needed']:,} of them would be needed; there are {row['inputs_available']:,}."
        )
    timed, quieter = row["calls"] * row["batch_size"], f"with less else running{', or --threads 1' * (row['threads'] > 1)}"
    enough = min(FEWEST_INPUTS[90] * row["batch_size"], row["inputs_available"])
    if timed < enough:
        return f"{result} {timed} inputs are too few to say what would settle it. Give --inputs {enough} or more, best {quieter}."
    if row["repeats_needed"] > MOST_REPEATS:
        return f"{result} Only {quieter} it might be settled: {row['repeats_needed']:,} repeats would be needed."
    more = [f"--repeats {row['repeats_needed']}"] if row["repeats_needed"] > row["rounds"] else []
    more += [f"--inputs {row['inputs_needed']}"] if row["inputs_needed"] > timed else []
    seconds = row["session_seconds"] * row["repeats_needed"] / row["rounds"] * row["inputs_needed"] / timed
    more += [f"--max-seconds {math.ceil(seconds)}"] if seconds > max_seconds else []
    return f"{result} {' '.join(more)} would settle it, if the machine stays as noisy; {quieter}, fewer do."
