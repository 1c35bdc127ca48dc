"""The picture that is the product: claimed, executed and realised saving of each network, over its static twin; from rows of times."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..figures import CLAIMED, EXECUTED, REALISED, STYLE, save
from ..runs import RunFolder
from ..words import counted
from .groups import Group, gather
from .quantities import in_order, interval, mean, place, place_name
from .results import Run, is_masked

NAME = "savings.png"
SERIES = (("claimed", "by the gates", CLAIMED), ("executed", "MACs", EXECUTED), ("realised", "time saved, 95 %", REALISED))
"""Name of a saving, what it is of, colour."""
MOST_ROWS = 24
"""Networks of one place that are drawn, those with most to say first: claimed and realised furthest apart."""
LEAST = -120.0
"""Percent at which a bar is cut; its number says how long it is."""
CUT = "... "
"""Before the number of a bar that is cut."""
LONGEST = 60
"""Characters of a line beside a bar."""
LINE_BREAK = "\n"
"""Between a network and its data set."""
ROW, AROUND = 0.46, 1.15
"""Inches of a network, and of title and axis."""


@dataclass(frozen=True)
class Savings:
    """What one network saves of its reference's cost, in percent; None: not claimed, not counted."""

    label: str
    claimed: float | None
    executed: float | None
    realised: float
    """In time."""
    realised_low: float
    """95 % interval."""
    realised_high: float
    rival: str

    @property
    def gap(self) -> float:
        """Percentage points between what is promised and what is saved in time."""
        return max(each for each in (self.claimed, self.executed, 0.0) if each is not None) - self.realised


def savings(rows: Sequence[dict]) -> dict[str, list[Savings]]:
    """Of rows of times with a speed-up, by the name of their place: only those of one place compare."""
    return _by_place(rows, lambda row: row, lambda members: [_of_row(row) for row in members])


def merged(runs: Sequence[Run]) -> dict[str, list[Savings]]:
    """The same of runs; those that differ in the seed alone are one, with the interval that fronts have."""
    timed = [(run, row) for run in runs for row in run.joined_times]
    return _by_place(timed, lambda member: member[1], lambda members: _of_groups(gather(members)))


def _by_place(members: Sequence, row_of: Callable, made_of: Callable) -> dict[str, list[Savings]]:
    """Masked execution, which computes everything, is left out."""
    places = defaultdict(list)
    for member in members:
        row = row_of(member)
        if "speedup" in row and not is_masked(row):
            places[place(row)].append(member)
    return {place_name(where): made_of(places[where]) for where in in_order(places)}


def _of_row(row: dict) -> Savings:
    times = _in_time(row["speedup"], row["speedup_low"], row["speedup_high"])
    return Savings(row["network"], row.get("timed_claimed_pct"), row.get("timed_saving_pct"), *times, row["rival"])


def _of_groups(groups: list[Group]) -> list[Savings]:
    several = len({group.row["dataset"] for group in groups}) > 1
    return [_of_group(group, f"{group.label}{LINE_BREAK}{group.row['dataset']}" if several else group.label) for group in groups]


def _of_group(group: Group, label: str) -> Savings:
    times = _in_time(mean(group, "speedup"), *interval(group, "speedup"))
    return Savings(label, mean(group, "timed_claimed_pct"), mean(group, "timed_saving_pct"), *times, group.row["rival"])


def _in_time(*speedups: float) -> tuple[float, ...]:
    """Percent of time saved."""
    return tuple(100 * (1 - 1 / each) for each in speedups)


def write(rows: Sequence[dict], folder: Path) -> Path | None:
    """savings.png in the folder; None where no row has a speed-up. Raises GatebenchError where the folder is not writable."""
    places = savings(rows)
    if not places:
        return None
    RunFolder(folder).write(NAME, lambda stream: save(figure(places), stream))
    return folder / NAME


