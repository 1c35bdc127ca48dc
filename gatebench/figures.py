"""Figures: colour-blind-safe (Okabe and Ito's colours, cividis), readable in print, a unit on every axis."""

from typing import TYPE_CHECKING, BinaryIO

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

if TYPE_CHECKING:  # its import takes as long as a report of a thousand runs
    import pandas as pd

GATED, RIVAL, LINE = "#0072B2", "#D55E00", "#000000"
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
         "savefig.dpi": 150, "text.parse_math": False}  # fmt: skip
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKS = ("o", "s", "^", "D", "v")
MOST_GROUPS = 24
"""Classes, say, that stand beside each other legibly."""
FEWEST_IN_BIN = 10
"""Inputs below which the share that is right says nothing; drawn is what has more."""
FEWEST_FOR_LINE = 16
"""Points that a fitted line wants: eight batches lie on any."""
LEAST_EXPLAINED = 0.25
"""Share of the variance of the times that the line must explain to be drawn."""
LONGEST_LABEL = 48
Rival = tuple[str, np.ndarray]
"""Name of what a network is compared with, and its typical times [N], seconds."""


def save(figure: Figure, stream: BinaryIO, kind: str = "png") -> None:
    """As PNG or SVG, without the name of the software and the date, so that the same numbers give the same file."""
    with matplotlib.rc_context({"svg.hashsalt": "gatebench"}):
        nameless = {"png": {"Software": None}, "svg": {"Creator": None, "Date": None}}[kind]
        figure.savefig(stream, format=kind, dpi=STYLE["savefig.dpi"], metadata=nameless)


def latency_against_macs(label: str, macs: np.ndarray, seconds: np.ndarray, rival: Rival | None, batch_size: int) -> Figure:
    """Each call's typical time [N] against the MACs [N] it executed, with the fitted line and the rival's mean time."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(4.6, 3.4)
        x, y = macs / 1e6, 1e3 * seconds
        axes.scatter(x, y, s=14, color=GATED, alpha=0.6, edgecolors="none", label=label)
        if len(x) >= FEWEST_FOR_LINE and np.ptp(x) > 0 and np.ptp(y) > 0 and np.corrcoef(x, y)[0, 1] ** 2 >= LEAST_EXPLAINED:
            slope, base = np.polyfit(x, y, 1)
            ends = np.array([x.min(), x.max()])
            told = f"{base:.2f} ms {'+' if slope >= 0 else '-'} {1e3 * abs(slope):.1f} µs per million MACs"
            axes.plot(ends, base + slope * ends, color=LINE, linewidth=1, label=told)
        if rival:
            axes.axhline(1e3 * rival[1].mean(), color=RIVAL, linestyle="--", linewidth=1, label=rival[0])
        axes.set_xlabel("executed MACs per input (millions)")
        axes.set_ylabel(f"time per {_call(batch_size)} (ms)")
        _legend_above(axes)
        return figure


def latency_distribution(label: str, seconds: np.ndarray, rival: Rival | None, batch_size: int) -> Figure:
    """Share of the calls that take no longer than a time: the network beside its rival. Far out calls are counted, not drawn."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(4.6, 3.2)
        axes.ecdf(1e3 * seconds, color=GATED, linewidth=1.5, label=label)
        if rival:
            axes.ecdf(1e3 * rival[1], color=RIVAL, linestyle="--", linewidth=1.5, label=rival[0])
        drawn = 1e3 * np.concatenate([seconds, rival[1] if rival else []])
        low, high = drawn.min(), 1e3 * max(np.quantile(each, 0.98) for each in (seconds, *(rival[1:] if rival else ())))
        edge = high + 0.5 * (high - low)
        if drawn.max() > edge:
            axes.set_xlim(low - 0.05 * (edge - low), edge)
            axes.text(1.0, 0.02, f"{np.count_nonzero(drawn > edge)} beyond {edge:.2f} ms", transform=axes.transAxes, ha="right", fontsize=7)
        axes.set_xlabel(f"time per {_call(batch_size)}, median over rounds (ms)")
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=""))
        axes.set_ylabel(f"share of {'inputs' if batch_size == 1 else 'batches'} (%)")
        _legend_above(axes)
        return figure


