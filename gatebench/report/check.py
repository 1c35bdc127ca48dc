"""Whether run folders hold together: `gatebench report --check`.

For folders made elsewhere. Each rule looks at one folder and gives what is wrong in it: the file, and half a sentence. They compare what
is written more than once, and what follows from other numbers; what reports leave out with a line is refused as well.
"""

import hashlib
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UsageError, first_line
from ..foreign import LARGEST_TABLE, Unreadable, fits, plain, size_of
from ..measure.statistics import wilson
from ..rows import is_number
from ..runs import RunFolder, folders_in
from .evidence import Evidence, Found, number, read_evidence
from .results import MARKS, same_point

NEAR = 1e-6
"""Relative difference of numbers that are the same; tables have ten digits."""
POINTS = 1.0
"""Points of accuracy by which the last epoch may differ from the row: it may be scored in another precision."""
HEADS = 0.5
"""MACs that the heads of earlier exits may take, as a share of the static twin's."""
LARGEST_WEIGHTS, PART = 20_000_000_000, 1_000_000
"""Bytes, and how many are read at a time."""
LARGEST_ARRAY = 500_000_000
"""Bytes, unpacked."""
ROUNDED = 1e-3
"""Relative error of quantiles, which are stored with five digits."""
APART = 2.0
"""Times by which a speed-up may differ from the ratio of two mean times, on a noisy machine."""
CLOCKS = timedelta(days=1)
"""By which clocks may differ."""
Z = 1.959964
"""Of 95 %."""
MISSED = 0.05
"""Share of its width by which the interval of a percentile may miss it: resamples of few inputs do."""
PERCENTILES = ("latency_p50", "latency_p90", "latency_p99")
OF_RUN = ("model", "recipe", "digest", "seed", "epochs", "weights")
"""In which all rows of a run and its times agree."""
OF_POINTS = (*OF_RUN, "dataset", "data_digest", "adaptive", "macs_dense", "params")
"""In which its operating points agree."""
SEED = re.compile(r"-s(\d+)-[0-9a-f]{8}(-\d+)?$")
"""End of a folder's name."""
WHEN = "%Y-%m-%dT%H:%M:%SZ"


class Refusal(NamedTuple):
    """What is wrong with a folder."""

    folder: str
    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.file}: {self.problem}"


def check(results: Path) -> tuple[int, list[Refusal]]:
    """How many run folders there are in a folder (it may be one), and what is wrong with them: of each rule the first finding.

    Raises UsageError where there is none.
    """
    try:
        folders, unopened = folders_in(results, *MARKS)
    except Unreadable as error:
        raise UsageError(f"The folder {results} cannot be opened: {error}. Name one that may be read.") from None
    own = RunFolder(results)
    folders = [own] * any(map(own.has, MARKS)) + folders
    if not folders and not unopened:
        raise UsageError(f"In {results} there is no run folder. Name one, or a folder of them, such as results/.")
    refusals = [Refusal(name, "the folder", problem) for name, _, problem in (line.partition(": ") for line in unopened)]
    seen: dict[str, str] = {}
    for folder in folders:
        name, found = plain(folder.path.resolve().name), read_evidence(folder)
        refusals += [Refusal(name, *each) for each in (*found.unread, *_broken(found))]
        content = repr(found.rows)
        if found.rows and seen.setdefault(content, name) != name:
            refusals.append(Refusal(name, "rows.jsonl", f"it has the rows of {seen[content]}, and one run counts once"))
    return len(folders) + len(unopened), refusals


def _broken(found: Evidence) -> Iterator[Found]:
    """The first finding of each rule, and how many there are besides."""
    for rule in RULES if found.rows else ():
        problems = list(rule(found))
        if problems:
            (file, problem), more = problems[0], len(problems) - 1
            yield file, plain(problem) + f" (and {more} more such)" * (more > 0)


# Rows


def summary_is_the_first_row(found: Evidence) -> Iterator[Found]:
    for key in sorted({key for row in found.summary for key in {**row, **found.headline} if row.get(key) != found.headline.get(key)}):
        yield "summary.json", f"{key} is not that of the first line of rows.jsonl"


def first_row_is_a_point(found: Evidence) -> Iterator[Found]:
    if "reference" in found.headline:
        yield "rows.jsonl", "its first line is a reference, and no operating point"


