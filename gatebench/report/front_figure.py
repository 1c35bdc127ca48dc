"""The picture of a front, and its files: accuracy against cost, what nothing beats, and what the intervals say of the rest."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import matplotlib.patheffects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..figures import GATED, LINE, RIVAL, STYLE, save
from ..runs import RunFolder, slug
from ..words import are
from .formats import to_csv
from .front import AXES, Panel, Point
from .front_table import points_of
from .front_words import SAME, message

FORMATS = ("png", "svg")
GREY = "#888888"
MOST_PANELS = 12
"""Drawn; the CSV has them all."""
WINDOW = 8
"""Points of accuracy below the best that are drawn; the front is drawn further down, to half of the best. A network far below does not
squeeze the others."""
WIDE = 10
"""Times the least cost from which on the axis of costs is logarithmic."""
BEATEN = "white", GREY, 0.6
MARKS_OF = {"constant": BEATEN, "dominated": BEATEN, "tied": ("white", GATED, 1.0), "front": (GATED, GATED, 1.0)}
"""Face, edge and opacity by state, in the order of drawing."""
HEIGHT, GAP = 3.1, 0.95
"""Inches of a panel, and between two."""
LEFT, WIDTH = 0.085, 0.655
"""Of the figure's width: where a panel begins, and how wide it is; the legend stands to the right."""
LABEL = 7
"""Points of a label's letters."""
LABEL_WIDTH, LABEL_LINES = 30, 3
"""Characters of a line of a label, and its lines."""
RADII = (5.0, 12.0, 20.0, 30.0, 42.0, 56.0)
"""Points from a mark to its label: with more than the least, a line joins both."""
SIDES = ((-1, 1), (0, 1), (1, -1), (-1, 2), (1, -2), (-1, 0), (0, -1), (1, 0), (1, 1), (1, 2), (-1, -1), (-1, -2))
"""Directions in which a label may stand, the best first: above and to the left of a front there is nothing."""
MOST_NAMES = 16
"""In a panel, of the most accurate."""
MARK = 6.0
"""Size of a mark in points; of marks that are closer than that one alone gets a name."""


def drawn(panels: list[Panel]) -> list[Panel]:
    """Those that compare something: of two networks or more."""
    return [panel for panel in panels if len(panel.points) > 1]


def front(panels: list[Panel]) -> Figure:
    """The panels that are drawn, one below the other."""
    with matplotlib.rc_context(STYLE):
        shown = drawn(panels)[:MOST_PANELS]  # laid out by hand: what lays out by itself draws everything twice
        total = (HEIGHT + GAP) * max(1, len(shown)) + 0.2
        figure, top = Figure(figsize=(8.2, total)), total - 0.5
        FigureCanvasAgg(figure)
        for panel in shown:
            _draw(figure.add_axes((LEFT, (top - HEIGHT) / total, WIDTH, HEIGHT / total)), panel)
            top -= HEIGHT + GAP
        left = len(drawn(panels)) - len(shown)
        notes = [f"{left} panels more are in the CSV."] if left else []
        notes += ["There are no two networks to compare."] if not shown else []
        figure.text(LEFT, 0.08 / total, " ".join(notes), fontsize=8)
        return figure


def write_fronts(shown: dict[str, list[Panel]], results: Path, out: Path | None, narrowed: Sequence[str] = ()) -> list[Path]:
    """pareto-<cost>.png, .svg and .csv in `results`, or `out`, a .png or .svg, and a CSV beside it, with the cost in the name where there
    are several. No picture is written of costs for which there are no two networks to compare. Returns the files.

    What the panels were narrowed to is in the names in `results`, so that the pictures of all stay.
    """
    if out is None:
        names = {cost: "-".join(["pareto", cost, *map(slug, narrowed)]) for cost in shown}
        wanted = [(cost, results / f"{name}.{kind}") for cost, name in names.items() for kind in FORMATS]
    else:
        several = len(shown) > 1
        wanted = [(cost, out.with_stem(f"{out.stem}-{cost}") if several else out) for cost in shown]
    figures = {cost: front(panels) for cost, panels in shown.items() if drawn(panels)}
    written = []
    for cost, path in wanted:
        if cost in figures:
            RunFolder(path.parent).write(path.name, lambda stream, cost=cost, kind=path.suffix[1:]: save(figures[cost], stream, kind))
            written.append(path)
    for path, cost in {path.with_suffix(".csv"): cost for cost, path in wanted}.items():
        RunFolder(path.parent).write_text(path.name, to_csv(points_of(shown[cost])))
        written.append(path)
    return written


