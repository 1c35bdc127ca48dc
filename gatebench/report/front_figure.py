"""The picture of a front, and its files: accuracy against cost, what nothing beats, and what the intervals say of the rest."""

import string
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ..figures import GATED, LINE, RIVAL, STYLE, save
from ..runs import RunFolder
from .front import AXES, Panel, Point

FORMATS = ("png", "svg")
GREY = "#888888"
NAMED = 16
"""Points that get a number and a name beside the picture: those on the front, from the cheapest on, then the most accurate tied ones."""
MOST_PANELS = 12
"""Drawn; the table has them all."""
WINDOW = 8
"""Points of accuracy below the best that are drawn; the front is drawn further down, to half of the best. A network far below does not
squeeze the others."""
WIDE = 10
"""Times the least cost from which on the axis of costs is logarithmic."""
BEATEN = "white", GREY, 0.6
MARKS_OF = {"constant": BEATEN, "dominated": BEATEN, "tied": ("white", GATED, 1.0), "front": (GATED, GATED, 1.0)}
"""Face, edge and opacity by state, in the order of drawing."""
LISTED = ("front", "tied")
LETTERS = string.ascii_lowercase[:12]
PLACES = [(4 + right, up) for right in (0, 12, 24) for up in (4, -10, 12, -18, 20, -26)]
PLACES += [(-left, up) for left in (14, 26) for up in (4, -10, 12, -18, 20, -26)]
"""Where a number may stand, in points from its point, the best place first."""
GAP, LINE_HEIGHT = 0.75, 0.14
"""Inches between panels, and of a line of the list beside one."""
LINE_LENGTH, MOST_LINES = 46, 3
"""Characters of a line of that list, and lines of a name in it."""


def front(panels: list[Panel]) -> Figure:
    """The panels, one below the other."""
    with matplotlib.rc_context(STYLE):
        heights = [_height(panel) for panel in panels[:MOST_PANELS]]  # laid out by hand: what lays out by itself draws everything twice
        total = sum(heights) + GAP * len(heights) + 0.25
        figure, top = Figure(figsize=(8.2, total)), total - 0.3
        for panel, height in zip(panels, heights, strict=False):
            _draw(figure.add_axes((0.1, (top - height) / total, 0.57, height / total)), panel)
            top -= height + GAP
        if len(panels) > MOST_PANELS:
            figure.text(0.08, 0.08 / total, f"{len(panels) - MOST_PANELS} panels more in the table", fontsize=8)
        return figure


def _height(panel: Panel) -> float:
    """Inches: as high as the list beside it at least."""
    named = [point.label for point, state in zip(panel.points, panel.states(), strict=True) if state in LISTED]
    lines = sorted((len(_lines_of(f"{NAMED}  {label}")) for label in named), reverse=True)[:NAMED]
    return max(2.9, LINE_HEIGHT * (10 + sum(lines) + min(len(LETTERS), len(panel.published))))


def write_fronts(shown: dict[str, list[Panel]], results: Path, out: Path | None) -> list[Path]:
    """pareto-<cost>.png and .svg in `results`, or `out`, a .png or .svg, with the cost in its name where there are several."""
    if out is None:
        wanted = [(cost, results / f"pareto-{cost}.{kind}") for cost in shown for kind in FORMATS]
    else:
        several = len(shown) > 1
        wanted = [(cost, out.with_stem(f"{out.stem}-{cost}") if several else out) for cost in shown]
    drawn = {cost: front(panels) for cost, panels in shown.items()}
    for cost, path in wanted:
        RunFolder(path.parent).write(path.name, lambda stream, cost=cost, kind=path.suffix[1:]: save(drawn[cost], stream, kind))
    return [path for _, path in wanted]


def _draw(axes, panel: Panel) -> None:
    best = max(point.y for point in panel.points)
    on_front = [point.y for point, state in zip(panel.points, panel.states(), strict=True) if state == "front" and point.y >= best / 2]
    least = min([best - WINDOW, *on_front])
    beyond = [each.label for each in (*panel.points, *panel.published) if each.y < least]
    states = [state for each, state in zip(panel.points, panel.states(), strict=True) if each.y >= least]
    points, published = ([each for each in members if each.y >= least] for members in (panel.points, panel.published))
    panel = replace(panel, points=points, published=published)
    on_front = sorted((index for index, state in enumerate(states) if state == "front"), key=lambda index: panel.points[index].x)
    tied = sorted((index for index, state in enumerate(states) if state == "tied"), key=lambda index: -panel.points[index].y)
    names = {index: str(number + 1) for number, index in enumerate([*on_front, *tied][:NAMED])}
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
    for point in panel.published[: len(LETTERS)]:
        axes.plot(point.x, point.y, "x", color=RIVAL, markersize=6, zorder=2)
    title = f"{AXES[panel.cost].title} ({'millions' if panel.cost == 'macs_executed' else AXES[panel.cost].unit})"
    axes.set_xlabel(title)
    scored_in = ", ".join(sorted({point.scored_in for point in panel.points if point.scored_in}))
    axes.set_ylabel(f"accuracy on {panel.dataset} ({panel.split}{f', scored in {scored_in}' if scored_in else ''}, %)")
    axes.set_title(panel.title, fontsize=9, loc="left")
    shown = [*panel.points, *panel.published]
    costs = [each.x for each in shown]
    if max(costs) > WIDE * min(costs) > 0:
        axes.set_xscale("log")
        axes.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(*10 ** np.array(_reach(np.log10(costs), 0.05)))
    else:
        axes.set_xlim(*_reach(_costs_drawn(shown), 0.05))
    axes.set_ylim(*_reach([end for each in shown for end in (each.y_low, each.y_high)], 0.05))
    marked = [(panel.points[index], text, LINE) for index, text in names.items()]
    _number(axes, [*marked, *((point, letter, RIVAL) for letter, point in zip(LETTERS, panel.published, strict=False))])
    _names(axes, panel, names, states, beyond)


