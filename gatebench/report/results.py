"""The finished runs below a folder, read for tables and figures: rows only, without torch, and never trusting what a file says.

A folder that is half-written, damaged, of another version or made to mislead is left out with one line that says so.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import GatebenchError, UsageError
from ..runs import RunFolder
from .reading import plain, read_epochs, read_recipe, read_rows

REQUIRED = ("model", "recipe", "digest", "dataset", "split", "seed", "epochs", "accuracy", "accuracy_low", "accuracy_high", "macs_executed")
"""Of an operating point."""
REQUIRED_OF_TIMES = (
    "model", "recipe", "digest", "seed", "network", "dataset", "machine", "device", "runtime", "threads", "batch_size", "execution",
    "latency_ms", "calls", "rounds", "noisy_rounds",
)  # fmt: skip
"""Of a row of times."""
SETTING = ("dataset", "digest", "split", "device", "precision", "tradeoff", "policy", "severity", "execution", "rival")
"""Operating points that agree in these differ in the seed, or in the machine and its number of threads."""


@dataclass(frozen=True)
class Run:
    """One finished run: its operating points, the headline first, and the rows of its times."""

    folder: RunFolder
    points: list[dict]
    times: list[dict]

    @property
    def headline(self) -> dict:
        return self.points[0]

    @property
    def name(self) -> str:
        return plain(self.folder.path.name)

    @cached_property
    def resolved(self) -> dict:
        """The resolved recipe; nothing where it cannot be read."""
        return read_recipe(self.folder / "recipe.yaml")

    @cached_property
    def epochs(self) -> list[dict]:
        """epochs.csv; nothing where it is missing or damaged."""
        return read_epochs(self.folder / "epochs.csv")

    def setting(self, key: str) -> Any:
        """A setting of the resolved recipe, as a.b.c; None where there is none."""
        content = self.resolved
        for part in key.split("."):
            content = content.get(part) if isinstance(content, dict) else None
        return content


@dataclass
class Group:
    """Operating points that differ in the seed (and the machine): one network, trained again and again."""

    runs: list[Run] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    label: str = ""
    """Model and recipe, the budgets where there is a choice, and what else tells it from others of that name."""
    budgets: tuple[float, ...] = ()
    """Those for which it runs just so, where its thresholds were chosen for a budget: a larger one is not always used."""

    @property
    def row(self) -> dict:
        return self.rows[0]

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


def read_runs(results: Path) -> tuple[list[Run], list[str]]:
    """Finished runs in a folder of run folders (or one alone), by name, and a line for each that was left out.

    Raises UsageError where there is no such folder.
    """
    if not results.is_dir():
        raise UsageError(f"There is no folder {results}. Name the folder that `gatebench train` writes to, such as results/.")
    runs, left_out, seen = [], [], set()
    for path in [results, *sorted(results.iterdir())]:
        if not path.is_dir() or not any((path / name).exists() for name in ("summary.json", "rows.jsonl", "recipe.yaml", "machine.json")):
            continue
        try:
            if path.resolve() in seen:
                raise GatebenchError("it is another one again")
            seen.add(path.resolve())
            runs.append(_read(path))
        except GatebenchError as error:
            left_out.append(f"{plain(path.name)}: {error}")
    return runs, left_out


def _read(path: Path) -> Run:
    if not (path / "summary.json").is_file():
        raise GatebenchError("it is not finished (summary.json is missing)")
    rows = read_rows(path / "rows.jsonl")
    points, times = ([row for row in rows if ("latency_ms" in row) == timed] for timed in (False, True))
    for row in points or [{}]:
        _require(row, (*REQUIRED, "tradeoff", "shares") if "thresholds" in row else REQUIRED, "a row")
    for row in times:
        _require(row, REQUIRED_OF_TIMES, "a row of its times")
    return Run(RunFolder(path), points, times)


def _require(row: dict, keys: tuple[str, ...], what: str) -> None:
    missing = [key for key in keys if key not in row]
    if missing:
        raise GatebenchError(f"{what} lacks {', '.join(missing)} (another version of gatebench?)")


def percent(shares: Iterable[float]) -> str:
    """Shares as a cell: "50, 65"."""
    return ", ".join(f"{100 * share:.0f}" for share in shares)


def groups(runs: Iterable[Run]) -> list[Group]:
    """The operating points of all runs, those of one setting and several seeds together.

    Of a run with many policies those of the headline's, at every budget; the others are in its rows and curves. Budgets that came to
    the same thresholds with every seed are one group. A seed that was run twice (on two machines, say) does not count twice: the second
    one is in a group of its own.
    """
    return gather((run, row) for run in runs for row in run.points if row.get("policy") == run.headline.get("policy"))


def every_way(runs: Iterable[Run]) -> list[Group]:
    """Those of `groups`, and at the headline's budget every other way in which its rule got thresholds."""
    return gather(
        (run, row)
        for run in runs
        for row in run.points
        if row.get("policy") == run.headline.get("policy")
        or (row.get("tradeoff") == run.headline.get("tradeoff") and _rule(row) == _rule(run.headline))
    )


