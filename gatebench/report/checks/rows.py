"""Rules of `report --check` on rows and their MACs."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from ...foreign import is_number, number, plain
from ...measure.statistics import wilson
from ...models import registry
from ...plain_data import fits
from ..evidence import Evidence, Problem
from .numbers import NEAR, OF_RUN, PERCENTILES, at_most, near

HEADS = 0.5
"""MACs that the heads of earlier exits may take, as a share of the static twin's."""
Z = 1.959964
"""Of 95 %."""
PARTS = {"accuracy": "oracle_accuracy", "macs_decided": "macs_executed", "fixed_macs": "macs_executed", "params_used": "params"}
"""What is at most something else, by name."""
CLAIMED = 1e-3
"""Points by which a claim may differ from that of the mean gate, which has seven digits."""
MISSED = 0.05
"""Share of its width by which the interval of a percentile may miss it: resamples of few inputs do."""
OF_POINTS = (*OF_RUN, "dataset", "data_digest", "adaptive", "macs_dense", "params")
"""In which its operating points agree."""


def summary_is_the_first_row(evidence: Evidence) -> Iterator[Problem]:
    first = evidence.headline
    for key in sorted({key for row in evidence.summary for key in {**row, **first} if row.get(key) != first.get(key)}):
        yield "summary.json", f"{key} is not that of the first line of rows.jsonl"


def first_row_is_a_point(evidence: Evidence) -> Iterator[Problem]:
    if "reference" in evidence.headline:
        yield "rows.jsonl", "its first line is a reference, and no operating point"


def rows_are_of_one_run(evidence: Evidence) -> Iterator[Problem]:
    for rows, keys in ((evidence.rows, OF_RUN), (evidence.points, OF_POINTS)):
        for key in keys:
            if len({repr(row[key]) for row in rows if key in row}) > 1:
                yield "rows.jsonl", f"rows differ in {key}"


def points_differ(evidence: Evidence) -> Iterator[Problem]:
    named = Counter(repr([row.get(key) for key in ("policy", "tradeoff", "severity", "reference", "execution")]) for row in evidence.rows)
    yield from (("rows.jsonl", f"{count} rows are of one operating point") for count in named.values() if count > 1)


