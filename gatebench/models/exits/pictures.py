"""Pictures of a run with exits: accuracy against cost at every threshold, and calibration. Nothing here imports torch."""

from typing import get_args

import matplotlib
from matplotlib.figure import Figure

from ...figures import COLOURS, LINE, MARKS, RIVAL, STYLE, legend_above, single_axes
from ...runs import RunFolder
from .settings import Rule

LARGEST = 1_000_000
"""Bytes of a table."""
ANYTIME, ORACLE = "anytime", "oracle"
WAYS = {"": "-", ", budgeted batch": "--"}
"""Ending of a curve's name -> its line."""
MOST_LINES = 40
"""Of calibration: exits, with and without temperature."""
FEWEST_IN_BIN = 10
"""Inputs of a bin that is drawn: the share that is right of fewer says nothing."""


def pictures(folder: RunFolder) -> dict[str, Figure]:
    """Those whose tables the run kept: `exits` of exits.csv, `calibration` of calibration.csv. Raises GatebenchError for a damaged one."""
    drawn = {}
    if folder.has("exits.csv"):
        drawn["exits"] = exit_curves(folder.read_csv("exits.csv", LARGEST), folder.headline().get("macs_dense"))
    if folder.has("calibration.csv"):
        drawn["calibration"] = reliability(folder.read_csv("calibration.csv", LARGEST))
    return drawn


def exit_curves(table: list[dict], macs_dense: float | None) -> Figure:
    """Accuracy against mean executed MACs: every curve of exits.csv, its exits alone and the oracle as points."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(5.0, 3.6)
        for name, mark, label in ((ANYTIME, "s", "leaving at one exit"), (ORACLE, "*", "oracle")):
            axes.plot(*_curve(table, name), mark, color=LINE, markersize=7, label=label)
        rules = [rule for rule in get_args(Rule) if any(line["curve"] == rule for line in table)]
        for colour, rule in zip(COLOURS, rules, strict=False):
            for way, style in WAYS.items():
                macs, accuracy = _curve(table, rule + way)
                if macs:
                    axes.plot(macs, accuracy, style, color=colour, linewidth=1.3, label=rule + way)
        if macs_dense:
            axes.axvline(macs_dense / 1e6, color=RIVAL, linestyle=":", linewidth=1, label="static twin")
        axes.set_xlabel("executed MACs per input (millions)")
        axes.set_ylabel("accuracy (%)")
        legend_above(axes, columns=2)
        return figure


def reliability(table: list[dict]) -> Figure:
    """How often each exit is right, against its confidence; the diagonal is perfect calibration."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(4.2, 3.9)
        axes.plot([0, 100], [0, 100], color=LINE, linewidth=1, linestyle=":", label="perfect calibration")
        for number, temperature in sorted({(line["exit"], line["temperature"]) for line in table})[:MOST_LINES]:
            bins = [line for line in table if (line["exit"], line["temperature"]) == (number, temperature)]
            scaled = f", temperature {temperature:.2f}" if temperature != 1 else ""
            label = f"exit {number + 1}{scaled}: calibration error {bins[0]['ece']:.1f} %"
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": "--" if scaled else "-", "marker": MARKS[number % len(MARKS)]}
            points = [(line["confidence"], line["accuracy"]) for line in bins if line["inputs"] >= FEWEST_IN_BIN]
            axes.plot(*zip(*points, strict=True) if points else ([], []), linewidth=1.2, markersize=4, label=label, **style)
        axes.set_xlabel(f"confidence (%), bins of {FEWEST_IN_BIN} inputs or more")
        axes.set_ylabel("share that is right (%)")
        legend_above(axes)
        return figure


def _curve(table: list[dict], name: str) -> tuple[list[float], list[float]]:
    """Millions of MACs and accuracies, the cheapest first."""
    points = sorted((line["macs"] / 1e6, line["accuracy"]) for line in table if line["curve"] == name)
    return [macs for macs, _ in points], [accuracy for _, accuracy in points]
