"""Published beside measured: every table of the papers with our rows of the same networks, and what keeps the two from comparing."""

import math
import statistics
from collections.abc import Callable

from scipy.special import stdtrit

from .published import Line, Printed, Value, printed
from .published.audit import audit
from .results import Group, Run
from .sheet import Sheet

NOT_MEASURED = "not measured"


def comparison_sheets(groups: list[Group]) -> list[Sheet]:
    """One sheet for each published table: what is printed, what was measured, and the difference."""
    return [_sheet(table, groups) for table in printed()]


def audit_sheet() -> Sheet:
    """What does not come out when the papers' figures are recomputed from each other."""
    lines = [
        (each.paper, each.where, each.what, f"{each.printed:g}", f"{each.recomputed:.4g}", each.how) for each in audit()
    ]  # fmt: skip
    headings = ("paper", "where", "what", "printed", "recomputed", "from")
    return Sheet("published-audit", "Published figures that contradict each other", headings, lines)


def claims_sheet(groups: list[Group]) -> Sheet:
    """Every network of ours: claimed and executed saving, with the audit's findings beside it."""
    lines = []
    for group in sorted(groups, key=lambda group: (group.row["dataset"], group.row["epochs"], group.label)):
        if not group.is_headline:
            continue
        row = group.row
        lines.append(
            (
                row["dataset"], group.label, f"{row['epochs']}" + _of(row), ", ".join(map(str, group.seeds)), spread(group, "accuracy", 2),
                spread(group, "skip_soft_pct", 1), spread(group, "skip_pct", 1), spread(group, "saved_pct", 1),
                "; ".join(dict.fromkeys(finding for each in group.rows for finding in each.get("audit", []))) or "-",
            )
        )  # fmt: skip
    headings = ("data", "network", "epochs", "seeds", "accuracy %", "claimed: soft gates off %", "claimed: units off %",
                "executed saving %", "audit")  # fmt: skip
    return Sheet("claims", "Claimed beside executed", headings, lines, "Accuracy of the last epoch on the scored split.")


def realised_sheets(runs: list[Run]) -> list[Sheet]:
    """Claimed, executed and realised, a sheet for each place: times of two machines are never in one."""
    places: dict[tuple, list[tuple[Run, dict]]] = {}
    for run in runs:
        for row in run.times:
            places.setdefault(place(row), []).append((run, row))
    sheets = []
    for number, (where, members) in enumerate(sorted(places.items(), key=lambda item: tuple(map(str, item[0])))):
        lines = [
            (
                str(row.get("network", run.name)), one(row, "timed_claimed_pct", 1), one(row, "timed_saving_pct", 1),
                one(row, "realised", 2) if "realised" in row or "timed_saving_pct" not in row else "no saving",
                one(row, "latency_ms", 3), one(row, "speedup", 3), row.get("rival", "-"),
            )
            for run, row in sorted(members, key=lambda member: (member[1].get("dataset", ""), str(member[1].get("network"))))
        ]  # fmt: skip
        headings = ("network", "claimed skip %", "executed saving %", "realised (95 %)", "ms (95 %)", "speed-up (95 %)", "over")
        sheets.append(Sheet(f"realised-{number + 1}", f"Claimed, executed, realised: {place_name(where)}", headings, lines))
    return sheets


def place(row: dict) -> tuple:
    """Where a time was taken; only those of one place compare."""
    return tuple(row.get(key, "?") for key in ("machine", "device", "runtime", "threads", "batch_size"))


def place_name(where: tuple) -> str:
    machine, device, runtime, threads, batch_size = where
    return f"{machine}; {device}, {runtime}, {threads} thread{'s' * (threads != 1)}, batch {batch_size}"


def _sheet(table: Printed, groups: list[Group]) -> Sheet:
    lines = []
    for line in table.lines:
        lines.append((line.label, "published", *(_shown(value) for value in line.values.values()), "", ""))
        found = [group for group in groups if line.match and _matches(group, line.match)]
        if not found:
            lines.append((line.label, NOT_MEASURED if line.match else "-", *("" for _ in line.values), "", ""))
        for group in found:
            lines += _measured(table, line, group)
    headings = ("row", "", *table.columns.values(), "comparable", "audit of ours")
    name = f"{table.paper}-{table.name}".lower().replace(" ", "-").replace(".", "-")
    return Sheet(name, f"{table.paper}, {table.name}: {table.title}", headings, lines, f"Source: {table.source}.")


def _measured(table: Printed, line: Line, group: Group) -> list[tuple[str, ...]]:
    """Two lines: our figures, and how far they are from the printed ones."""
    values = {key: mean(group, key) for key in line.values}
    shown = [_figure(group, key) for key in line.values]
    apart = [_difference(values[key], line.values[key]) for key in line.values]
    seeds = f"{len(group.seeds)} seed{'s' * (len(group.seeds) != 1)}"
    findings = "; ".join(dict.fromkeys(finding for row in group.rows for finding in row.get("audit", [])))
    return [
        (line.label, f"measured: {group.label}, {group.row['dataset']}, {seeds}", *shown, _comparable(table, line, group), findings or "-"),
        (line.label, "difference", *apart, "", ""),
    ]


