"""The tables of results/blocks.md, and its picture: gates on the blocks of ResNet-20 and what they have to beat, CIFAR-10.

`Frontier` of gatebench.report.beside_static is what static networks reach; only those that were trained as long count.
"""

import re
from collections import Counter
from dataclasses import replace

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from pages import BATCHES, Parts, beside, compared, mean_ms, short, timed, usual_tables

from gatebench.figures import GATED, LINE, RIVAL, STYLE
from gatebench.report.agreement import seed_agreement
from gatebench.report.beside_static import Frontier, Member, Spot, beside_static_sheet, members
from gatebench.report.comparison import comparison_sheets
from gatebench.report.front import Panel, Point
from gatebench.report.front_figure import label
from gatebench.report.groups import Group, groups
from gatebench.report.quantities import mean, place_name, spread
from gatebench.report.results import Run
from gatebench.report.sheet import Cell, Heading, Sheet, make_sheet, text_of

DATA = "cifar10"
DEPTHS = 8, 14, 20, 26, 32, 44, 56
BASELINES = "random-skip", "stochastic-depth", "fixed-blocks"
GATES = "cosinegate", "skipnet", "convnet-aig", "blockdrop", "slat", "when-unsure"
MODELS = (*(f"resnet{depth}" for depth in DEPTHS), *BASELINES, *GATES)
PEERS = "skipnet", "slat"
"""Whose figures CosineGate prints; `hrl`, of 3 epochs, is beside them in the full table."""
PRINTED = {"accuracy": "accuracy %", "mean_gate_soft_pct": "blocks on (soft) %"}
PICTURE = "static-blocks.png"
ALIKE = "aggressive", "conservative", "sign-corrected", "curriculum"
"""CosineGate's recipes that end where `balanced` does, on its own page alone, and BlockDrop's first step."""
DECIDED_BY = re.compile(r" decided, .*?(?:parents\.network\.model=([a-z-]+)(?:.*?config=([a-z-]+))?.*|$)")
"""In the name of fixed blocks: the network whose blocks they are and its recipe, where it is not `predictive`."""
SHARED = re.compile(r", (budget weight 10|training\.schedule=one-cycle|training\.learning_rate=0\.2|bf16|fp32)(?=,|$)")
"""In the name of a network: what all have, and the precision, which is said apart."""
STATIC_IN = "bf16"
"""The precision in which the static networks were trained; others compare with none of them."""
KINDS = {"static": (LINE, "s"), "baseline": (RIVAL, "D"), "gate": (GATED, "o")}
"""Colour and mark of each kind of network."""
TICKS = 1, 1.5, 2, 3, 5, 7
"""Of a decade of costs."""
FAR = 7.0
"""Points of accuracy below the best from which on a network is not drawn."""
SAVINGS = (
    Heading("network", "network"), Heading("seeds", "seeds", digits=0),
    Heading("accuracy", "accuracy", "%", 2),
    Heading("macs_executed", "executed", "MACs", 2), Heading("latency_ms", "ms, batch 1", digits=2),
    *(Heading(f"speedup_{size}", f"speed-up, batch {size}", digits=2) for size in BATCHES),
    Heading("static_gain", "over static networks at equal MACs", "points", 2, signed=True),
    Heading("static_gain_latency", "at equal latency", "points", 2, signed=True),
)  # fmt: skip
WORTH = (
    Heading("network", "network"), Heading("seeds", "seeds", digits=0),
    Heading("adaptivity_gain", "over fixed blocks, same weights", "points", 2, signed=True),
    Heading("retrained_gain", "over its most used blocks, retrained", "points", 2, signed=True),
    Heading("matching_gain", "over decisions of other images", "points", 2, signed=True),
    Heading("patterns", "patterns", digits=0), Heading("pattern_entropy", "entropy", "bits", 2),
    Heading("loss_correlation", "correlation with the twin's loss", digits=2), Heading("seed_agreement", "seed agreement", digits=2),
)  # fmt: skip


