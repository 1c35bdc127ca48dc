"""Figures of one run, from arrays: its times, and its decisions.

Shapes: N calls or inputs, U units.
"""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..figures import GATED, LINE, RIVAL, STYLE, legend_above, single_axes

MOST_GROUPS = 24
"""Classes, say, that stand beside each other legibly."""
FEWEST_FOR_LINE = 16
"""Points that a fitted line needs: eight batches lie on any."""
LEAST_EXPLAINED = 0.25
"""Share of the variance of the times that the line must explain to be drawn."""
LONGEST_LABEL = 48
Rival = tuple[str, np.ndarray]
"""Name of what a network is compared with, and its typical times [N], seconds."""


def latency_against_macs(label: str, macs: np.ndarray, seconds: np.ndarray, rival: Rival | None, batch_size: int) -> Figure:
    """Each call's typical time [N] against the MACs [N] it executed, with the fitted line and the rival's mean time."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(4.6, 3.4)
        x, y = macs / 1e6, 1e3 * seconds
        axes.scatter(x, y, s=14, color=GATED, alpha=0.6, edgecolors="none", label=label)
        if len(x) >= FEWEST_FOR_LINE and np.ptp(x) > 0 and np.ptp(y) > 0 and np.corrcoef(x, y)[0, 1] ** 2 >= LEAST_EXPLAINED:
            slope, base = np.polyfit(x, y, 1)
            ends = np.array([x.min(), x.max()])
            fitted = f"{base:.2f} ms {'+' if slope >= 0 else '-'} {1e3 * abs(slope):.1f} µs per million MACs"
            axes.plot(ends, base + slope * ends, color=LINE, linewidth=1, label=fitted)
        if rival:
            axes.axhline(1e3 * rival[1].mean(), color=RIVAL, linestyle="--", linewidth=1, label=rival[0])
        axes.set_xlabel("executed MACs per input (millions)")
        axes.set_ylabel(f"time per {_call(batch_size)} (ms)")
        legend_above(axes)
        return figure


def latency_distribution(label: str, seconds: np.ndarray, rival: Rival | None, batch_size: int) -> Figure:
    """Share of the calls that take no longer than a time: the network beside its rival. Far out calls are counted, not drawn."""
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(4.6, 3.2)
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
        legend_above(axes)
        return figure


def decisions(label: str, units: list[str], shares: np.ndarray, groups: dict[str, tuple[np.ndarray, list[str]]]) -> Figure:
    """How often each unit runs (`shares` [N, U]), by the groups of each kind: the number of each input's group [N], and their names.

    Of very many groups those for which most runs are drawn, and least; where as much runs for all, the first and the last.
    """
    tables = dict(_by_group(kind, shares, *members) for kind, members in groups.items())
    columns = [table.shape[1] for _, table in tables.values()]
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        height = max(3.2, 1.5 + 0.26 * len(units))  # room for what the colours say
        figure = Figure(figsize=(1.8 + 0.34 * sum(columns) + 0.8 * len(columns), height), layout="constrained")
        panels = np.atleast_1d(figure.subplots(1, len(tables), sharey=True, width_ratios=columns))
        for axes, (kind, (names, table)) in zip(panels, tables.items(), strict=True):
            image = axes.imshow(table, vmin=0, vmax=1, cmap="cividis", aspect="auto", interpolation="nearest")
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_xlabel(kind)
        panels[0].set_yticks(range(len(units)), units)
        panels[0].set_ylabel("unit")
        figure.colorbar(image, ax=panels[-1], label="share that is on, mean over inputs", fraction=0.08)
        figure.suptitle(label, fontsize=9)
        return figure


def examples(label: str, pixels: np.ndarray, names: list[str]) -> Figure:
    """Images uint8 [N, H, W] or [N, H, W, 3] with the names of their classes: the first half, which the gates find easiest, above."""
    half = len(pixels) // 2
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(0.8 + 0.8 * half, 2.6), layout="constrained")
        panels = figure.subplots(2, half, squeeze=False)
        for axes, image, name in zip(panels.flat, pixels, names, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(name[:14], fontsize=6)
        for row, what in zip(panels, ("easiest", "hardest"), strict=True):
            row[0].set_ylabel(what)
        figure.suptitle(f"{label}: images that its gates find easiest and hardest", fontsize=9)
        return figure


def short(label: str) -> str:
    """A network's name without its middle, where it would not leave room for the picture."""
    half = LONGEST_LABEL // 2
    return label if len(label) <= LONGEST_LABEL else f"{label[:half]}...{label[-half:]}"


def _by_group(kind: str, shares: np.ndarray, numbers: np.ndarray, names: list[str]) -> tuple[str, tuple[list[str], np.ndarray]]:
    """What a panel is of; names and mean shares [U, groups] of the groups that have inputs."""
    occurring = [number for number in range(len(names)) if (numbers == number).any()]
    table = np.stack([shares[numbers == number].mean(0) for number in occurring], 1)
    if len(occurring) > MOST_GROUPS:
        half = MOST_GROUPS // 2
        order = np.argsort(-table.mean(0), kind="stable")
        ends = [*order[:half], *order[-half:]]
        drawn = f"{half} for which most runs, {half} for which least" if np.ptp(table.mean(0)) else f"{MOST_GROUPS} of {len(occurring)}"
        kind, table, occurring = f"{kind}: {drawn}", table[:, ends], [occurring[i] for i in ends]
    return kind, ([names[number] for number in occurring], table)


def _call(batch_size: int) -> str:
    return "input" if batch_size == 1 else f"batch of {batch_size}"
