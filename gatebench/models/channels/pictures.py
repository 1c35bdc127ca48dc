"""The picture of a run with channel gates: how much of each layer is on. Nothing here imports torch."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...figures import COLOURS, LINE, STYLE, legend_above, single_axes
from ...runs import RunFolder
from .settings import CHANNELS

LARGEST = 10_000_000
"""Bytes of the table."""
MOST_LAYERS = 200
WAYS = ("hard", "soft", "scaled")
WAY_STYLES = (
    {"marker": "o", "markersize": 4, "linewidth": 1.3, "zorder": 3},
    {"marker": "s", "markersize": 8, "linewidth": 1.3, "linestyle": "--", "markerfacecolor": "none", "zorder": 3.5},
)
"""Of the ways that leave channels out: the second does not cover the first where both are the same."""


def pictures(folder: RunFolder) -> dict[str, Figure]:
    """`channels` of channels.csv, where the run kept it. Raises GatebenchError for one that is too large."""
    if not folder.has(CHANNELS):
        return {}
    return {"channels": densities(pd.DataFrame(folder.read_csv(CHANNELS, LARGEST)))}


def densities(table: pd.DataFrame) -> Figure:
    """Share of each layer's channels that are on, in each way of running the gates that leaves some out, and the mean gate; layers in the
    order of the computation. The bars are the channels that are on for some input."""
    layers = list(dict.fromkeys(table["layer"]))[:MOST_LAYERS]
    by_layer = table.groupby("layer", sort=False)
    ways = [way for way in WAYS if f"on_{way}" in table]
    cut = [way for way in ways if way != "soft"]
    with matplotlib.rc_context(STYLE):
        figure, axes = single_axes(max(4.6, 1.6 + 0.32 * len(layers)), 3.4)
        places = np.arange(len(layers))
        if cut:
            ever = (table[f"on_{cut[0]}"] > 0).groupby(table["layer"]).mean()[layers]
            axes.bar(places, 100 * ever, color="0.88", label=f"on for some input, {cut[0]}")
        for number, way in enumerate(cut):
            on = 100 * by_layer[f"on_{way}"].mean()[layers]
            axes.plot(places, on, label=f"on, {way}", color=COLOURS[number], clip_on=False, **WAY_STYLES[number])
        gates = [way for way in ways if f"gate_{way}" in table]
        if gates:
            axes.plot(places, 100 * by_layer[f"gate_{gates[0]}"].mean()[layers], ":", color=LINE, label="mean soft gate")
        axes.set_xticks(places, layers, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_ylim(0, 105)
        axes.set_ylabel("share of the layer's channels (%)")
        legend_above(axes, columns=2)
        return figure