def tables(runs: list[Run]) -> Parts:
    """What the page shows."""
    own = _own(runs)
    gains = _gains(own)
    printed = {sheet.name: sheet for sheet in comparison_sheets(groups(own))}
    return {
        "savings": savings(own, gains),
        "worth": worth(own, gains),
        "beside": beside([printed["cosinegate-table-3"]], PRINTED, lambda network: network.startswith(PEERS)),
    }


def full(runs: list[Run]) -> dict[str, list[Sheet]]:
    """What is linked."""
    own = _own(runs)
    return {**usual_tables("blocks", own), "blocks-beside-static": [beside_static_sheet(own, groups(own))]}


def savings(runs: list[Run], gains: dict[str, dict[str, Cell]]) -> Sheet:
    """A line for each network that was trained as the static ones are."""
    lines = []
    for group in _ordered(runs):
        if group.row["precision"] != STATIC_IN:
            continue
        at, gain = {size: timed(group, size) for size in BATCHES}, gains.get(group.label, {})
        lines.append((
            name(group.label), len(group.seeds), short(spread(group, "accuracy")), mean(group, "macs_executed"),
            mean_ms(at[1]), compared(at[1], "speedup"), mean(at[64], "speedup") if at[64].rows else None,
            *(gain.get(key) for key in ("static_gain", "static_gain_latency")),
        ))  # fmt: skip
    return make_sheet("savings", "Beside static networks", SAVINGS, lines)


def worth(runs: list[Run], gains: dict[str, dict[str, Cell]]) -> Sheet:
    """What deciding per input is worth, and how much of it the input explains: a line for each network with gates, of the seeds for which
    it was measured."""
    lines = []
    for group in _ordered(runs):
        pairs = [(run, row) for run, row in zip(group.runs, group.rows, strict=True) if "adaptivity_gain" in row]
        if not pairs:
            continue
        some = Group([run for run, _ in pairs], [row for _, row in pairs])
        other = "" if group.row["precision"] == STATIC_IN else f", {group.row['precision']}"
        lines.append((
            name(group.label) + other, len(some.seeds), compared(some, "adaptivity_gain"), _retrained(gains.get(group.label, {}), some),
            compared(some, "matching_gain"), *(mean(some, key) for key in ("patterns", "pattern_entropy", "loss_correlation")),
            seed_agreement(some),
        ))  # fmt: skip
    return make_sheet("worth", "What deciding for each image is worth", WORTH, lines)


def _retrained(gains: dict[str, Cell], group: Group) -> Cell | None:
    """The gain over its own blocks, retrained; which seeds it is of, where that are fewer."""
    gain, seeds = (gains.get(key) for key in ("retrained_gain", "retrained_seeds"))
    if gain is None or gain.empty or seeds.value == len(group.seeds):
        return gain
    (heading,) = (each for each in WORTH if each.name == "retrained_gain")
    return replace(gain, text=f"{text_of(gain, heading)}, seed {seeds.text}")


def kind(group: Group) -> str:
    """static, baseline or gate."""
    model = group.row["model"]
    return "gate" if model in GATES else "baseline" if model in BASELINES else "static"


def name(text: str) -> str:
    """Of a network, short."""
    decided = DECIDED_BY.sub(lambda found: " of " + (" ".join(filter(None, found.groups())) or "predictive"), text)
    return SHARED.sub("", decided).replace(" default", "").replace("losses.decision_entropy.weight=", "decision entropy ")