def _rule(row: dict) -> str:
    """Of a policy: what stands before the way."""
    return str(row.get("policy", "")).partition(",")[0]


def gather(members: Iterable[tuple[Run, dict]]) -> list[Group]:
    """Rows that agree in all but seed and machine, together and with a label."""
    found, times_seen = defaultdict(Group), Counter()
    for run, row in members:
        setting = tuple(row.get(key) for key in SETTING)
        group = found[setting, times_seen[setting, row.get("seed")]]
        times_seen[setting, row.get("seed")] += 1
        group.runs.append(run)
        group.rows.append(row)
    different = _once(found.values())
    _name(different)
    return different


def _once(found: Iterable[Group]) -> list[Group]:
    """Budgets for which a network ran alike, with every seed, as one group."""
    alike: dict[tuple, list[Group]] = defaultdict(list)
    for group in found:
        setting = tuple(group.row.get(key) for key in SETTING if key != "tradeoff" or "thresholds" not in group.row)
        same = tuple((run.name, str(row.get("thresholds")), row["accuracy"]) for run, row in zip(group.runs, group.rows, strict=True))
        alike[setting, same].append(group)
    for members in alike.values():
        members[0].budgets = tuple(sorted(group.row["tradeoff"] for group in members if "tradeoff" in group.row))
    return [first for first, *_ in alike.values()]


WAYS = {
    "epochs": lambda row: f"{row.get('epochs')} epochs",
    "changes": lambda row: ", ".join(map(str, row.get("changes", []))),
    "digest": lambda row: row["digest"],
    "device": lambda row: row.get("device", ""),
    "precision": lambda row: row.get("precision", ""),
    "machine": lambda row: row.get("machine", ""),
    "threads": lambda row: f"{row.get('threads')} threads",
    "rival": lambda row: f"over {row.get('rival')}",
}
"""In what groups of one label may differ, and how that is said."""


def _name(found: list[Group]) -> None:
    """Give every group its label; groups that would share one also say in what they differ."""
    for group in found:
        group.label = _label(group)
    _tell_apart(found, list(WAYS.items()))


def _tell_apart(found: list[Group], ways: list[tuple[str, Callable[[dict], str]]]) -> None:
    alike = defaultdict(list)
    for group in found:
        alike[group.label, group.row["dataset"], group.row.get("split")].append(group)
    for members in alike.values():
        if len(members) == 1 or not ways:
            continue
        (key, said), *others = ways
        if len({str(group.row.get(key)) for group in members}) > 1:
            for group in members:
                group.label = ", ".join(part for part in (group.label, said(group.row)) if part)
        _tell_apart(members, others)


def _label(group: Group) -> str:
    row = group.row
    parts = [f"{row['model']} {row['recipe']}"]
    if group.budgets:
        parts.append(f"budget {percent(group.budgets)} %")
    parts += [row["severity"]] if "severity" in row else []
    parts += ["masked"] if row.get("execution") == "masked" else []
    return ", ".join(parts)