def decisions(label: str, shares: "pd.DataFrame", groups: "dict[str, pd.Series]") -> Figure:
    """How often each unit runs (columns of `shares`, one row an input), by the groups of each kind (class, difficulty); of very many
    groups those for which most runs, and least."""
    units = list(shares.columns)
    tables = dict(_ends(kind, shares.groupby(keys, observed=True).mean().T) for kind, keys in groups.items())
    columns = [table.shape[1] for table in tables.values()]
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        height = max(3.2, 1.5 + 0.26 * len(units))  # room for what the colours say
        figure = Figure(figsize=(1.8 + 0.34 * sum(columns) + 0.8 * len(columns), height), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(tables), sharey=True, width_ratios=columns))
        for axes, (kind, table) in zip(panels, tables.items(), strict=True):
            image = axes.imshow(table.to_numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto", interpolation="nearest")
            axes.set_xticks(range(table.shape[1]), [str(name) for name in table.columns], rotation=45, ha="right", rotation_mode="anchor")
            axes.set_xlabel(kind)
        panels[0].set_yticks(range(len(units)), units)
        panels[0].set_ylabel("unit")
        figure.colorbar(image, ax=panels[-1], label="share of inputs for which it runs", fraction=0.08)
        figure.suptitle(label, fontsize=9)
        return figure


def _ends(kind: str, table: "pd.DataFrame") -> tuple[str, "pd.DataFrame"]:
    """What is drawn of a table with a column for each group, and what it is of."""
    if table.shape[1] <= MOST_GROUPS:
        return kind, table
    by_cost, half = table.mean().sort_values(ascending=False, kind="stable").index, MOST_GROUPS // 2
    return f"{kind}: {half} for which most runs, {half} for which least", table[[*by_cost[:half], *by_cost[-half:]]]


def exit_curves(table: "pd.DataFrame", twin_macs: float) -> Figure:
    """Accuracy against mean executed MACs: every curve of exits.csv, its exits alone and the oracle as points."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(5.0, 3.6)
        for name, mark, label in (("anytime", "s", "leaving at one exit"), ("oracle", "*", "oracle")):
            part = table[table["curve"] == name]
            axes.plot(part["macs"] / 1e6, part["accuracy"], mark, color=LINE, markersize=7, label=label)
        names = [name for name in table["curve"].unique() if name not in ("anytime", "oracle")]
        rules = list(dict.fromkeys(name.split(",")[0] for name in names))
        for name in names:
            part = table[table["curve"] == name].sort_values("macs")
            colour, line = COLOURS[rules.index(name.split(",")[0])], "--" if "," in name else "-"
            axes.plot(part["macs"] / 1e6, part["accuracy"], line, color=colour, linewidth=1.3, label=name)
        axes.axvline(twin_macs / 1e6, color=RIVAL, linestyle=":", linewidth=1, label="static twin")
        axes.set_xlabel("executed MACs per input (millions)")
        axes.set_ylabel("accuracy (%)")
        _legend_above(axes, columns=2)
        return figure


def reliability(table: "pd.DataFrame") -> Figure:
    """How often each exit is right, against how sure it is; the diagonal is perfect calibration."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(4.2, 3.9)
        axes.plot([0, 100], [0, 100], color=LINE, linewidth=1, linestyle=":", label="as right as sure")
        for (number, temperature), part in table.groupby(["exit", "temperature"]):
            scaled = f", temperature {temperature:.2f}" if temperature != 1 else ""
            label = f"exit {number + 1}{scaled}: calibration error {part['ece'].iloc[0]:.1f} %"
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": "--" if scaled else "-", "marker": MARKS[number % len(MARKS)]}
            told = part[part["inputs"] >= FEWEST_IN_BIN]
            axes.plot(told["confidence"], told["accuracy"], linewidth=1.2, markersize=4, label=label, **style)
        axes.set_xlabel(f"confidence (%), bins of {FEWEST_IN_BIN} inputs or more")
        axes.set_ylabel("share that is right (%)")
        _legend_above(axes)
        return figure


def short(label: str) -> str:
    """A network's name without its middle, where it would not leave room for the picture."""
    half = LONGEST_LABEL // 2
    return label if len(label) <= LONGEST_LABEL else f"{label[:half]}...{label[-half:]}"


def _call(batch_size: int) -> str:
    return "input" if batch_size == 1 else f"batch of {batch_size}"


def _axes(width: float, height: float):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _legend_above(axes, columns: int = 1) -> None:
    """Where it covers no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, borderaxespad=0, ncols=columns)
