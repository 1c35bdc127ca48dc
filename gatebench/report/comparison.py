"""Published beside measured: every table of the papers with our rows of the same networks, and what keeps the two from comparing."""

from .claims import audit_of
from .published import Line, Printed, Value, printed
from .published.audit import audit
from .quantities import mean, spread
from .results import Group
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


def _sheet(table: Printed, groups: list[Group]) -> Sheet:
    lines = []
    for line in table.lines:
        lines.append((line.label, "published", *(_shown(value) for value in line.values.values()), "", ""))
        found = [group for group in groups if line.match and group.matches(line.match)]
        if not found:
            lines.append((line.label, NOT_MEASURED if line.match else "nothing of ours compares", *("" for _ in line.values), "", ""))
        for group in found:
            lines += _measured(table, line, group)
    headings = ("row", "", *table.columns.values(), "comparable", "audit of ours")
    name = f"{table.paper}-{table.name}".lower().replace(" ", "-").replace(".", "-")
    return Sheet(name, f"{table.paper}, {table.name}: {table.title}", headings, lines, f"Source: {table.source}.")


def _measured(table: Printed, line: Line, group: Group) -> list[tuple[str, ...]]:
    """Two lines: our figures, and how far they are from the printed ones."""
    values = {key: mean(group, key) for key in line.values}
    shown = [_figure(group, key) for key in line.values]
    apart = ["" if _is_setting(key) else _difference(values[key], line.values[key]) for key in line.values]
    seeds = f"{len(group.seeds)} seed{'s' * (len(group.seeds) != 1)}"
    measured = any(each is not None for each in values.values())
    comparable = _comparable(table, group) if measured else "-"
    return [
        (line.label, f"measured: {group.label}, {group.row['dataset']}, {seeds}", *shown, comparable, audit_of(group)),
        (line.label, "difference", *apart, "", ""),
    ]


def _comparable(table: Printed, group: Group) -> str:
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


def _figure(group: Group, key: str) -> str:
    found = mean(group, key)
    if found is None:
        gates = key.startswith(("mean_gate", "skip_soft"))
        return "-" if gates and "skip_pct" not in group.row else NOT_MEASURED
    if _is_setting(key) or (key.endswith("epoch") and found == round(found)):
        return f"{found:g}"
    return spread(group, key, 3 if abs(found) < 2 else 2)


def _is_setting(key: str) -> bool:
    return "." in key and not key.startswith("shares_pct.")


def _shown(value: Value) -> str:
    return "-" if value is None else " to ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else f"{value:g}"


def _difference(ours: float | None, theirs: Value) -> str:
    return f"{ours - theirs:+.2f}" if ours is not None and isinstance(theirs, float) else ""
