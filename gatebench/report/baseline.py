"""A method beside the training that it claims to beat, seed by seed: at the same trade-off, was it more accurate, and was it cheaper?"""

import statistics

from ..foreign import plain
from .claims import COMPARABLE, name_of, seeds_cell
from .declared import tradeoff_cell, tradeoff_heading
from .groups import Group
from .quantities import over_seeds, value_of
from .sheet import Cell, Heading, Sheet, make_sheet

QUANTITIES = ("accuracy", "macs_pct")
"""What is compared, in percent."""
MOST = 5
"""Baselines of one recipe."""
NAMES = (Heading("data", "data"), Heading("epochs", "epochs", digits=0), Heading("network", "network"), Heading("policy", "policy"))
HEADINGS = (
    Heading("seeds", "seeds"), Heading("baseline", "baseline"),
    Heading("accuracy", "accuracy", "%", 2), Heading("baseline_accuracy", "baseline's accuracy", "%", 2),
    Heading("accuracy_gain", "more accurate by", "points", 2, signed=True),
    Heading("macs_pct", "executed MACs", "%", 1), Heading("baseline_macs_pct", "baseline's MACs", "%", 1),
    Heading("macs_gain", "more MACs by", "points", 1, signed=True),
)  # fmt: skip
NOTHING = (None,) * (3 * len(QUANTITIES))


def baseline_sheet(groups: list[Group]) -> Sheet | None:
    """A line for each operating point whose recipe names baselines, and each of theirs at those trade-offs; nothing where none does.

    Means over the seeds that both have, and the mean of the differences within a seed with Student's 95 % interval. Rows of one severity
    of corruption are left out.
    """
    groups, lines = [group for group in groups if "severity" not in group.row], []
    tradeoff = tradeoff_heading(group.tradeoff for group in groups if group.tradeoffs and _baselines(group))
    for group in sorted(groups, key=_order):
        start = (group.row["dataset"], group.row["epochs"], name_of(group), group.row.get("policy"))
        for name in _baselines(group):
            rivals = [each for each in groups if each.row["recipe"] == name and _alike(each, group)]
            lines += [
                (*start, tradeoff_cell(tradeoff, group.tradeoff, _shared(group, rival)), *_beside(group, rival)) for rival in rivals
            ] or [(*start, tradeoff_cell(tradeoff, group.tradeoff, group.tradeoffs), Cell(absent="not measured"), name, *NOTHING)]
    note = "Differences in percentage points, seed by seed, with Student's 95 % interval over seeds."
    return make_sheet("baselines", "Beside the training that it is to beat", (*NAMES, tradeoff, *HEADINGS), lines, note) if lines else None


def _baselines(group: Group) -> list[str]:
    """The recipes that this one is to beat; of what is no name, nothing."""
    named = group.runs[0].setting("baseline")
    return [plain(each) for each in (named if isinstance(named, list) else [named])[:MOST] if isinstance(each, str)]


def _order(group: Group) -> tuple:
    """The headline's way at every trade-off, then the others."""
    row = group.row
    return (
        row["dataset"],
        row["epochs"],
        row.get("policy") != group.runs[0].headline.get("policy"),
        row.get("policy", ""),
        group.tradeoffs,
        group.label,
    )


def _alike(first: Group, second: Group) -> bool:
    """Whether two differ in their losses alone, at one trade-off or more that was chosen after training."""
    if any(first.row.get(key) != second.row.get(key) for key in (*COMPARABLE, "policy")):
        return False
    if any(first.runs[0].setting(part) != second.runs[0].setting(part) for part in ("model", "data")):
        return False
    ours, theirs = (set(each.row.get("changes", [])) for each in (first, second))
    if not all(change.startswith("losses.") for change in ours ^ theirs):
        return False
    return "policy" not in first.row or not first.tradeoffs or bool(_shared(first, second))


def _shared(first: Group, second: Group) -> tuple[float, ...]:
    """The trade-offs of both; of one that is a setting of the run, the first's own."""
    return tuple(value for value in first.tradeoffs if "policy" not in first.row or value in second.tradeoffs)


def _beside(group: Group, rival: Group) -> tuple:
    """Seeds, the rival's recipe, and for each quantity both means and the difference."""
    ours, theirs = _by_seed(group), _by_seed(rival)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return Cell(0, text="none in common"), name_of(rival), *NOTHING
    cells = [seeds_cell(seeds), name_of(rival)]
    for key in QUANTITIES:
        pairs = [(ours[seed][key], theirs[seed][key]) for seed in seeds]
        apart = [one - other for one, other in pairs]
        low, high = over_seeds(apart) if len(seeds) > 1 else (None, None)
        cells += [*(statistics.mean(each) for each in zip(*pairs, strict=True)), Cell(statistics.mean(apart), low, high)]
    return tuple(cells)


def _by_seed(group: Group) -> dict[int, dict[str, float]]:
    """The quantities of each seed that has them all."""
    rows = zip(group.runs, group.rows, strict=True)
    measured = {row["seed"]: {key: value_of(run, row, key) for key in QUANTITIES} for run, row in rows}
    return {seed: values for seed, values in measured.items() if None not in values.values()}