def _draw(axes: Axes, panel: Panel) -> None:
    title = message(panel)
    best = max(point.y for point in panel.points)
    least = min([best - WINDOW, *(point.y for point in panel.listed())])
    below = sum(each.y < least for each in (*panel.points, *panel.published))
    states = [state for each, state in zip(panel.points, panel.states(), strict=True) if each.y >= least]
    points, published = ([each for each in members if each.y >= least] for members in (panel.points, panel.published))
    panel = replace(panel, points=points, published=published)
    for state, (face, edge, alpha) in MARKS_OF.items():
        for static, mark in ((False, "o"), (True, "s")):
            members = [each for each, own in zip(panel.points, states, strict=True) if own == state and each.static == static]
            if not members:
                continue
            x, low, high, y, y_low, y_high = np.array(
                [(each.x, each.x_low, each.x_high, each.y, each.y_low, each.y_high) for each in members]
            ).T
            crosses = {"xerr": np.maximum(0, [x - low, high - x]), "yerr": np.maximum(0, [y - y_low, y_high - y])}
            axes.errorbar(x, y, fmt="none", ecolor=edge, alpha=0.4 * alpha, elinewidth=0.8, zorder=1, **crosses)
            axes.plot(x, y, mark, markerfacecolor=face, markeredgecolor=edge, alpha=alpha, markersize=5.5, zorder=3)
    _lines(axes, panel, states)
    for point in panel.published:
        axes.plot(point.x, point.y, "x", color=RIVAL, markersize=6, zorder=2)
    _axes(axes, panel)
    axes.set_title(panel.title, fontsize=7.5, loc="left", color="#444444")
    axes.annotate(title, (0, 1), (0, 17), "axes fraction", "offset points", fontsize=9.5, weight="bold")
    on_front = sorted((each for each, state in zip(panel.points, states, strict=True) if state == "front"), key=lambda each: -each.y)
    marked = [*((point, LINE) for point in on_front), *((point, RIVAL) for point in panel.published)]
    label(axes, panel, marked[:MOST_NAMES])
    _legend(axes, panel, states, below)


def _axes(axes: Axes, panel: Panel) -> None:
    """Names and reach of both axes."""
    axes.set_xlabel(f"{AXES[panel.cost].title} ({'millions' if panel.cost == 'macs_executed' else AXES[panel.cost].unit})")
    scored_in = ", ".join(sorted({point.scored_in for point in panel.points if point.scored_in}))
    axes.set_ylabel(f"accuracy{f', scored in {scored_in}' if scored_in else ''} (%)")
    shown = [*panel.points, *panel.published]
    costs = [each.x for each in shown]
    if max(costs) > WIDE * min(costs) > 0:
        axes.set_xscale("log")
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(*10 ** np.array(_reach(np.log10(costs), 0.06)))
    elif max(costs) <= (1 + SAME) * min(costs):
        axes.set_xlim(0, 2 * max(costs) or 1.0)
    else:
        axes.set_xlim(*_reach(_costs_drawn(shown), 0.06))
    axes.set_ylim(*_reach([end for each in shown for end in (each.y_low, each.y_high)], 0.08))


def label(axes: Axes, panel: Panel, marked: list[tuple[Point, str]]) -> None:
    """Names (with their colour) beside their points, each at the first place within the axes where neither it nor the line to it covers
    another's mark, name or line.

    A name for which there is none is left out, and so is that of a point whose mark covers that of one with a name.
    """
    scale, renderer = axes.figure.dpi / 72, axes.figure.canvas.get_renderer()
    spots = {id(point): axes.transData.transform((point.x, point.y)) for point in (*panel.points, *panel.published)}
    marks = [_box(spot, MARK * scale, MARK * scale) for spot in spots.values()]
    outline = [matplotlib.patheffects.withStroke(linewidth=2, foreground="white")]
    taken, named = [], []
    for point, colour in marked:
        spot, text = spots[id(point)], _wrapped(point.label)
        if any(np.hypot(*(spot - other)) < MARK * scale for other in named):
            continue
        sizes = [renderer.get_text_width_height_descent(line, FontProperties(size=LABEL), False) for line in text.split("\n")]
        size = np.array([max(each[0] for each in sizes), 1.25 * LABEL * scale * len(sizes)]) + 2 * scale
        apart = [mark for other, mark in zip(spots.values(), marks, strict=True) if np.hypot(*(spot - other)) >= MARK * scale]
        for radius, side in ((radius, np.array(side)) for radius in RADII for side in SIDES):
            middle = spot + scale * radius * side / np.hypot(*side) + np.sign(side) * size / 2
            box, joined = _box(middle, *size), radius > RADII[0]
            line = [_box(spot + part * (middle - spot), 3, 3) for part in np.linspace(0, 1, 20)] if joined else []
            if _inside(box, axes) and not _overlap(box, taken + marks) and not any(_overlap(each, taken + apart) for each in line):
                taken += [box, *line]
                named.append(spot)
                arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3} if joined else None
                axes.annotate(
                    text, (point.x, point.y), tuple((middle - spot) / scale), textcoords="offset points", fontsize=LABEL,
                    color=colour, ha="center", va="center", zorder=4, arrowprops=arrow, path_effects=outline,
                )  # fmt: skip
                break


