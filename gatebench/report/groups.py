"""Operating points of runs that differ in the seed alone, together, with a label that tells them from all others."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..row import BUDGET, Column
from ..words import counted
from .results import Run, is_masked
from .sheet import SHOWN_UNITS

SETTING = ("dataset", "digest", "split", "device", "precision", "policy", "severity", "execution", "rival")
"""Operating points that agree in these, and in a trade-off that was chosen after training, differ in the seed, or in the machine and its
number of threads."""
BEHAVIOUR = ("accuracy", "macs_executed", "timed_macs_executed", "shares")
"""Trade-offs that lead to the same of these, for every seed, lead to the same operating point."""


@dataclass
class Group:
    """Operating points that differ in the seed (and the machine): one network, trained again and again."""

    runs: list[Run] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    label: str = ""
    """Model and recipe, the trade-off where it was chosen after training, and what else tells it from others of that name on the same
    part of the data."""
    tradeoffs: tuple[float, ...] = ()
    """All values of the trade-off that led to this operating point: a larger budget is not always used."""

    @property
    def row(self) -> dict:
        return self.rows[0]

    @property
    def part(self) -> tuple:
        """The images that were scored: data set, split and severity of corruption."""
        return tuple(self.row.get(key) for key in ("dataset", "split", "severity"))

    @property
    def changes(self) -> list[str]:
        """What was changed of the recipe, without its trade-off: tables show that apart."""
        tradeoff = f"{self.runs[0].setting('tradeoff')}="
        return [each for each in self.row.get("changes", []) if not each.startswith(tradeoff)]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Extra columns that tables show."""
        return shown_columns(self.runs[0].columns)

    @property
    def tradeoff(self) -> Column:
        """What its trade-off is."""
        return tradeoff_of(self.runs[0].columns)

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


def tradeoff_of(columns: Iterable[Column]) -> Column:
    """What the trade-off is, of the columns that a family declares; a budget where it does not say."""
    return next((column for column in columns if column.name == "tradeoff"), BUDGET)


def shown_columns(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Those that tables show besides the common ones, of which the trade-off is one."""
    return tuple(column for column in columns if column.heading and column.name != "tradeoff")


def tradeoff_text(column: Column, values: Iterable[float]) -> str:
    """ "budget 50, 65 %" or "lambda 0.9"; of more than two values, which ascend, "lambda 0.5 to 0.7"."""
    unit, scale = SHOWN_UNITS.get(column.unit, (column.unit, 1.0))
    texts = [f"{round(scale * value, 6):g}" for value in values]
    return f"{column.heading} {', '.join(texts) if len(texts) < 3 else f'{texts[0]} to {texts[-1]}'} {unit}".strip()


def groups(runs: Iterable[Run]) -> list[Group]:
    """The operating points of all runs, those of one setting and several seeds together.

    Of a run with many policies those of the headline's, at every budget, unless its family shows them all; the others are in its rows and
    curves. A seed that was run twice
    (on two machines, say) does not count twice: the second one is in a group of its own.
    """
    return gather((run, row) for run in runs for row in run.points if shows_all(run) or row.get("policy") == run.headline.get("policy"))


def every_way(runs: Iterable[Run]) -> list[Group]:
    """Those of `groups`, and at the headline's budget every other way in which its rule was applied."""
    return gather(
        (run, row)
        for run in runs
        for row in run.points
        if row.get("policy") == run.headline.get("policy")
        or (row.get("tradeoff") == run.headline.get("tradeoff") and _rule(row) == _rule(run.headline))
    )


def shows_all(run: Run) -> bool:
    """Whether tables have a line for each policy of a run, and not for the headline's alone."""
    return any(column.names_policy for column in run.columns)


def _rule(row: dict) -> str:
    """Of a policy: what stands before the way."""
    return row.get("policy", "").partition(",")[0]


def gather(members: Iterable[tuple[Run, dict]]) -> list[Group]:
    """Rows that agree in all but seed and machine, together and with a label."""
    made, times_seen = defaultdict(Group), Counter()
    for run, row in members:
        setting = (*(row.get(key) for key in SETTING), row.get("tradeoff") if "policy" in row else None)
        group = made[setting, times_seen[setting, row.get("seed")]]
        times_seen[setting, row.get("seed")] += 1
        group.runs.append(run)
        group.rows.append(row)
    different = _merge(made.values())
    _name(different)
    return different


def _merge(made: Iterable[Group]) -> list[Group]:
    """Groups of trade-offs that led to the same operating point, with every seed, as one."""
    alike: dict[tuple, list[Group]] = defaultdict(list)
    for group in made:
        setting = tuple(group.row.get(key) for key in SETTING)
        same = tuple((run.name, *(str(row.get(key)) for key in BEHAVIOUR)) for run, row in zip(group.runs, group.rows, strict=True))
        alike[setting, same].append(group)
    for members in alike.values():
        members[0].tradeoffs = tuple(sorted(group.row["tradeoff"] for group in members if "tradeoff" in group.row))
    return [first for first, *_ in alike.values()]


DIFFERENCES = {
    "policy": lambda group: group.row.get("policy", ""),
    "epochs": lambda group: f"{group.row['epochs']} epochs",
    "tradeoff": lambda group: tradeoff_text(group.tradeoff, group.tradeoffs) if group.tradeoffs else "",
    "changes": lambda group: ", ".join(group.changes),
    "device": lambda group: group.row.get("device", ""),
    "precision": lambda group: group.row.get("precision", ""),
    "digest": lambda group: group.row["digest"],
    "machine": lambda group: group.row.get("machine", ""),
    "threads": lambda group: counted(group.row["threads"], "thread") if "threads" in group.row else "",
    "rival": lambda group: f"over {group.row.get('rival')}",
}
"""In what groups of one label may differ, and how that is said."""


def _name(made: list[Group]) -> None:
    """Give every group its label; groups that would share one say in what they differ."""
    for group in made:
        group.label = _label(group)
    _distinguish(made, list(DIFFERENCES.items()))
    again = Counter((group.label, group.part) for group in made)
    for group in made:
        if again[group.label, group.part] > 1:  # a run that was trained anew beside the first
            seed = f"s{group.row['seed']}-"
            group.label += f", {group.runs[0].name.rpartition(seed)[2]}"


def _distinguish(made: list[Group], differences: list[tuple[str, Callable[[Group], str]]]) -> None:
    alike = defaultdict(list)
    for group in made:
        alike[group.label, group.part].append(group)
    for members in alike.values():
        if len(members) == 1 or not differences:
            continue
        (key, said), *others = differences
        if len({str(group.row.get(key)) for group in members}) > 1:
            for group in members:
                group.label = ", ".join(part for part in (group.label, said(group)) if part)
        _distinguish(members, others)


def _label(group: Group) -> str:
    row = group.row
    parts = [f"{row['model']} {row['recipe']}"]
    if group.tradeoffs and "policy" in row:
        parts.append(tradeoff_text(group.tradeoff, group.tradeoffs))
    parts += ["masked"] if is_masked(row) else []
    return ", ".join(parts)
