"""What stands on top of the page: three sentences made from the leaderboard and the fronts, and where runs were made."""

import statistics
from collections import Counter
from collections.abc import Sequence

from ...words import are, counted
from ..front import Panel, most_accurate
from ..front_words import sentence
from ..results import Run
from ..verdict import executed as executed_words
from .board import NOTHING, Entry, Timing

AS_ACCURATE = 2.0
"""Points of accuracy below the best network of a data set within which another is about as accurate."""


def conclusions(board: Sequence[Entry], timed_panels: Sequence[Panel]) -> list[str]:
    """The best saving realised, what claims a saving and does not realise it, and the most accurate under a budget of time."""
    timed = [(entry, each) for entry in board if entry.kind != "seed" for each in entry.times if each.speedup]
    if not timed:
        what = "Nothing with gates" if any(entry.times for entry in board) else "Nothing"
        return [*_claims(board), f"{what} was timed yet: `gatebench profile-latency` says what is realised in time."]
    return [_best(board, timed), *_unrealised(timed), *_under_a_budget(timed_panels)]


def where_made(runs: Sequence[Run]) -> str:
    """A sentence on the machines: "Timed on desk, 2 cores."."""
    timed = sorted({row["machine"] for run in runs for row in run.times})
    if timed:
        return f"Timed on {'; '.join(timed)}."
    trained = sorted({run.headline["machine"] for run in runs if "machine" in run.headline})
    return f"Trained on {'; '.join(trained)}; nothing was timed." if trained else "Nothing was timed."


def _best(board: Sequence[Entry], timed: list[tuple[Entry, Timing]]) -> str:
    """Of networks that are about as accurate as the best one of their data set; of all, where none of those saves time."""
    most: dict[str, float] = {}
    for entry in board:
        most[entry.dataset] = max(most.get(entry.dataset, 0.0), entry.accuracy[0])
    single = [(entry, each) for entry, each in timed if each.batch == 1] or timed
    near = [(entry, each) for entry, each in single if entry.accuracy[0] >= most[entry.dataset] - AS_ACCURATE and each.speedup[1] > 1]
    networks = Counter(entry.dataset for entry in board)
    rivalled = [item for item in near if networks[item[0].dataset] > 1]  # alone on its data, a network is always the most accurate
    entry, best = max(rivalled or near or single, key=lambda item: item[1].speedup[1])
    value, low, high = best.speedup
    if low <= 1:
        range_ = f"{low:.2f} to {high:.2f}"
        return f"No network saves time yet: {entry.label} comes closest, {value:.2f} times as fast as {best.over} ({range_})."
    seeds = entry.seeds_timed(best)
    none_near = f"of all networks (none within {AS_ACCURATE:g} points of the most accurate saves time)"
    among = f"within {AS_ACCURATE:g} points of the most accurate" if near else none_near
    there = f", where the best one reaches {most[entry.dataset]:.1f} %" if most[entry.dataset] > entry.accuracy[0] else ""
    return (
        f"Best saving of time {among}: {entry.label} takes "
        f"{100 * (1 - 1 / value):.0f} % less time than {best.over} "
        f"({100 * (1 - 1 / low):.0f} to {100 * (1 - 1 / high):.0f} %{f'; {seeds}' if seeds else ''}), at {entry.accuracy[0]:.1f} % on "
        f"{entry.dataset}{there}."
    )


def _unrealised(timed: list[tuple[Entry, Timing]]) -> list[str]:
    """How many of the networks that claim a saving are slower, how many are neither faster nor slower beyond chance, and the worst."""
    claiming: dict[int, tuple[Entry, Timing]] = {}
    for entry, each in timed:
        if (each.claimed or 0) >= NOTHING and each.batch == 1:
            claiming.setdefault(id(entry), (entry, each))  # the first, as the badge has it
    if not claiming:
        return []
    slower, inconclusive = ([item for item in claiming.values() if item[1].badge == badge] for badge in ("slower", "inconclusive"))
    claim = f"timed {'networks that claim' if len(claiming) > 1 else 'network that claims'} a saving"
    if not slower and not inconclusive:
        count = f"All {len(claiming)}" if len(claiming) > 1 else "The one"
        return [f"{count} {claim} {are(len(claiming))} faster than what {'they are' if len(claiming) > 1 else 'it is'} compared with."]
    entry, worst = max(slower or inconclusive, key=lambda item: item[1].claimed / 100 + 1 / item[1].speedup[0])
    value, low, high = worst.speedup
    executed = "" if worst.executed is None else f", {executed_words(worst.executed)}"
    verdicts = [f"{len(items)} {are(len(items))} {items[0][1].badge}" for items in (slower, inconclusive) if items]
    takes = f"{1 / value:.1f}" if slower else f"{1 / high:.2f} to {1 / low:.2f}"
    return [
        f"Of {len(claiming)} {claim} {' and '.join(verdicts)}: {entry.label} ({entry.dataset}) claims {worst.claimed:.0f} %{executed}, and "
        f"takes {takes} times the time of {worst.over}."
    ]


def _under_a_budget(panels: Sequence[Panel]) -> list[str]:
    """In the place with most networks, one input at a time, under the median of their times."""
    panels = [panel for panel in panels if panel.place["batch_size"] == 1 and len(panel.points) > 1]
    if not panels:
        return []
    panel = max(panels, key=lambda each: len(each.points))
    answer = most_accurate(panel, float(f"{statistics.median(point.x for point in panel.points):.2g}"))
    return [sentence(answer)] if answer.best else []


def _claims(board: Sequence[Entry]) -> list[str]:
    gated = [entry for entry in board if entry.kind != "seed" and entry.claimed is not None and entry.executed is not None]
    if not gated:
        return []
    best = max(gated, key=lambda entry: entry.executed)
    idle = sum(entry.untimed == "claims only" for entry in gated)
    saved = f"{best.executed:.0f} % fewer MACs than its static twin; it claims {best.claimed:.0f} %"
    most = f"Least work executed: {best.label} on {best.dataset}, {saved}."
    return [most, f"A saving is claimed and none executed by {idle} of {counted(len(gated), 'network')} with gates."]
