"""Rules of `report --check` on rows and their MACs."""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...foreign import is_number, number, plain
from ...measure.statistics import wilson
from ..evidence import Evidence, Found
from .numbers import OF_RUN, at_most, near

HEADS = 0.5
"""MACs that the heads of earlier exits may take, as a share of the static twin's."""
Z = 1.959964
"""Of 95 %."""
MISSED = 0.05
"""Share of its width by which the interval of a percentile may miss it: resamples of few inputs do."""
PERCENTILES = ("latency_p50", "latency_p90", "latency_p99")
OF_POINTS = (*OF_RUN, "dataset", "data_digest", "adaptive", "macs_dense", "params")
"""In which its operating points agree."""


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
                if not (at_most(low, high) and at_most(low - room, value) and at_most(value, high + room)):
                    yield file, f"{name} = {value:g} lies outside of its interval, {low:g} to {high:g}"


def values_stand_beside_intervals(found: Evidence) -> Iterator[Found]:
    for file, row in found.all_rows():
        for name in (key[: -len(end)] for key in row for end in ("_low", "_high") if key.endswith(end)):
            if name not in row:
                yield file, f"there is an interval of {name} and no {name}"


def accuracy_counts_inputs(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        inputs = found.inputs(row)
        if inputs and abs(correct := row["accuracy"] * inputs / 100) and not near(correct, round(correct), 1e-4 / inputs):
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
        if not all(is_number(each) and 0 <= each <= 1 for each in shares) or not near(sum(shares), 1):
            yield "rows.jsonl", f"shares = {', '.join(f'{each:g}' if is_number(each) else 'null' for each in shares)} do not add up to 1"


def percentages_are_possible(found: Evidence) -> Iterator[Found]:
    for file, row in found.all_rows():
        for key in ("skip_pct", "timed_claimed_pct", "timed_saving_pct", "break_even_skip_pct"):
            if row.get(key, 0) > 100:
                yield file, f"{key} = {row[key]:g} is more than all"
        if abs(row.get("adaptivity_gain", 0)) > 100:
            yield file, f"adaptivity_gain = {row['adaptivity_gain']:g} points is more than all"


def ratio_is_executed_over_dense(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        if "macs_dense" in row and "macs_ratio" in row and not near(row["macs_ratio"] * row["macs_dense"], row["macs_executed"]):
            ratio = row["macs_executed"] / row["macs_dense"]
            yield "rows.jsonl", f"macs_ratio = {row['macs_ratio']:g}, and macs_executed / macs_dense is {ratio:g}"


def executed_is_at_least_decided(found: Evidence) -> Iterator[Found]:
    for row in found.rows:
        if not at_most(row.get("macs_decided", 0), row["macs_executed"]):
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
        if not at_most(executed, most):
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
            if None not in parts and not near(mean := float(np.average(parts, weights=counts)), found.headline.get(key, mean), 1e-5):
                yield "breakdown.csv", f"by {by} it has {key} = {mean:g} on average, and the row {found.headline[key]:g}"


def units_execute_at_most_all(found: Evidence) -> Iterator[Found]:
    executed = sum(group.get("macs_executed") or 0 for group in found.groups("unit"))
    if not at_most(executed, found.headline["macs_executed"]):
        yield "breakdown.csv", f"its units execute {executed:g} MACs, and the network {found.headline['macs_executed']:g}"


def tables_hold_numbers(found: Evidence) -> Iterator[Found]:
    for file, lines, texts in (("epochs.csv", found.epochs or [], ()), ("breakdown.csv", found.breakdown, ("by", "group"))):
        for name, text in (cell for line in lines for cell in line.items() if cell[1] and cell[0] not in texts):
            value, most = number(text), 100 if name.endswith("accuracy") else 1 if name.startswith("mean_gate") else math.inf
            if not is_number(value):
                yield file, f"{plain(name)} = {plain(text)[:20]} is no finite number"
            elif most < math.inf and not (value >= 0 and at_most(value, most)):
                yield file, f"{plain(name)} = {value:g} is not between 0 and {most}"


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
    percentages_are_possible,
    ratio_is_executed_over_dense,
    executed_is_at_least_decided,
    amounts_are_not_negative,
    fixed_decisions_execute_at_most_all,
    executed_is_at_most_dense_and_gates,
    breakdown_adds_up,
    units_execute_at_most_all,
    tables_hold_numbers,
)
"""In the order in which they are applied."""