def figure(places: dict[str, list[Savings]]) -> Figure:
    """A panel for each place, a row for each network, three bars a row; the zero line is what it is compared with."""
    drawn = {where: _chosen(members) for where, members in places.items()}
    messages = {where: message(members) + _shown_of(len(drawn[where]), len(members)) for where, members in places.items()}
    heights = [ROW * len(members) + AROUND for members in drawn.values()]
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(8.2, sum(heights)), layout="constrained")
        panels = made.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (where, members) in zip(panels, drawn.items(), strict=True):
            _draw(axes, messages[where], where, members)
        return made


def message(members: Sequence[Savings]) -> str:
    """What a panel shows, for its title."""
    faster = sum(each.realised_low > 0 for each in members)
    slower = sum(each.realised_high < 0 for each in members)
    if len(members) == 1:
        (only,) = members
        named = only.label.replace(LINE_BREAK, " on ")
        claim = f"claims {only.claimed:.0f} %, " if only.claimed is not None else ""
        if faster:
            return f"{named} {claim}saves {only.realised:.0f} % of the time"
        return f"{named} {claim}takes {max(1, round(-only.realised))} % more time" if slower else f"{named} {claim}may save time or not"
    return f"{faster} of {len(members)} networks save time, {counted(slower, 'takes', 'take')} more"


def _chosen(members: list[Savings]) -> list[Savings]:
    """At most `MOST_ROWS`, the largest saving in time first."""
    kept = sorted(members, key=lambda each: -each.gap)[:MOST_ROWS]
    return sorted(kept, key=lambda each: -each.realised)


def shortened(text: str) -> str:
    """Without its middle, where it is long: names differ at their ends."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def _shown_of(drawn: int, members: int) -> str:
    return f" ({drawn} are drawn)" if drawn < members else ""


def _draw(axes, title: str, where: str, members: list[Savings]) -> None:
    height = 0.8 / len(SERIES)
    for number, (name, _, colour) in enumerate(SERIES):
        for row, each in enumerate(members):
            value, at = getattr(each, name), row + (number - 1) * height
            if value is None:
                axes.text(0.6, at, "not claimed" if name == "claimed" else "not counted", va="center", fontsize=6.5, color="#666666")
                continue
            axes.barh(at, max(value, LEAST), 0.9 * height, color=colour)
            ends = (each.realised_low, each.realised_high) if name == "realised" else (value, value)
            if name == "realised":
                axes.plot([max(end, LEAST) for end in ends], [at, at], color="black", linewidth=1.2, solid_capstyle="butt")
            right = value >= 0
            edge = max(*ends, value) if right else max(min(*ends, value), LEAST)
            axes.annotate(
                f"{CUT * (value < LEAST)}{round(value) + 0:d} %", (edge, at), (3 if right else -3, 0), textcoords="offset points",
                ha="left" if right else "right", va="center", fontsize=6.5,
            )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    rivals = {each.rival for each in members}
    texts = [each.label if len(rivals) == 1 else f"{each.label}\nover {each.rival}" for each in members]
    labels = ["\n".join(shortened(text) for text in each.splitlines()) for each in texts]
    axes.set_yticks(range(len(members)), labels, fontsize=8)
    axes.set_ylim(len(members) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    over = rivals.pop() if len(rivals) == 1 else "what it is compared with"
    axes.set_xlabel(f"saving over {over}, %\n{where}", fontsize=8)
    axes.set_title(f"{title}\n", loc="left", fontsize=10, fontweight="bold", linespacing=1.4)
    handles = [matplotlib.patches.Patch(color=colour, label=f"{name} ({what})") for name, what, colour in SERIES]
    narrow = {"fontsize": 7, "ncols": 3, "handlelength": 1.2, "handletextpad": 0.5, "columnspacing": 1.0}
    axes.legend(handles=handles, loc="lower left", frameon=False, bbox_to_anchor=(0, 1.0), borderaxespad=0, **narrow)
