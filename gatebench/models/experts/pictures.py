"""The picture of a router's run: accuracy against looked-up time, beside experts alone, their random mix and the oracle. No torch."""

import matplotlib
from matplotlib.figure import Figure

from ...figures import COLOURS, GATED, LINE, MARKS, RIVAL, STYLE, legend_above, single_axes
from ...runs import RunFolder
from .columns import TABLE

LARGEST = 1_000_000
"""Bytes of the table that is drawn."""


def pictures(folder: RunFolder) -> dict[str, Figure]:
    """`routing` of routing.csv, where the run kept it. Raises GatebenchError for a damaged one."""
    if not folder.has(TABLE):
        return {}
    return {"routing": routing([line for line in folder.read_csv(TABLE, LARGEST) if line["severity"] == "all"])}


def routing(table: list[dict]) -> Figure:
    """All severities together: a point for each expert, the oracle and each lambda; lines for the random mix and a rule's thresholds."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(5.0, 3.6)
        for number, line in enumerate(line for line in table if line["curve"] == "experts"):
            style = {"color": COLOURS[number % len(COLOURS)], "markersize": 6}
            axes.plot([line["ms"]], [line["accuracy"]], MARKS[number % len(MARKS)], label=f"{line['setting']} alone", **style)
        axes.plot(*_curve(table, "random mix"), "--", color=RIVAL, linewidth=1.2, label="random mix of experts")
        if any(line["curve"] == "rule" for line in table):
            axes.plot(*_curve(table, "rule"), "-", color=GATED, linewidth=1.0, label="thresholds for every lambda")
        axes.plot(*_curve(table, "router"), ".", color=GATED, markersize=9, label="router")
        axes.plot(*_curve(table, "oracle"), "*", color=LINE, markersize=9, label="oracle")
        axes.set_xlabel("looked-up time per input (ms), the gater left out")
        axes.set_ylabel("accuracy (%)")
        legend_above(axes, columns=2)
        return figure


def _curve(table: list[dict], name: str) -> tuple[list[float], list[float]]:
    """Milliseconds and accuracies, the cheapest first."""
    points = sorted((line["ms"], line["accuracy"]) for line in table if line["curve"] == name)
    return [ms for ms, _ in points], [accuracy for _, accuracy in points]
