"""Rules of `report --check` on what was kept of single inputs: decisions.npz, inputs.parquet, examples.npz.

Shapes: N inputs, C classes, S switches.
"""

from collections.abc import Iterator

import numpy as np

from ...evaluation.scores import scores
from ...plain_data import fits
from ..evidence import SCORED, Evidence, Problem
from .numbers import NEAR, near

OF_MEANS = 1e-5
"""Relative difference of means that are the same, of gates with seven digits."""
MOST_CLASSES = 2_000
"""Of a table of labels by predictions."""


def decisions_are_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    on, inputs, hard = evidence.decisions, evidence.inputs(evidence.headline), evidence.headline.get("mean_gate_hard")
    if on is None:
        return
    if inputs and len(on) != inputs:
        yield "decisions.npz", f"it has {len(on):,} inputs, and data.json {inputs:,}"
    elif on.size and hard is not None and not near(on.mean(), hard, OF_MEANS):
        yield "decisions.npz", f"of its switches {on.mean():g} are on, and mean_gate_hard is {hard:g}"


def decisions_are_the_inputs_own(evidence: Evidence) -> Iterator[Problem]:
    """Of rows that changed places, the means of classes tell."""
    on, lines = evidence.decisions, _classes(evidence)
    if on is None or not lines or not on.size or len(on) != len(evidence.scored["label"]):
        return
    for line, own in zip(lines, _by_class(evidence, on.mean(1)), strict=True):
        if not near(own, line.get("mean_gate_hard", own), OF_MEANS):
            yield "decisions.npz", f"of the switches for {line['group']} {own:g} are on, and breakdown.csv has {line['mean_gate_hard']:g}"


def decisions_are_those_of_the_table(evidence: Evidence) -> Iterator[Problem]:
    """Input by input, where each unit has one switch: its column in inputs.parquet says whether it was on."""
    on, scored = evidence.decisions, evidence.scored
    units = [line["group"] for line in evidence.groups("unit") if "mean_gate_hard" in line]
    if on is None or not units or not scored.keys() >= set(units) or on.shape != (len(scored["label"]), len(units)):
        return
    others = int((on != np.stack([scored[unit] for unit in units], 1)).any(1).sum())
    if others:
        yield "decisions.npz", f"for {others:,} inputs it has other decisions than inputs.parquet"