def _comparable(table: Printed, line: Line, group: Group) -> str:
    """Whether data, split, epochs and settings are those of the paper; if not, what differs."""
    row, reasons = group.row, []
    if table.unsaid:
        reasons.append(f"the paper does not say {table.unsaid}")
    if row["split"] != "test":
        reasons.append(f"scored on {row['split']}")
    wanted = table.epochs
    if wanted and row["epochs"] != wanted:
        reasons.append(f"{row['epochs']} epochs, not {wanted}")
    elif row["epochs"] < row.get("recipe_epochs", 0):
        reasons.append(f"{row['epochs']} of the recipe's {row['recipe_epochs']} epochs")
    changes = row.get("changes", [])
    if changes:
        reasons.append("changed: " + ", ".join(map(str, changes)))
    return "no: " + "; ".join(reasons) if reasons else "yes"


def _matches(group: Group, match: dict) -> bool:
    """Every value asked for is that of the row, or a setting of its model."""
    return all(
        group.row[key] == value if key in group.row else group.runs[0].setting(f"model.{key}") == value for key, value in match.items()
    )


def mean(group: Group, key: str) -> float | None:
    """The mean over the group's runs; None where one of them has not measured it."""
    values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
    return None if any(value is None for value in values) else statistics.mean(values)


def interval(group: Group, key: str) -> tuple[float, float] | None:
    """The 95 % interval: Student's over seeds where there are several, the row's own where there is one."""
    values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
    if any(value is None for value in values):
        return None
    if len(values) > 1:
        half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
        return statistics.mean(values) - half, statistics.mean(values) + half
    low, high = (group.row.get(f"{key}_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def value_of(run: Run, row: dict, key: str) -> float | None:
    """A quantity of a row: a column of it, derived from its columns, an entry of a list (shares_pct.0), or a setting of its recipe."""
    if key in DERIVED:
        return DERIVED[key](run, row)
    if key.startswith("shares_pct."):
        number, shares = int(key.rpartition(".")[2]), row.get("shares", [])
        return 100 * shares[number] if number < len(shares) else None
    found = run.setting(key) if "." in key else row.get(key)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _times_100(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * row[key] if key in row else None


def _rest(key: str) -> Callable[[Run, dict], float | None]:
    return lambda run, row: 100 * (1 - row[key]) if key in row else None


def _rest_at_peak(run: Run, row: dict) -> float | None:
    gates = [line.get("mean_gate_soft") for line in run.epochs() if line["epoch"] == row.get("peak_epoch")]
    return 100 * (1 - gates[0]) if gates and isinstance(gates[0], float) else None


DERIVED: dict[str, Callable[[Run, dict], float | None]] = {
    "skip_soft_pct": _rest("mean_gate_soft"),
    "skip_soft_pct_epoch_100": _rest("mean_gate_soft_epoch_100"),
    "skip_soft_pct_peak": _rest_at_peak,
    "mean_gate_soft_pct": _times_100("mean_gate_soft"),
    "saved_pct": _rest("macs_ratio"),
}
"""Quantities that papers print and our rows hold in another form."""


def spread(group: Group, key: str, digits: int) -> str:
    """Mean and standard deviation over seeds; with one seed the value and its own interval, if it has one."""
    middle, ends = mean(group, key), interval(group, key)
    if middle is None:
        return "-"
    if len(group.rows) > 1:
        values = [value_of(run, row, key) for run, row in zip(group.runs, group.rows, strict=True)]
        return f"{middle:.{digits}f} ± {statistics.stdev(values):.{digits}f}"
    return f"{middle:.{digits}f}" + (f" ({ends[0]:.{digits}f}-{ends[1]:.{digits}f})" if ends else "")


def one(row: dict, key: str, digits: int) -> str:
    """A value of one row with its interval."""
    if key not in row:
        return "-"
    ends = f" ({row[f'{key}_low']:.{digits}f}-{row[f'{key}_high']:.{digits}f})" if {f"{key}_low", f"{key}_high"} <= set(row) else ""
    return f"{row[key]:.{digits}f}{ends}"


def _figure(group: Group, key: str) -> str:
    found = mean(group, key)
    if found is None:
        gates = key.startswith(("mean_gate", "skip_soft"))
        return "-" if gates and "skip_pct" not in group.row else NOT_MEASURED
    if found == round(found) and (key.endswith("epoch") or "." in key):
        return f"{found:g}"
    return f"{found:g}" if "." in key and not key.startswith("shares") else spread(group, key, 3 if abs(found) < 2 else 2)


def _shown(value: Value) -> str:
    return "-" if value is None else " to ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"


def _difference(ours: float | None, theirs: Value) -> str:
    return f"{ours - theirs:+.2f}" if ours is not None and isinstance(theirs, float) else ""


def _of(row: dict) -> str:
    own = row.get("recipe_epochs", row["epochs"])
    return f" of {own}" if own != row["epochs"] else ""
