"""Operating points of runs that differ in the seed alone, together, with a label that tells them from all others."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..row import Column
from .results import Run

SETTING = ("dataset", "digest", "split", "device", "precision", "tradeoff", "policy", "severity", "execution", "rival")
"""Operating points that agree in these differ in the seed, or in the machine and its number of threads."""
BEHAVIOUR = ("accuracy", "macs_executed", "timed_macs_executed", "shares")
"""Budgets that lead to the same of these, for every seed, lead to the same operating point."""


@dataclass
class Group:
    """Operating points that differ in the seed (and the machine): one network, trained again and again."""

    runs: list[Run] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    label: str = ""
    """Model and recipe, the budgets where there is a choice, and what else tells it from others of that name."""
    budgets: tuple[float, ...] = ()
    """All budgets that led to this operating point: a larger one is not always used."""

    @property
    def row(self) -> dict:
        return self.rows[0]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Extra columns that tables show."""
        return tuple(column for column in self.runs[0].columns if column.heading)

    def matches(self, wanted: dict) -> bool:
        """Whether every value wanted is that of the row, or a setting of its model; a severity only where it is wanted."""
        if self.row.get("severity") != wanted.get("severity"):
            return False
        return all(
            self.row[key] == value if key in self.row else self.runs[0].setting(f"model.{key}") == value for key, value in wanted.items()
        )

    @property
    def seeds(self) -> list[int]:
        return sorted({row["seed"] for row in self.rows})


def percent(shares: Iterable[float]) -> str:
    """Shares as a text: "50, 65"."""
    return ", ".join(f"{100 * share:.0f}" for share in shares)


def groups(runs: Iterable[Run]) -> list[Group]:
    """The operating points of all runs, those of one setting and several seeds together.

    Of a run with many policies those of the headline's, at every budget; the others are in its rows and curves. A seed that was run twice
    (on two machines, say) does not count twice: the second one is in a group of its own.
    """
    return gather((run, row) for run in runs for row in run.points if row.get("policy") == run.headline.get("policy"))


def every_way(runs: Iterable[Run]) -> list[Group]:
    """Those of `groups`, and at the headline's budget every other way in which its rule was applied."""
    return gather(
        (run, row)
        for run in runs
        for row in run.points
        if row.get("policy") == run.headline.get("policy")
        or (row.get("tradeoff") == run.headline.get("tradeoff") and _rule(row) == _rule(run.headline))
    )


def _rule(row: dict) -> str:
    """Of a policy: what stands before the way."""
    return row.get("policy", "").partition(",")[0]


def gather(members: Iterable[tuple[Run, dict]]) -> list[Group]:
    """Rows that agree in all but seed and machine, together and with a label."""
    made, times_seen = defaultdict(Group), Counter()
    for run, row in members:
        setting = tuple(row.get(key) for key in SETTING)
        group = made[setting, times_seen[setting, row.get("seed")]]
        times_seen[setting, row.get("seed")] += 1
        group.runs.append(run)
        group.rows.append(row)
    different = _merge_budgets(made.values())
    _name(different)
    return different


def _merge_budgets(made: Iterable[Group]) -> list[Group]:
    """Groups of budgets that led to the same operating point, with every seed, as one."""
    alike: dict[tuple, list[Group]] = defaultdict(list)
    for group in made:
        setting = tuple(group.row.get(key) for key in SETTING if key != "tradeoff")
        same = tuple((run.name, *(str(row.get(key)) for key in BEHAVIOUR)) for run, row in zip(group.runs, group.rows, strict=True))
        alike[setting, same].append(group)
    for members in alike.values():
        members[0].budgets = tuple(sorted(group.row["tradeoff"] for group in members if "tradeoff" in group.row))
    return [first for first, *_ in alike.values()]


DIFFERENCES = {
    "epochs": lambda row: f"{row['epochs']} epochs",
    "changes": lambda row: ", ".join(row.get("changes", [])),
    "digest": lambda row: row["digest"],
    "device": lambda row: row.get("device", ""),
    "precision": lambda row: row.get("precision", ""),
    "machine": lambda row: row.get("machine", ""),
    "threads": lambda row: f"{row.get('threads')} threads",
    "rival": lambda row: f"over {row.get('rival')}",
}
"""In what groups of one label may differ, and how that is said."""


def _name(made: list[Group]) -> None:
    """Give every group its label; groups that would share one say in what they differ."""
    for group in made:
        group.label = _label(group)
    _distinguish(made, list(DIFFERENCES.items()))
    again = Counter((group.label, group.row["dataset"], group.row.get("split")) for group in made)
    for group in made:
        if again[group.label, group.row["dataset"], group.row.get("split")] > 1:  # a run that was trained anew beside the first
            seed = f"s{group.row['seed']}-"
            group.label += f", {group.runs[0].name.rpartition(seed)[2]}"


def _distinguish(made: list[Group], differences: list[tuple[str, Callable[[dict], str]]]) -> None:
    alike = defaultdict(list)
    for group in made:
        alike[group.label, group.row["dataset"], group.row.get("split")].append(group)
    for members in alike.values():
        if len(members) == 1 or not differences:
            continue
        (key, said), *others = differences
        if len({str(group.row.get(key)) for group in members}) > 1:
            for group in members:
                group.label = ", ".join(part for part in (group.label, said(group.row)) if part)
        _distinguish(members, others)


def _label(group: Group) -> str:
    row = group.row
    parts = [f"{row['model']} {row['recipe']}"]
    if group.budgets:
        parts.append(f"budget {percent(group.budgets)} %")
    parts += [row["severity"]] if "severity" in row else []
    parts += ["masked"] if row.get("execution") == "masked" else []
    return ", ".join(parts)