def picture(runs: list[Run]) -> Figure:
    """Accuracy against the time of one input, in the place where most networks were timed, and against executed MACs."""
    drawn = [run for run in _own(runs) if run.headline["recipe"] not in ALIKE]
    comparable = max(members(drawn, groups(drawn)), key=len)
    places = {where for each in comparable for where in each.timed}
    where = max(places, key=lambda where: (sum(where in each.timed for each in comparable), where))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 8.0))
        FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1, gridspec_kw={"left": 0.09, "right": 0.98, "top": 0.94, "bottom": 0.07, "hspace": 0.22})
        _draw(upper, [(each, each.timed[where]) for each in comparable if where in each.timed], 1.0, f"ms per image ({place_name(where)})")
        _draw(lower, [(each, each.spot) for each in comparable], 1e-6, "executed MACs per image (millions)")
        kinds = [each for each in KINDS if any(kind(member.group) == each for member in comparable)]
        handles = [upper.plot([], [], KINDS[each][1], color=KINDS[each][0], label=each)[0] for each in kinds]
        handles += upper.plot([], [], ":", color=LINE, label="static networks, mixed at random")
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.08, 0.995), ncols=4, frameon=False)
        return figure


def _draw(axes: Axes, spots: list[tuple[Member, Spot]], scale: float, cost: str) -> None:
    """Networks with their intervals and names, and the frontier of those that are static; without what lies far below."""
    least = max(spot.accuracy.value for _, spot in spots) - FAR
    drawn = [(member, spot, _point(spot, scale)) for member, spot in spots if spot.accuracy.value > least]
    corners = Frontier([spot for member, spot, _ in drawn if member.static]).corners
    at, reached = [scale * each.cost.value for each in corners], [each.accuracy.value for each in corners]
    along = np.linspace(at[0], max(point.x for *_, point in drawn), 400)
    axes.plot(along, np.interp(along, at, reached), ":", color=LINE, linewidth=1.2, zorder=1)
    marked = []
    for member, _, point in sorted(drawn, key=lambda each: (kind(each[0].group) != "gate", -each[2].y)):
        colour, mark = KINDS[kind(member.group)]
        ends = {"xerr": [[point.x - point.x_low], [point.x_high - point.x]], "yerr": [[point.y - point.y_low], [point.y_high - point.y]]}
        axes.errorbar(point.x, point.y, fmt=mark, color=colour, ecolor=colour, elinewidth=0.7, markersize=5, zorder=3, **ends)
        marked.append((point, colour))
    axes.set_xscale("log")
    axes.xaxis.set(major_locator=LogLocator(subs=TICKS), major_formatter=StrMethodFormatter("{x:g}"), minor_formatter=NullFormatter())
    axes.set(xlabel=cost, ylabel="accuracy (%)")
    label(axes, Panel("latency_ms", DATA, "test", None, [point for point, _ in marked], []), marked)


def _point(spot: Spot, scale: float) -> Point:
    cost, accuracy = spot.cost, spot.accuracy
    return Point(
        name(spot.label), *(scale * each for each in (cost.value, cost.low, cost.high)), accuracy.value, accuracy.low, accuracy.high
    )


def _gains(runs: list[Run]) -> dict[str, dict[str, Cell]]:
    """Cells of the sheet by network and column; of a network that was timed in several places, where most were."""
    sheet = beside_static_sheet(runs, groups(runs))
    lines = [dict(zip((heading.name for heading in sheet.headings), line, strict=True)) for line in (sheet.lines if sheet else ())]
    places = Counter(line["timed_on"].value for line in lines)
    return {line["network"].value: line for line in sorted(lines, key=lambda line: places[line["timed_on"].value])}


def _ordered(runs: list[Run]) -> list[Group]:
    """Kind by kind, of each the one with fewest MACs first."""
    shown = (group for group in groups(runs) if group.row["recipe"] not in ALIKE)
    return sorted(shown, key=lambda group: (list(KINDS).index(kind(group)), mean(group, "macs_executed")))


def _own(runs: list[Run]) -> list[Run]:
    """Without CosineGate as released, which was trained for five epochs and is on its own page."""
    rows = ((run, run.headline) for run in runs)
    return [run for run, row in rows if row["model"] in MODELS and row["dataset"] == DATA and row["recipe"] != "released"]