def intervals_hold_their_value(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.all_rows():
        for name, value in row.items():
            low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
            if (low is None) != (high is None):
                yield file, f"{name} has one end of its interval alone"
            elif low is not None:
                room = MISSED * abs(high - low) * (name in PERCENTILES)
                if not (at_most(low, high) and at_most(low - room, value) and at_most(value, high + room)):
                    yield file, f"{name} = {value:g} lies outside of its interval, {low:g} to {high:g}"


def values_stand_beside_intervals(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.all_rows():
        for name in (key[: -len(end)] for key in row for end in ("_low", "_high") if key.endswith(end)):
            if name not in row:
                yield file, f"there is an interval of {name} and no {name}"


def accuracy_counts_inputs(evidence: Evidence) -> Iterator[Problem]:
    for row in evidence.rows:
        inputs = evidence.inputs(row)
        for key in ("accuracy", "fixed_accuracy"):
            if inputs and abs(correct := row.get(key, 0) * inputs / 100) and not near(correct, round(correct), 1e-4 / inputs):
                yield "rows.jsonl", f"{key} = {row[key]:g} is no whole number of {inputs:,} inputs"


def intervals_of_accuracy_are_wilson_s(evidence: Evidence) -> Iterator[Problem]:
    """Both ends x solve n (p - x)^2 = z^2 x (1 - x) (Wilson 1927)."""
    for row in evidence.rows:
        inputs, share = evidence.inputs(row) or 0, row["accuracy"] / 100
        sides = [(inputs * (share - end) ** 2, Z**2 * end * (1 - end)) for end in (row["accuracy_low"] / 100, row["accuracy_high"] / 100)]
        if inputs and not all(math.isclose(*both, rel_tol=1e-3, abs_tol=1e-6) for both in sides):
            low, high = wilson(min(inputs, round(share * inputs)), inputs)
            own = f"{row['accuracy_low']:.2f} to {row['accuracy_high']:.2f}"
            yield "rows.jsonl", f"the interval of accuracy is {own}, and Wilson's of {inputs:,} inputs {low:.2f} to {high:.2f}"


def shares_add_up(evidence: Evidence) -> Iterator[Problem]:
    for row in evidence.rows:
        shares = row.get("shares", [1.0])
        if not all(is_number(each) and 0 <= each <= 1 for each in shares) or not near(sum(shares), 1):
            yield "rows.jsonl", f"shares = {_listed(shares)} do not add up to 1"


def shares_are_of_the_units(evidence: Evidence) -> Iterator[Problem]:
    """Inputs ran an expert, or left behind a segment: one is reached by those that leave later. Heads of exits stand beside them."""
    shares = evidence.headline.get("shares")
    units = [line["mean_gate_hard"] for line in evidence.groups("unit") if "mean_gate_hard" in line]
    if not shares or not all(map(is_number, shares)) or len(units) not in (len(shares), 2 * len(shares)):
        return
    ran = np.array(units[:: len(units) // len(shares)])
    left = ran - [*ran[1:], 0]
    if not any(np.allclose(each, shares, rtol=0, atol=1e-6) for each in (ran, left)):
        yield "breakdown.csv", f"its units ran for {_listed(ran)} of the inputs, and shares are {_listed(shares)}"


def claims_are_of_the_switches(evidence: Evidence) -> Iterator[Problem]:
    """In gatebench's own networks, but for routers, which claim time: the share of switches off, 1 - the mean soft gate (LAG), or the
    share of segments that are not reached."""
    entry = registry.registered(evidence.headline["model"])
    if entry is None or entry.measured:
        return
    for file, row in evidence.all_rows():
        for key in ("skip_pct", "timed_claimed_pct"):
            if row.get(key, 0) < 0:
                yield file, f"{key} = {row[key]:g} is below 0"
    for row in evidence.points:
        on, shares = [row[key] for key in ("mean_gate_hard", "mean_gate_soft") if key in row], row.get("shares")
        if shares and all(map(is_number, shares)):
            on = [sum(number * share for number, share in enumerate(shares, 1)) / len(shares)]
        claims = [100 * (1 - each) for each in on]
        if "skip_pct" in row and claims and min(abs(row["skip_pct"] - each) for each in claims) > CLAIMED:
            yield "rows.jsonl", f"skip_pct = {row['skip_pct']:g}, and the decisions make {claims[0]:g}"


def scores_are_those_of_the_classes(evidence: Evidence) -> Iterator[Problem]:
    row, lines = evidence.headline, evidence.groups("class")
    inputs, accuracies = ([line[key] for line in lines if key in line] for key in ("inputs", "accuracy"))
    names = evidence.data.get("classes")
    if "severity" in row or not fits(names, list[str]) or not len(inputs) == len(accuracies) == len(lines) == len(names) > 0:
        return
    for key, own in (("recall_macro", np.mean(accuracies)), ("majority_pct", 100 * max(inputs) / max(1, sum(inputs)))):
        if not near(own, row.get(key, own), 1e-5):
            yield "rows.jsonl", f"{key} = {row[key]:g}, and the classes of breakdown.csv make {own:g}"


def gains_are_over_fixed_decisions(evidence: Evidence) -> Iterator[Problem]:
    """Over the best ones where a row executes as much as all of them; over two of them, mixed at equal cost, where it executes less."""
    for row in evidence.points:
        gain, fixed, accuracy = row.get("adaptivity_gain"), row.get("fixed_accuracy"), row["accuracy"]
        most = row.get("macs_dense", math.inf) + row.get("macs_gate", 0)
        if gain is not None and not (at_most(0, accuracy - gain) and at_most(accuracy - gain, 100)):
            yield "rows.jsonl", f"adaptivity_gain = {gain:g} points, and accuracy is {accuracy:g}"
        elif None not in (gain, fixed) and row["macs_executed"] >= most and abs(accuracy - fixed - gain) > 1e-6:
            yield "rows.jsonl", f"adaptivity_gain = {gain:g}, and accuracy - fixed_accuracy is {accuracy - fixed:g}"


def percentages_are_possible(evidence: Evidence) -> Iterator[Problem]:
    for file, row in evidence.all_rows():
        for key in ("skip_pct", "timed_claimed_pct", "timed_saving_pct", "break_even_skip_pct"):
            if row.get(key, 0) > 100:
                yield file, f"{key} = {row[key]:g} is more than all"


def ratio_is_executed_over_dense(evidence: Evidence) -> Iterator[Problem]:
    for row in evidence.rows:
        if "macs_dense" in row and "macs_ratio" in row and not near(row["macs_ratio"] * row["macs_dense"], row["macs_executed"]):
            ratio = row["macs_executed"] / row["macs_dense"]
            yield "rows.jsonl", f"macs_ratio = {row['macs_ratio']:g}, and macs_executed / macs_dense is {ratio:g}"


def parts_are_at_most_the_whole(evidence: Evidence) -> Iterator[Problem]:
    for row in evidence.rows:
        for part, whole in PARTS.items():
            if is_number(row.get(part)) and is_number(row.get(whole)) and not at_most(row[part], row[whole]):
                yield "rows.jsonl", f"{part} = {row[part]:g} is more than {whole} = {row[whole]:g}"


def amounts_are_not_negative(evidence: Evidence) -> Iterator[Problem]:
    for row in evidence.rows:
        yield from (("rows.jsonl", f"{key} is below 0") for key in ("training_seconds", "peak_memory_mb") if row.get(key, 0) < 0)


def executed_is_at_most_dense_and_gates(evidence: Evidence) -> Iterator[Problem]:
    """Besides, a router may run each of its references, and a network with exits the heads of earlier ones."""
    experts = {row["reference"]: row["macs_executed"] for row in evidence.references}
    for file, row in evidence.all_rows():
        executed = row.get("timed_macs_executed", row.get("macs_executed"))
        dense = row.get("macs_dense", evidence.headline.get("macs_dense"))
        if executed is None or dense is None:
            continue
        heads = HEADS * dense if evidence.headline.get("shares") and not experts else 0
        most = dense + evidence.headline.get("macs_gate", 0) + sum(experts.values()) + heads
        if not at_most(executed, most):
            yield file, f"{executed:g} MACs are executed, and twin and gates together have {most:g}"


def breakdown_adds_up(evidence: Evidence) -> Iterator[Problem]:
    if not evidence.groups("class") or evidence.headline.get("adaptive") and not evidence.groups("unit"):
        yield "breakdown.csv", "it has no lines by class, or none by unit"
    for by in ("class", "severity", "difficulty"):
        groups, inputs = evidence.groups(by), evidence.inputs(evidence.headline)
        if not groups or not inputs or "severity" in evidence.headline:
            continue
        counts = [group.get("inputs") or 0 for group in groups]
        if sum(counts) != inputs:
            yield "breakdown.csv", f"by {by} it has {sum(counts):,.0f} inputs, and data.json {inputs:,}"
            continue
        for key in ("accuracy", "mean_gate_hard", "macs_decided", "macs_executed"):
            parts = [group.get(key) for group in groups]
            if None not in parts and not near(mean := float(np.average(parts, weights=counts)), evidence.headline.get(key, mean), 1e-5):
                yield "breakdown.csv", f"by {by} it has {key} = {mean:g} on average, and the row {evidence.headline[key]:g}"


def groups_are_there_once(evidence: Evidence) -> Iterator[Problem]:
    named = Counter((line["by"], line["group"]) for line in evidence.breakdown if {"by", "group"} <= line.keys())
    yield from (("breakdown.csv", f"{group} has {count} lines by {by}") for (by, group), count in named.items() if count > 1)


def units_are_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    """What is in no unit, gates among it, is decided and executed alike."""
    row, units, inputs = evidence.headline, evidence.groups("unit"), evidence.inputs(evidence.headline)
    for unit in units:
        if inputs and unit.get("inputs", inputs) != inputs:
            yield "breakdown.csv", f"{unit['group']} has {unit['inputs']:,.0f} inputs, and data.json {inputs:,}"
    decided, executed = (
        row[key] - sum(unit.get(key, 0) for unit in units) if key in row else None for key in ("macs_decided", "macs_executed")
    )
    room = NEAR * row["macs_executed"]
    if units and executed < row.get("macs_gate", 0) - room:
        yield "breakdown.csv", f"its units leave {executed:g} of the executed MACs, less than gates take"
    elif units and decided is not None and abs(decided - executed) > room:
        yield "breakdown.csv", f"its units leave {executed:g} of the executed MACs, and {decided:g} of those that were decided"


def tables_hold_numbers(evidence: Evidence) -> Iterator[Problem]:
    for file, lines, texts in (("epochs.csv", evidence.epochs or [], ()), ("breakdown.csv", evidence.breakdown, ("by", "group"))):
        for name, text in (cell for line in lines for cell in line.items() if cell[1] and cell[0] not in texts):
            value, most = number(text), 100 if name.endswith("accuracy") else 1 if name.startswith("mean_gate") else math.inf
            if not is_number(value):
                yield file, f"{plain(name)} = {plain(text)[:20]} is no finite number"
            elif most < math.inf and not (value >= 0 and at_most(value, most)):
                yield file, f"{plain(name)} = {value:g} is not between 0 and {most}"


def _listed(values: Iterable[float | None]) -> str:
    return ", ".join(f"{each:g}" if is_number(each) else "null" for each in values)


RULES = (
    summary_is_the_first_row,
    first_row_is_a_point,
    rows_are_of_one_run,
    points_differ,
    intervals_hold_their_value,
    values_stand_beside_intervals,
    accuracy_counts_inputs,
    intervals_of_accuracy_are_wilson_s,
    shares_add_up,
    shares_are_of_the_units,
    claims_are_of_the_switches,
    scores_are_those_of_the_classes,
    gains_are_over_fixed_decisions,
    percentages_are_possible,
    ratio_is_executed_over_dense,
    parts_are_at_most_the_whole,
    amounts_are_not_negative,
    executed_is_at_most_dense_and_gates,
    breakdown_adds_up,
    groups_are_there_once,
    units_are_the_row_s,
    tables_hold_numbers,
)
"""In the order in which they are applied."""