def rows_are_of_one_run(found: Evidence) -> Iterator[Found]:
    for rows, keys in ((found.rows, OF_RUN), (found.points, OF_POINTS)):
        for key in keys:
            if len({repr(row[key]) for row in rows if key in row}) > 1:
                yield "rows.jsonl", f"rows differ in {key}"


def points_differ(found: Evidence) -> Iterator[Found]:
    named = Counter(repr([row.get(key) for key in ("policy", "tradeoff", "severity", "reference", "execution")]) for row in found.rows)
    yield from (("rows.jsonl", f"{count} rows are of one operating point") for count in named.values() if count > 1)


def intervals_hold_their_value(found: Evidence) -> Iterator[Found]:
    for file, row in found.all_rows():
        for name, value in row.items():
            low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
            if (low is None) != (high is None):
                yield file, f"{name} has one end of its interval alone"
            elif low is not None:
                room = MISSED * abs(high - low) * (name in PERCENTILES)
                if not (_at_most(low, high) and _at_most(low - room, value) and _at_most(value, high + room)):
                    yield file, f"{name} = {value:g} lies outside of its interval, {low:g} to {high:g}"


def values_stand_beside_intervals(found: Evidence) -> Iterator[Found]:
    for file, row in found.all_rows():
        for name in (key[: -len(end)] for key in row for end in ("_low", "_high") if key.endswith(end)):
            if name not in row:
                yield file, f"there is an interval of {name} and no {name}"


