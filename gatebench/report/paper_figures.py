"""The papers' figures from our runs: training curves (CosineGate, Fig. 6-8), and where inputs go (CGT)."""

import matplotlib
from matplotlib.figure import Figure

from ..figures import COLOURS, STYLE
from .claims import SHOWN_APART
from .declared import shares_heading, shares_of_group
from .groups import Group
from .results import Run
from .run_figures import short

SHOWN = 6
"""Networks in one picture: more would look alike."""
LONGEST_OF_THREE = 36
"""Characters of a name in a list of three columns."""
HATCHES = ("", "//", "..", "xx", "\\\\")


def training_curves(title: str, runs: list[Run]) -> Figure | None:
    """Accuracy in training and on the scored split, mean gate, and gates off, over epochs; None where no run kept its epochs.

    Each is named by its recipe, and by what of it was changed in this run, but not in all, and that no table shows apart.
    """
    curves = [(run, run.epochs) for run in runs[:SHOWN]]
    curves = [(run, lines) for run, lines in curves if len(lines) > 1]
    if not curves:
        return None
    changes = [[each for each in run.headline.get("changes", []) if not each.startswith(SHOWN_APART)] for run, _ in curves]
    own = [[each for each in changed if not all(each in others for others in changes)] for changed in changes]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 5.4), layout="constrained")
        panels = figure.subplots(2, 2)
        for number, (run, lines) in enumerate(curves):
            split, color = run.headline["split"], COLOURS[number % len(COLOURS)]
            style = {"color": color, "linewidth": 1.3, "linestyle": "-" if number < len(COLOURS) else "--"}
            label = ", ".join([f"{run.headline['model']} {run.headline['recipe']} s{run.headline['seed']}", *own[number]])
            keys = ("train_accuracy", f"{split}_accuracy", "mean_gate_soft", "mean_gate_hard")
            for axes, key in zip(panels.flat, keys, strict=True):
                points = [(line["epoch"], line[key]) for line in lines if isinstance(line.get(key), (int, float))]
                if points:
                    x, y = zip(*points, strict=True)
                    axes.plot(x, [100 * (1 - each) for each in y] if key == "mean_gate_hard" else y, label=short(label), **style)
        titles = ("accuracy in training (%)", "accuracy, scored split (%)", "mean gate, soft", "gates off (%)")
        for axes, name in zip(panels.flat, titles, strict=True):
            axes.set_xlabel("epoch")
            axes.set_ylabel(name)
            if not axes.lines:
                axes.set_axis_off()
        handles, labels = panels[0, 1].get_legend_handles_labels()
        columns = 3 if max(map(len, labels), default=0) <= LONGEST_OF_THREE else 2
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=7)
        figure.suptitle(title, fontsize=9)
        return figure


def destinations(groups: list[Group]) -> Figure:
    """For each network and budget, how many inputs go to each of the destinations that its rows name."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.4 + 0.3 * len(groups)), layout="constrained")
        axes = figure.subplots()
        heading = shares_heading(row for group in groups for row in group.rows)
        left = [0.0] * len(groups)
        parts = [shares_of_group(heading, group).parts for group in groups]
        for number, name in enumerate(heading.parts):
            shares = [100 * (each[number] or 0.0) for each in parts]
            axes.barh(range(len(groups)), shares, left=left, color=COLOURS[number % len(COLOURS)], hatch=HATCHES[number % len(HATCHES)],
                      edgecolor="white", linewidth=0.5, label=short(name))  # fmt: skip
            left = [before + share for before, share in zip(left, shares, strict=True)]
        axes.set_yticks(range(len(groups)), [short(f"{group.label}, {group.row['dataset']}") for group in groups], fontsize=7)
        axes.margins(y=0.01)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the inputs (%)")
        axes.grid(False)
        figure.legend(loc="outside upper center", ncols=min(6, len(heading.parts)), frameon=False, fontsize=8)
        return figure