def _box(middle: np.ndarray, width: float, height: float) -> tuple[float, float, float, float]:
    """Left, right, bottom, top, in pixels."""
    return middle[0] - width / 2, middle[0] + width / 2, middle[1] - height / 2, middle[1] + height / 2


def _inside(box: tuple, axes: Axes) -> bool:
    return axes.bbox.x0 <= box[0] and box[1] <= axes.bbox.x1 and axes.bbox.y0 <= box[2] and box[3] <= axes.bbox.y1


def _overlap(box: tuple, others: list[tuple]) -> bool:
    """Whether a box covers part of any of the others."""
    left, right, bottom, top = np.array(others).reshape(-1, 4).T
    return bool(((box[0] < right) & (left < box[1]) & (box[2] < top) & (bottom < box[3])).any())


def _lines(axes: Axes, panel: Panel, states: list[str]) -> None:
    """The front as stairs, the static networks as a line of their own, and what single seeds attain between the best and the worst."""
    corners = sorted((each.x, each.y) for each, state in zip(panel.points, states, strict=True) if state == "front")
    if corners:
        axes.step(*zip(*corners, strict=True), where="post", color=GATED, linewidth=1.2, zorder=2)
    static = _best_static(panel)
    if len(static) > 1:
        axes.plot(*zip(*static, strict=True), color=LINE, linestyle=":", linewidth=1, zorder=1)
    surfaces = panel.attainment()
    for name, style in (("best seed", "--"), ("worst seed", "-.")):
        if name in surfaces:
            axes.step(surfaces[name][:, 0], surfaces[name][:, 1], where="post", color=GREY, linestyle=style, linewidth=0.8, zorder=1)


def _legend(axes: Axes, panel: Panel, states: list[str], below: int) -> None:
    """Beside the picture, where nothing is covered: what marks and lines mean, of those that occur."""
    marks = [("o", GATED, GATED, "on the front", "front" in states), ("o", "white", GATED, "tied: interval overlaps", "tied" in states),
             ("o", "white", GREY, f"dominated ({states.count('dominated')})", "dominated" in states),
             ("o", "white", GREY, "executes nothing", "constant" in states),
             ("s", "white", LINE, "square: static network", any(each.static for each in panel.points))]  # fmt: skip
    for mark, face, edge, text, occurs in marks:
        if occurs:
            axes.plot([], [], mark, markerfacecolor=face, markeredgecolor=edge, markersize=5.5, label=text)
    if panel.published:
        axes.plot([], [], "x", color=RIVAL, markersize=6, label="published, at the MACs claimed")
    if len(_best_static(panel)) > 1:
        axes.plot([], [], color=LINE, linestyle=":", linewidth=1, label="front of the static networks")
    if panel.attainment():
        seeds = max(len(each.by_seed) for each in panel.points)
        axes.plot([], [], color=GREY, linestyle="--", linewidth=0.8, label=f"reached by the best of {seeds} seeds")
        axes.plot([], [], color=GREY, linestyle="-.", linewidth=0.8, label=f"reached by each of {seeds} seeds")
    if below:
        axes.plot([], [], alpha=0, label=f"{below} far below {are(below)} not drawn")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=7, borderaxespad=0)


def _best_static(panel: Panel) -> list[tuple[float, float]]:
    """Cost and accuracy of the static networks that no other is both cheaper and better than, by cost."""
    static = replace(panel, points=[each for each in panel.points if each.static])
    states = static.states() if static.points else []
    return sorted((each.x, each.y) for each, state in zip(static.points, states, strict=True) if state == "front")


def _wrapped(text: str) -> str:
    """A name on lines of about the same length, as much as there is room for."""
    wrapped = textwrap.wrap(text, LABEL_WIDTH, max_lines=LABEL_LINES, placeholder=" …")
    even = textwrap.wrap(text, max(8, math.ceil(1.15 * len(text) / len(wrapped))), break_long_words=False)
    return "\n".join(even if len(even) <= len(wrapped) and max(map(len, even)) <= LABEL_WIDTH else wrapped)


def _costs_drawn(points: list[Point]) -> np.ndarray:
    """Both ends of every interval, but no further out than half of what the points span: two seeds can leave an interval very wide."""
    costs = np.array([point.x for point in points])
    beyond = np.ptp(costs) / 2 or np.inf
    return np.clip([end for point in points for end in (point.x_low, point.x_high)], costs.min() - beyond, costs.max() + beyond)


def _reach(values: Sequence[float], room: float) -> tuple[float, float]:
    """From the least to the most, with a share of that as room."""
    low, high = min(values), max(values)
    room *= (high - low) or 1.0
    return low - room, high + room