def accuracy_counts_inputs(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        inputs = found.inputs(row)
        if inputs and abs(correct := row["accuracy"] * inputs / 100) and not _near(correct, round(correct), 1e-4 / inputs):
            yield "rows.jsonl", f"accuracy = {row['accuracy']:g} is no whole number of {inputs:,} inputs"


def intervals_of_accuracy_are_wilson_s(found: Evidence) -> Iterator[Found]:
    """Both ends x solve n (p - x)^2 = z^2 x (1 - x) (Wilson 1927)."""
    for row in found.rows:
        inputs, share = found.inputs(row) or 0, row["accuracy"] / 100
        sides = [(inputs * (share - end) ** 2, Z**2 * end * (1 - end)) for end in (row["accuracy_low"] / 100, row["accuracy_high"] / 100)]
        if inputs and not all(math.isclose(*both, rel_tol=1e-3, abs_tol=1e-6) for both in sides):
            low, high = wilson(min(inputs, round(share * inputs)), inputs)
            own = f"{row['accuracy_low']:.2f} to {row['accuracy_high']:.2f}"
            yield "rows.jsonl", f"the interval of accuracy is {own}, and Wilson's of {inputs:,} inputs {low:.2f} to {high:.2f}"


def shares_add_up(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        shares = row.get("shares", [1.0])
        if not all(is_number(each) and 0 <= each <= 1 for each in shares) or not _near(sum(shares), 1):
            yield "rows.jsonl", f"shares = {', '.join(f'{each:g}' if is_number(each) else 'null' for each in shares)} do not add up to 1"


def percentages_are_possible(found: Evidence) -> Iterator[Found]:
    for file, row in found.all_rows():
        for key in ("skip_pct", "timed_claimed_pct", "timed_saving_pct", "break_even_skip_pct"):
            if row.get(key, 0) > 100:
                yield file, f"{key} = {row[key]:g} is more than all"
        if abs(row.get("adaptivity_gain", 0)) > 100:
            yield file, f"adaptivity_gain = {row['adaptivity_gain']:g} points is more than all"


# MACs


def ratio_is_executed_over_dense(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        if "macs_dense" in row and "macs_ratio" in row and not _near(row["macs_ratio"] * row["macs_dense"], row["macs_executed"]):
            ratio = row["macs_executed"] / row["macs_dense"]
            yield "rows.jsonl", f"macs_ratio = {row['macs_ratio']:g}, and macs_executed / macs_dense is {ratio:g}"


def executed_is_at_least_decided(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        if not _at_most(row.get("macs_decided", 0), row["macs_executed"]):
            yield "rows.jsonl", f"macs_executed = {row['macs_executed']:g} is less than was decided, {row['macs_decided']:g}"


def amounts_are_not_negative(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        yield from (("rows.jsonl", f"{key} is below 0") for key in ("training_seconds", "peak_memory_mb") if row.get(key, 0) < 0)


def fixed_decisions_execute_at_most_all(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        most = row.get("macs_dense", math.inf) * (1 + HEADS) + row.get("macs_gate", 0)
        if row.get("fixed_macs", 0) > most:
            yield "rows.jsonl", f"fixed_macs = {row['fixed_macs']:g} is more than all there is, {most:g}"


def executed_is_at_most_dense_and_gates(found: Evidence) -> Iterator[Found]:
    """Besides, a router may run each of its references, and a network with exits the heads of earlier ones."""
    experts = {row["reference"]: row["macs_executed"] for row in found.references}
    for file, row in found.all_rows():
        executed, dense = row.get("timed_macs_executed", row.get("macs_executed")), row.get("macs_dense", found.headline.get("macs_dense"))
        if executed is None or dense is None:
            continue
        heads = HEADS * dense if found.headline.get("shares") and not experts else 0
        most = dense + found.headline.get("macs_gate", 0) + sum(experts.values()) + heads
        if not _at_most(executed, most):
            yield file, f"{executed:g} MACs are executed, and twin and gates together have {most:g}"


def breakdown_adds_up(found: Evidence) -> Iterator[Found]:
    for by in ("class", "severity", "difficulty"):
        groups, inputs = found.groups(by), found.inputs(found.headline)
        if not groups or not inputs or "severity" in found.headline:
            continue
        counts = [group.get("inputs") or 0 for group in groups]
        if sum(counts) != inputs:
            yield "breakdown.csv", f"by {by} it has {sum(counts):,.0f} inputs, and data.json {inputs:,}"
            continue
        for key in ("accuracy", "mean_gate_hard", "macs_decided", "macs_executed"):
            parts = [group.get(key) for group in groups]
            if None not in parts and not _near(mean := float(np.average(parts, weights=counts)), found.headline.get(key, mean), 1e-5):
                yield "breakdown.csv", f"by {by} it has {key} = {mean:g} on average, and the row {found.headline[key]:g}"


def units_execute_at_most_all(found: Evidence) -> Iterator[Found]:
    executed = sum(group.get("macs_executed") or 0 for group in found.groups("unit"))
    if not _at_most(executed, found.headline["macs_executed"]):
        yield "breakdown.csv", f"its units execute {executed:g} MACs, and the network {found.headline['macs_executed']:g}"


def tables_hold_numbers(found: Evidence) -> Iterator[Found]:
    for file, lines, texts in (("epochs.csv", found.epochs or [], ()), ("breakdown.csv", found.breakdown, ("by", "group"))):
        for name, text in (cell for line in lines for cell in line.items() if cell[1] and cell[0] not in texts):
            value, most = number(text), 100 if name.endswith("accuracy") else 1 if name.startswith("mean_gate") else math.inf
            if not is_number(value):
                yield file, f"{plain(name)} = {plain(text)[:20]} is no finite number"
            elif most < math.inf and not (value >= 0 and _at_most(value, most)):
                yield file, f"{plain(name)} = {value:g} is not between 0 and {most}"


# Epochs, recipe, data, machine


def epochs_are_all_there(found: Evidence) -> Iterator[Found]:
    if found.epochs is not None:
        if len(found.epochs) != found.headline["epochs"]:
            yield "epochs.csv", f"it has {len(found.epochs)} epochs, and the row {found.headline['epochs']}"
        elif [number(line.get("epoch", "")) for line in found.epochs] != list(range(1, len(found.epochs) + 1)):
            yield "epochs.csv", "its epochs are not 1, 2, 3 ..."


def scores_of_epochs_are_the_row_s(found: Evidence) -> Iterator[Found]:
    row, column = found.headline, f"{found.headline['split']}_accuracy"
    numbers = [(number(line.get("epoch", "")), number(line.get(column, ""))) for line in found.epochs or []]
    scored = {epoch: accuracy for epoch, accuracy in numbers if None not in (epoch, accuracy)}
    if not scored or "accuracy_peak" not in row:
        return
    best, last = max(scored.values()), list(scored.values())[-1]
    if not _near(best, row["accuracy_peak"]):
        yield "epochs.csv", f"its best accuracy is {best:g}, and accuracy_peak {row['accuracy_peak']:g}"
    elif scored.get(row.get("peak_epoch")) != best:
        yield "epochs.csv", f"its best epoch is {max(scored, key=scored.get):g}, and peak_epoch {row.get('peak_epoch')}"
    if "policy" not in row and list(scored)[-1] == row["epochs"] and abs(last - row["accuracy"]) > POINTS:
        yield "epochs.csv", f"its last accuracy is {last:g}, and the row's {row['accuracy']:g}"


def recipe_is_the_row_s(found: Evidence) -> Iterator[Found]:
    row = found.headline
    said = {"model.name": row["model"], "name": row["recipe"], "training.epochs": row["epochs"], "changes": row.get("changes", [])}
    for key, value in said.items():
        if found.recipe and (found.setting(key) or ([] if key == "changes" else None if key != "training.epochs" else 0)) != value:
            yield "recipe.yaml", f"{key} is {found.setting(key)!r}, and the row has {value!r}"


def name_has_the_seed(found: Evidence) -> Iterator[Found]:
    said = SEED.search(found.folder.path.resolve().name)
    if found.headline["seed"] < 0 or (said and int(said[1]) != found.headline["seed"]):
        yield "rows.jsonl", f"the seed is {found.headline['seed']}, and the folder's name says {said[1] if said else '0 or more'}"


def data_are_described(found: Evidence) -> Iterator[Found]:
    if not found.data:
        return
    data, row = found.data, found.headline
    wanted = {"name": str, "scored": str, row["split"]: int, "classes": list[str], "input_shape": list[int], "mean": list[float | int],
              "std": list[float | int]}  # fmt: skip
    for key, kind in wanted.items():
        if not fits(data.get(key), kind):
            yield "data.json", f"its {key!r} is missing, or not what it should be"
            return
    if data["name"] != row["dataset"] or data.get("digest") != row.get("data_digest", data.get("digest")):
        yield "data.json", f"it describes {data['name']} {data.get('digest')}, and the row has {row['dataset']} {row.get('data_digest')}"
    if not all(each > 0 for each in data["std"]) or not [len(data["mean"])] == [len(data["std"])] == data["input_shape"][:1]:
        yield "data.json", "mean and std are not one for each channel, above 0"
    unknown = {group["group"] for group in found.groups("class")} - set(data["classes"])
    yield from (("breakdown.csv", f"{name} is no class of data.json") for name in sorted(unknown))


def machine_is_the_row_s(found: Evidence) -> Iterator[Found]:
    machine, row = found.machine, found.headline
    if machine and not (fits(machine.get("name"), str) and fits(machine.get("threads"), int) and fits(machine.get("cores"), int)):
        yield "machine.json", "it lacks name, cores or threads"
    elif machine and (machine["name"] != row.get("machine", machine["name"]) or machine["threads"] != row.get("threads")):
        here = f"{row.get('machine')} with {row.get('threads')} threads"
        yield "machine.json", f"it is {machine['name']} with {machine['threads']} threads, and the row's {here}"


# Files beside the rows


def weights_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.folder.has("model.safetensors") or "weights" not in found.headline:
        return
    try:
        size_of(found.folder / "model.safetensors", LARGEST_WEIGHTS)
        with open(found.folder / "model.safetensors", "rb") as stream:
            digest = hashlib.sha256()
            while part := stream.read(PART):
                digest.update(part)
    except (OSError, Unreadable) as error:
        yield "model.safetensors", f"it cannot be read: {error}"
        return
    begins = digest.hexdigest()[:8]
    if begins != found.headline["weights"]:
        yield "model.safetensors", f"its SHA-256 begins with {begins}, and the row's weights are {found.headline['weights']}"


def decisions_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.folder.has("decisions.npz"):
        return
    try:
        arrays = _arrays(found.folder / "decisions.npz", "decisions", "switches")
        packed, switches = arrays["decisions"], int(arrays["switches"])
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != math.ceil(switches / 8):
            raise ValueError(f"{packed.dtype} {list(packed.shape)} are no bits of {switches} switches")
    except (OSError, Unreadable, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        yield "decisions.npz", f"it cannot be read: {first_line(error)}"
        return
    inputs, hard = found.inputs(found.headline), found.headline.get("mean_gate_hard")
    if inputs and len(packed) != inputs:
        yield "decisions.npz", f"it has {len(packed):,} inputs, and data.json {inputs:,}"
    elif switches and hard is not None:
        on = np.unpackbits(packed, axis=1)[:, :switches].mean()
        if not _near(on, hard, 1e-5):
            yield "decisions.npz", f"of its switches {on:g} are on, and mean_gate_hard is {hard:g}"


def inputs_are_the_row_s(found: Evidence) -> Iterator[Found]:
    if not found.folder.has("inputs.parquet"):
        return
    import pyarrow
    import pyarrow.parquet

    try:
        size_of(found.folder / "inputs.parquet", LARGEST_TABLE)
        file, inputs = pyarrow.parquet.ParquetFile(found.folder / "inputs.parquet"), found.inputs(found.headline)
        if inputs and file.metadata.num_rows != inputs:
            yield "inputs.parquet", f"it has {file.metadata.num_rows:,} inputs, and data.json {inputs:,}"
            return
        table = file.read(columns=["label", "prediction", "macs_executed"])
        label, prediction, macs = (table[name].to_numpy() for name in table.column_names)
    except (OSError, Unreadable, KeyError, ValueError, pyarrow.ArrowException) as error:
        yield "inputs.parquet", f"it cannot be read: {first_line(error)}"
        return
    for key, own in (("accuracy", 100 * float((label == prediction).mean())), ("macs_executed", float(macs.mean()))):
        if not _near(own, found.headline[key], 1e-5):
            yield "inputs.parquet", f"its inputs give {key} = {own:g}, and the row has {found.headline[key]:g}"


# Times


def times_are_of_the_run(found: Evidence) -> Iterator[Found]:
    """A run that was evaluated anew has another digest; its weights say that times are of it."""
    for file, row in found.timed():
        anew = row.get("weights") == found.headline.get("weights", "")
        for key in OF_RUN:
            if row.get(key) != found.headline.get(key) and not (anew and key == "digest"):
                yield file, f"{key} is {row.get(key)!r}, and the run's {found.headline.get(key)!r}"
        if row.get("digest") == found.headline["digest"] and not any(same_point(row, point) for point in found.rows):
            yield file, "it times an operating point that rows.jsonl does not have"


def places_of_times_are_named(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        lacking = [key for key in ("machine", "device", "runtime", "threads", "batch_size", "execution") if key not in row]
        if lacking:
            yield file, f"a row lacks {', '.join(lacking)}, without which a time compares with no other"


def percentiles_ascend(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        values = [row[key] for key in PERCENTILES if key in row]
        if values != sorted(values):
            yield file, f"percentiles do not ascend: {', '.join(f'{value:g}' for value in values)} ms"


def times_are_above_0(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        for key in ("latency_ms", *PERCENTILES, "speedup", "gate_price", "all_on", "all_off"):
            if row.get(key, 1) <= 0 or row.get(f"{key}_low", 0) < 0:
                yield file, f"{key} is not above 0"


def mean_time_is_between_the_ends(found: Evidence) -> Iterator[Found]:
    """Of the calls, where their quantiles were kept; of the rival's too."""
    for file, row in found.timed():
        for key, quantiles in (("latency_ms", "latency_quantiles_ms"), ("rival_ms", "rival_quantiles_ms")):
            ends = row.get(quantiles)
            if ends and key in row and not ends[0] * (1 - ROUNDED) <= row[key] <= ends[-1] * (1 + ROUNDED):
                yield file, f"{key} = {row[key]:g} is not between the fastest and the slowest call, {ends[0]:g} and {ends[-1]:g}"


def speedup_is_of_the_times(found: Evidence) -> Iterator[Found]:
    """Ratios are taken within rounds, so that they differ a little from the ratio of the means."""
    for file, row in found.timed():
        if "speedup" in row and "rival_ms" in row and not 1 / APART < row["speedup"] * row["latency_ms"] / row["rival_ms"] < APART:
            yield file, f"speedup = {row['speedup']:g}, and {row['rival_ms']:g} over {row['latency_ms']:g} ms is another"


def realised_is_speedup_over_saving(found: Evidence) -> Iterator[Found]:
    """realised = (1 - 1 / speed-up) / executed saving."""
    for file, row in found.timed():
        if {"realised", "speedup", "timed_saving_pct"} <= row.keys() and row["speedup"] > 0 and row["timed_saving_pct"]:
            realised = (1 - 1 / row["speedup"]) / (row["timed_saving_pct"] / 100)
            if not math.isclose(realised, row["realised"], rel_tol=0.01, abs_tol=0.01):
                told = f"a speed-up of {row['speedup']:g} at {row['timed_saving_pct']:g} % saved makes {realised:g}"
                yield file, f"realised = {row['realised']:g}, and {told}"


def saving_is_of_the_twin(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        dense, over_twin = found.headline.get("macs_dense"), row.get("rival") == "its static twin"
        if dense and over_twin and {"timed_saving_pct", "timed_macs_executed"} <= row.keys():
            saving = 100 * (1 - row["timed_macs_executed"] / dense)
            if abs(saving - row["timed_saving_pct"]) > 1e-4:
                yield file, f"timed_saving_pct = {row['timed_saving_pct']:g}, and timed_macs_executed makes {saving:g}"


def timed_macs_are_in_order(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        ends = [row.get(f"timed_macs_{name}") for name in ("least", "executed", "most")]
        if None not in ends and not (_at_most(ends[0], ends[1]) and _at_most(ends[1], ends[2])):
            yield file, f"timed_macs_executed = {ends[1]:g} is not between {ends[0]:g} and {ends[2]:g}"


def rounds_and_calls_are_counted(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        if not row["calls"] or not row["rounds"] or row["noisy_rounds"] > row["rounds"]:
            yield file, f"{row['calls']} calls in {row['rounds']} rounds, {row['noisy_rounds']} of them noisy, cannot be"


def conditions_are_of_the_times(found: Evidence) -> Iterator[Found]:
    for times in found.times:
        sessions = times.conditions.get("sessions", [])
        name = times.name.removesuffix("l")
        if not fits(sessions, list[dict[str, Any]]):
            yield name, "its sessions are no list"
            continue
        counted = {str((each.get("threads"), each.get("batch_size"))): each.get("inputs") for each in sessions}
        for row in times.rows:
            calls = counted.get(str((row.get("threads"), row.get("batch_size"))))
            if isinstance(calls, list) and len(calls) != row["calls"]:
                yield name, f"it lists other inputs than the {row['calls']} calls that were timed"


def dates_are_past(found: Evidence) -> Iterator[Found]:
    for file, row in found.timed():
        try:
            when = datetime.strptime(row.get("when", "2000-01-01T00:00:00Z"), WHEN).replace(tzinfo=timezone.utc)
        except ValueError:
            yield file, f"when = {row['when']} is no time such as 2026-01-31T12:00:00Z"
            continue
        if when > datetime.now(timezone.utc) + CLOCKS:
            yield file, f"when = {row['when']} lies in the future"


def _near(first: float, second: float, relative: float = NEAR) -> bool:
    return math.isclose(first, second, rel_tol=relative, abs_tol=1e-9)


def _at_most(least: float, most: float) -> bool:
    return least <= most or _near(least, most)


def _arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """Arrays of an .npz file. Raises ValueError where one would take more than `LARGEST_ARRAY`, OSError and others as numpy does."""
    size_of(path, LARGEST_TABLE)
    with zipfile.ZipFile(path) as packed:
        if any(each.file_size > LARGEST_ARRAY for each in packed.infolist()):
            raise ValueError("an array is too large")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in names}


RULES = (
    summary_is_the_first_row, first_row_is_a_point, rows_are_of_one_run, points_differ,
    intervals_hold_their_value, values_stand_beside_intervals, accuracy_counts_inputs, intervals_of_accuracy_are_wilson_s,
    shares_add_up, percentages_are_possible,
    ratio_is_executed_over_dense, executed_is_at_least_decided, amounts_are_not_negative, fixed_decisions_execute_at_most_all,
    executed_is_at_most_dense_and_gates,
    breakdown_adds_up, units_execute_at_most_all, tables_hold_numbers,
    epochs_are_all_there, scores_of_epochs_are_the_row_s, recipe_is_the_row_s, name_has_the_seed, data_are_described,
    machine_is_the_row_s,
    weights_are_the_row_s, decisions_are_the_row_s, inputs_are_the_row_s,
    times_are_of_the_run, places_of_times_are_named, percentiles_ascend, times_are_above_0,
    mean_time_is_between_the_ends, speedup_is_of_the_times, realised_is_speedup_over_saving,
    saving_is_of_the_twin, timed_macs_are_in_order, rounds_and_calls_are_counted, conditions_are_of_the_times, dates_are_past,
)  # fmt: skip