def same_decisions_ask_for_the_same(evidence: Evidence) -> Iterator[Problem]:
    on, scored = evidence.decisions, evidence.scored
    if on is None or not scored or not on.size or len(on) != len(scored["label"]):
        return
    _, which = np.unique(np.packbits(on, axis=1), axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    starts, macs = np.flatnonzero(np.diff(which.ravel()[order], prepend=-1)), scored["macs_decided"][order]
    least, most = np.minimum.reduceat(macs, starts), np.maximum.reduceat(macs, starts)
    apart = np.flatnonzero(most > least * (1 + NEAR))
    if len(apart):
        yield "inputs.parquet", f"inputs with the same decisions have macs_decided = {least[apart[0]]:g} and {most[apart[0]]:g}"


def static_rows_decide_the_same(evidence: Evidence) -> Iterator[Problem]:
    on = evidence.decisions
    if on is not None and len(on) and not evidence.headline["adaptive"]:
        others = int((on != on[0]).any(1).sum())
        if others:
            yield "decisions.npz", f"{others:,} of its {len(on):,} inputs get other decisions than the first, and adaptive is false"


def inputs_can_be(evidence: Evidence) -> Iterator[Problem]:
    if not evidence.scored:
        return
    label, prediction, confidence, decided, executed = (evidence.scored[name] for name in SCORED)
    inputs, classes = evidence.inputs(evidence.headline), evidence.data.get("classes")
    if inputs and len(label) != inputs:
        yield "inputs.parquet", f"it has {len(label):,} inputs, and data.json {inputs:,}"
    for name, values in (("label", label), ("prediction", prediction)):
        if fits(classes, list[str]) and not ((values >= 0) & (values < len(classes))).all():
            yield "inputs.parquet", f"there is a {name} that is none of {len(classes)} classes"
    if not ((confidence >= 0) & (confidence <= 1 + NEAR)).all():
        yield "inputs.parquet", "there is a confidence that is not between 0 and 1"
    if not (decided <= executed * (1 + NEAR)).all():
        yield "inputs.parquet", "an input executes less than was decided for it"


def inputs_are_the_row_s(evidence: Evidence) -> Iterator[Problem]:
    scored, row = evidence.scored, evidence.headline
    if not scored or not len(scored["label"]) or any(inputs_can_be(evidence)):
        return
    label, prediction = scored["label"], scored["prediction"]
    few = max(label.max(), prediction.max()) < MOST_CLASSES
    own = scores(label, prediction) if few else {"accuracy": 100 * float((label == prediction).mean())}
    for key, value in {**own, **{key: float(scored[key].mean()) for key in ("macs_decided", "macs_executed")}}.items():
        if not near(value, row.get(key, value), OF_MEANS):
            yield "inputs.parquet", f"its inputs give {key} = {value:g}, and the row has {row[key]:g}"


def inputs_are_the_breakdown_s(evidence: Evidence) -> Iterator[Problem]:
    """By class and by unit."""
    scored, lines = evidence.scored, _classes(evidence)
    if not lines or any(inputs_can_be(evidence)):
        return
    values = {key: scored[key] for key in ("macs_decided", "macs_executed")}
    values["accuracy"] = 100.0 * (scored["label"] == scored["prediction"])
    means = {key: _by_class(evidence, each) for key, each in values.items()}
    own = [(line, key, means[key][number]) for number, line in enumerate(lines) for key in means]
    for line in evidence.groups("unit"):
        if line["group"] not in scored:
            yield "inputs.parquet", f"it has no column {line['group']}, a unit of breakdown.csv"
        columns = {"mean_gate_hard": line["group"], "mean_gate_soft": f"{line['group']}_soft"}
        own += [(line, key, scored[name].mean(dtype=float)) for key, name in columns.items() if name in scored]
    for line, key, value in own:
        if not near(value, line.get(key, value), OF_MEANS):
            yield "inputs.parquet", f"{line['group']} has {key} = {value:g} there, and {line[key]:g} in breakdown.csv"


def examples_are_of_the_inputs(evidence: Evidence) -> Iterator[Problem]:
    if not evidence.examples:
        return
    index, labels, pixels = evidence.examples.values()
    scored = evidence.scored.get("label", labels[:0])
    inputs, shape = evidence.inputs(evidence.headline) or len(scored), evidence.data.get("input_shape")
    outside = index[(index < 0) | (index >= inputs)]
    if inputs and len(outside):
        yield "examples.npz", f"it shows input {outside[0]:,}, and there are {inputs:,} from 0 on"
    elif inputs == len(scored) > 0:
        wrong = np.flatnonzero(labels != scored[index])
        if len(wrong):
            first = wrong[0]
            yield "examples.npz", f"input {index[first]:,} has the label {labels[first]}, and {scored[index[first]]} in inputs.parquet"
    if fits(shape, list[int]) and [*shape[1:], *shape[:1]] != list(pixels.shape[1:]):
        yield "examples.npz", f"its images are {list(pixels.shape[1:])}, and data.json has channels, height and width {shape}"


def _classes(evidence: Evidence) -> list[dict]:
    """The line of breakdown.csv of each label that occurs, [C], ascending; none where one has no line, or where inputs were not kept."""
    names = evidence.data.get("classes")
    if not evidence.scored or not fits(names, list[str]) or len(set(names)) < len(names):
        return []
    lines, labels = {line["group"]: line for line in evidence.groups("class")}, np.unique(evidence.scored["label"])
    found = [lines.get(names[label]) for label in labels if 0 <= label < len(names)]
    return found if None not in found and len(found) == len(labels) else []


def _by_class(evidence: Evidence, values: np.ndarray) -> np.ndarray:
    """The mean of values [N] of inputs of each label that occurs, [C], ascending."""
    _, which = np.unique(evidence.scored["label"], return_inverse=True)
    return np.bincount(which, values) / np.bincount(which)


RULES = (
    decisions_are_the_row_s,
    decisions_are_the_inputs_own,
    decisions_are_those_of_the_table,
    same_decisions_ask_for_the_same,
    static_rows_decide_the_same,
    inputs_can_be,
    inputs_are_the_row_s,
    inputs_are_the_breakdown_s,
    examples_are_of_the_inputs,
)
"""In the order in which they are applied."""