def _number(axes, marked: list[tuple[Point, str, str]]) -> None:
    """Numbers and letters (with their colour) beside their points, each at the first place within the axes that no other covers."""
    per_point = 72 / axes.figure.dpi
    right = per_point * axes.bbox.x1
    spots = [per_point * axes.transData.transform((point.x, point.y)) for point, _, _ in marked]
    taken = [_box(spot - 3, 6, 6) for spot in spots]
    for (point, text, color), spot in zip(marked, spots, strict=True):
        boxes = {place: _box(spot + place, 4.5 * len(text), 7) for place in PLACES}
        free = [place for place, box in boxes.items() if box[1] < right and not any(_overlap(box, other) for other in taken)]
        place = (free or PLACES)[0]
        taken.append(boxes[place])
        axes.annotate(text, (point.x, point.y), place, textcoords="offset points", fontsize=7, color=color, zorder=4, annotation_clip=True)


def _box(corner: np.ndarray, width: float, height: float) -> tuple[float, float, float, float]:
    """Left, right, bottom, top, in points."""
    return corner[0], corner[0] + width, corner[1], corner[1] + height


def _overlap(first: tuple, second: tuple) -> bool:
    return first[0] < second[1] and second[0] < first[1] and first[2] < second[3] and second[2] < first[3]


def _lines(axes, panel: Panel, states: list[str]) -> None:
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


def _names(axes, panel: Panel, names: dict[int, str], states: list[str], beyond: list[str]) -> None:
    """Beside the picture, where nothing is covered: what the marks, numbers and letters mean."""
    marks = [("o", GATED, GATED, "on the front", "front" in states), ("o", "white", GATED, "tied: interval overlaps", "tied" in states),
             ("o", "white", GREY, f"dominated ({states.count('dominated')})", "dominated" in states),
             ("o", "white", GREY, "executes nothing", "constant" in states),
             ("s", "white", LINE, "square: static network", any(each.static for each in panel.points))]  # fmt: skip
    for mark, face, edge, text, occurs in marks:
        if occurs:
            axes.plot([], [], mark, markerfacecolor=face, markeredgecolor=edge, markersize=5.5, label=text)
    if panel.published:
        axes.plot([], [], "x", color=RIVAL, markersize=6, label="letters: published, at the MACs claimed")
    if len(_best_static(panel)) > 1:
        axes.plot([], [], color=LINE, linestyle=":", linewidth=1, label="front of the static networks")
    if panel.attainment():
        seeds = max(len(each.by_seed) for each in panel.points)
        axes.plot([], [], color=GREY, linestyle="--", linewidth=0.8, label=f"reached by the best of {seeds} seeds")
        axes.plot([], [], color=GREY, linestyle="-.", linewidth=0.8, label=f"reached by each of {seeds} seeds")
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=7, borderaxespad=0)
    lines = [line for index, number in names.items() for line in _lines_of(f"{number}  {panel.points[index].label}")]
    lines += [_short(f"{letter}  {point.label}") for letter, point in zip(LETTERS, panel.published, strict=False)]
    unnamed = sum(state in LISTED for state in states) - len(names)
    lines += [f"and {unnamed} more in the table"] if unnamed else []
    lines += [_short(f"below: {beyond[0] if len(beyond) == 1 else f'{len(beyond)} more'}")] if beyond else []
    top = 1.0 - 1.2 * LINE_HEIGHT / _height(panel) * len(legend.get_texts())
    axes.text(1.03, top, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7, linespacing=1.35)


def _best_static(panel: Panel) -> list[tuple[float, float]]:
    """Cost and accuracy of the static networks that no other is both cheaper and better than, by cost."""
    static = replace(panel, points=[each for each in panel.points if each.static])
    states = static.states() if static.points else []
    return sorted((each.x, each.y) for each, state in zip(static.points, states, strict=True) if state == "front")


def _lines_of(text: str) -> list[str]:
    """A name and its number, as much as there is room for."""
    return textwrap.wrap(text, LINE_LENGTH, subsequent_indent="     ", max_lines=MOST_LINES, placeholder=" …")


def _short(text: str) -> str:
    """As much as there is room for in a line."""
    return text if len(text) <= LINE_LENGTH else text[: LINE_LENGTH - 1] + "…"


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
