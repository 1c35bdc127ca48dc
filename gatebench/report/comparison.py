"""Published beside measured: every table of the papers with our rows of the same networks, and what keeps the two from comparing."""

from .claims import audit_of
from .groups import Group
from .published import Line, Printed, Value, printed
from .published.audit import audit
from .quantities import TIMED, mean, spread, times_of
from .sheet import Cell, Heading, Sheet, make_sheet, slug

NOT_MEASURED = "not measured"
NOTHING = Cell(absent="")
BEFORE = (
    Heading("row", "row"), Heading("source", "source"), Heading("network", "network"), Heading("data", "data"),
    Heading("seeds", "seeds", digits=0),
)  # fmt: skip
AFTER = (Heading("comparable", "comparable"), Heading("audit", "audit of ours"))


def comparison_sheets(groups: list[Group]) -> list[Sheet]:
    """One sheet for each published table: what is printed, what was measured, and the difference."""
    return [_sheet(table, groups) for table in printed()]


def audit_sheet() -> Sheet:
    """What does not come out when the papers' figures are recomputed from each other."""
    headings = [Heading(name, name) for name in ("paper", "where", "what", "printed", "recomputed", "from")]
    lines = [(each.paper, each.where, each.what, each.printed, float(f"{each.recomputed:.4g}"), each.how) for each in audit()]
    return make_sheet("published-audit", "Published figures that contradict each other", headings, lines)


def _sheet(table: Printed, groups: list[Group]) -> Sheet:
    lines = []
    for line in table.lines:
        empty = [NOTHING] * len(line.values)
        lines.append(_line(line, "published", map(_published, line.values.values())))
        measured = [group for group in groups if line.match and group.matches(line.match)]
        if not measured:
            lines.append(_line(line, NOT_MEASURED if line.match else "nothing of ours compares", empty))
        for group in measured:
            lines += _measured(table, line, group)
    headings = (*BEFORE, *(Heading(_name(key), text) for key, text in table.columns.items()), *AFTER)
    title = f"{table.paper}, {table.name}: {table.title}"
    note = f"Source: {table.source}. {table.note}".strip()
    return make_sheet(slug(f"{table.paper}-{table.name}").lower().replace(".", "-"), title, headings, lines, note)


def _line(line: Line, source: str, values, before=(NOTHING,) * 3, after=(NOTHING,) * 2) -> tuple:
    return (line.label, source, *before, *values, *after)


def _measured(table: Printed, line: Line, group: Group) -> list[tuple]:
    """Two lines: our figures, and how far they are from the printed ones."""
    ours = {key: line.ours.get(key, key) for key in line.values}
    members = {key: _timed(group) if own in TIMED else group for key, own in ours.items()}
    values = {key: mean(members[key], own) if own and members[key].rows else None for key, own in ours.items()}
    measured = any(each is not None for each in values.values())
    timed = min(len(each.seeds) for each in members.values()) or len(group.seeds)
    seeds = Cell(len(group.seeds), text=f"{len(group.seeds)}, {timed} timed" if timed != len(group.seeds) else "")
    before = (group.label, group.row["dataset"], seeds)
    after = (_comparable(table, group) if measured else None, audit_of(group))
    differences = [NOTHING if _is_setting(key) else _difference(values[key], line.values[key]) for key in line.values]
    figures = [_figure(members[key], own, values[key]) if own else NOTHING for key, own in ours.items()]
    return [
        _line(line, "measured", figures, before, after),
        _line(line, "difference", differences, before),
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
    if group.changes:
        reasons.append("changed: " + ", ".join(group.changes))
    reasons += [table.differs] if table.differs else []
    return "no: " + "; ".join(reasons) if reasons else "yes"


def _timed(group: Group) -> Group:
    """Those of its runs that were timed, their times in their rows."""
    members = [(run, row | times_of(run, row)) for run, row in zip(group.runs, group.rows, strict=True)]
    members = [(run, row) for run, row in members if "latency_ms" in row]
    return Group([run for run, _ in members], [row for _, row in members])


def _figure(group: Group, key: str, value: float | None) -> Cell:
    if value is None:
        gates = key.startswith(("mean_gate", "skip_soft"))
        return Cell(absent="-" if gates and not group.row["adaptive"] else NOT_MEASURED)
    if _is_setting(key) or (key.endswith("epoch") and value == round(value)):
        return Cell(value)
    return spread(group, key, digits=3 if abs(value) < 2 else 2)


def _is_setting(key: str) -> bool:
    return "." in key and not key.rpartition(".")[2].isdigit()


def _name(key: str) -> str:
    """For programs."""
    return key.replace(".", "_")


def _published(value: Value) -> Cell:
    return Cell(low=value[0], high=value[1]) if isinstance(value, tuple) else Cell(value)


def _difference(ours: float | None, theirs: Value) -> Cell:
    if ours is None or not isinstance(theirs, float):
        return NOTHING
    return Cell(ours - theirs, digits=2, signed=True)
