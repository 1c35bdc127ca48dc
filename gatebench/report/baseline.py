"""A method beside the training that it claims to beat, seed by seed: at the same budget, was it more accurate, and was it cheaper?"""

import statistics

from .claims import COMPARABLE, name_of
from .quantities import over_seeds, value_of
from .reading import plain
from .results import Group, percent
from .sheet import Sheet

QUANTITIES = {"accuracy": 2, "macs_pct": 1}
"""What is compared, in percent, and its digits."""
MOST = 5
"""Baselines of one recipe."""


def baseline_sheet(groups: list[Group]) -> Sheet | None:
    """A line for each operating point whose recipe names baselines, and each of theirs at those budgets; nothing where none does.

    Means over the seeds that both have, and the mean of the differences within a seed with Student's 95 % interval.
    """
    lines = []
    for group in sorted(groups, key=_order):
        start = (group.row["dataset"], str(group.row["epochs"]), name_of(group), group.row.get("policy", ""))
        for name in _baselines(group):
            rivals = [each for each in groups if each.row["recipe"] == name and _alike(each, group)]
            lines += [(*start, *_beside(group, rival)) for rival in rivals] or [
                (*start, percent(group.budgets), "", name, "not measured", "", "", "")
            ]
    headings = (
        "data", "epochs", "network", "leaving by", "budget %", "seeds", "baseline", "accuracy %", "more accurate by", "executed MACs %",
        "more MACs by",
    )  # fmt: skip
    note = "Differences in percentage points, seed by seed, with Student's 95 % interval over seeds."
    return Sheet("baselines", "Beside the training that it is to beat", headings, lines, note) if lines else None


def _baselines(group: Group) -> list[str]:
    """The recipes that this one is to beat; of what is no name, nothing."""
    named = group.runs[0].setting("baseline")
    return [plain(each) for each in (named if isinstance(named, list) else [named])[:MOST] if isinstance(each, str)]


def _order(group: Group) -> tuple:
    """The headline's way at every budget, then the others."""
    row = group.row
    return (
        row["dataset"],
        row["epochs"],
        row.get("policy") != group.runs[0].headline.get("policy"),
        row.get("policy", ""),
        group.budgets,
        group.label,
    )


def _alike(first: Group, second: Group) -> bool:
    """Whether two differ in how they were trained alone, at one budget or more."""
    if any(first.row.get(key) != second.row.get(key) for key in (*COMPARABLE, "policy")):
        return False
    if any(first.runs[0].setting(part) != second.runs[0].setting(part) for part in ("model", "data")):
        return False
    ours, theirs = (set(map(str, each.row.get("changes", []))) for each in (first, second))
    if not all(change.startswith("objective.") for change in ours ^ theirs):
        return False
    return not first.budgets or bool(_common(first, second))


def _common(first: Group, second: Group) -> list[float]:
    """The budgets that are those of both."""
    return [budget for budget in first.budgets if budget in second.budgets]


def _beside(group: Group, rival: Group) -> tuple[str, ...]:
    """The budgets of both, seeds, the rival's recipe, and for each quantity both means and the difference."""
    ours, theirs = _by_seed(group), _by_seed(rival)
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        return percent(_common(group, rival)), "", name_of(rival), "no seed in common", "", "", ""
    cells = [percent(_common(group, rival)), ", ".join(map(str, seeds)), name_of(rival)]
    for key, digits in QUANTITIES.items():
        pairs = [(ours[seed][key], theirs[seed][key]) for seed in seeds]
        first, second = (statistics.mean(each) for each in zip(*pairs, strict=True))
        apart = [one - other for one, other in pairs]
        ends = "" if len(seeds) == 1 else " ({:+.{d}f} to {:+.{d}f})".format(*over_seeds(apart), d=digits)
        cells += [f"{first:.{digits}f} / {second:.{digits}f}", f"{statistics.mean(apart):+.{digits}f}{ends}"]
    return tuple(cells)


def _by_seed(group: Group) -> dict[int, dict[str, float]]:
    """The quantities of each seed that has them all."""
    rows = zip(group.runs, group.rows, strict=True)
    found = {row["seed"]: {key: value_of(run, row, key) for key in QUANTITIES} for run, row in rows}
    return {seed: values for seed, values in found.items() if None not in values.values()}
