"""Our networks' tables: what is claimed beside what was executed, at every budget, and what of it is realised in time.

Only rows of one table compare, so every data set, schedule and device has tables of its own, and for times every machine.
"""

import math
from collections import defaultdict

from . import latency_table
from .agreement import seed_agreement
from .declared import cell_of_group, cell_of_row, heading_of, shares_heading, shares_of_group, tradeoff_cell, tradeoff_heading
from .groups import BEHAVIOUR, Group, gather
from .quantities import mean, place, spread
from .results import Run
from .sheet import Cell, Heading, Sheet, make_sheet, text_of

COMPARABLE = ("dataset", "split", "severity", "epochs", "schedule", "device", "precision")
"""Rows that agree in these are in one table."""
SHOWN_APART = ("training.schedule", "training.learning_rate", "data.name")
"""Changes that the title of a table names."""
HEADINGS = (
    Heading("seeds", "seeds"),
    Heading("accuracy", "accuracy (last epoch)", "%", 2), Heading("accuracy_peak", "peak", "%", 2), Heading("f1", "F1", "%", 1),
    Heading("precision_macro", "precision", "%", 1), Heading("recall_macro", "recall", "%", 1),
    Heading("mean_gate_soft", "mean gate, soft", digits=3), Heading("mean_gate_hard", "mean gate, hard", digits=3),
    Heading("skip_pct", "claimed skip", "%", 1), Heading("macs_executed", "executed", "MACs", 2),
    Heading("macs_pct", "executed MACs", "%", 1), Heading("saved_pct", "executed saving", "%", 1),
    Heading("adaptivity_gain", "adaptivity gain", "points", 2, signed=True),
    Heading("seed_agreement", "seed agreement", digits=2),
)  # fmt: skip
AUDIT = Heading("audit", "audit")
NAMED = {"model", "recipe", "seed"}
"""Columns that rows of times lack where they are of no run."""


def point_sheets(groups: list[Group]) -> list[Sheet]:
    """A line for each network and trade-off, means over its seeds; static networks first, then by trade-off; references last."""
    settings = defaultdict(list)
    for group in groups:
        settings[tuple(group.row.get(key, "") for key in COMPARABLE), group.columns].append(group)
    ordered = sorted(settings.items(), key=lambda item: (item[0][0], [column.name for column in item[0][1]]))
    return [_points(f"points-{number}", setting, members) for number, ((setting, _), members) in enumerate(ordered, start=1)]


def realised_sheets(runs: list[Run]) -> list[Sheet]:
    """Times, and what the gates cost; accuracy beside them where the timed inputs are of those that were scored."""
    places = defaultdict(list)
    for run in runs:
        for row in [*run.joined_times, *run.joined_elsewhere]:
            places[place(row)].append((run, row))
    return latency_table.sheets([row for members in places.values() for row in _named(members)])


def _named(members: list[tuple[Run, dict]]) -> list[dict]:
    """Rows of times of one place, named as their operating points are in other tables: "router default intel-scenes s0, lambda 0.7"."""
    names = {}
    for group in gather((run, row) for run, row in members if row.keys() >= NAMED):
        for row in group.rows:
            name = f"{row['model']} {row['recipe']}"
            names[id(row)] = f"{name} {row['dataset']} s{row['seed']}{group.label.removeprefix(name)}"
    return [row | {"network": names.get(id(row), row["network"])} for _, row in members]


def findings_sheet(groups: list[Group]) -> Sheet | None:
    """What the audit found, in full; nothing where it found nothing."""
    lines = []
    for group in groups:
        seeds = defaultdict(list)
        for row in group.rows:
            for finding in row.get("audit", []):
                seeds[finding].append(row["seed"])
        lines += [(group.row["dataset"], group.label, seeds_cell(those), finding) for finding, those in seeds.items()]
    headings = [Heading(name, name) for name in ("data", "network", "seeds", "finding")]
    return make_sheet("findings", "What the audit found", headings, lines) if lines else None


def audit_of(group: Group) -> str | None:
    """The kinds of what the audit found in any of the runs, if any; an operating point beside the headline's is not audited, nor are
    images of one severity."""
    if "severity" in group.row:
        return None
    if not all("audit" in row for row in group.rows):
        return "not audited"
    kinds = (finding.partition(":")[0] for row in group.rows for finding in row.get("audit", []))
    return "; ".join(dict.fromkeys(kinds)) or None


def name_of(group: Group) -> str:
    """Model and recipe, and what is not as the recipe has it; a reference's own name."""
    row = group.row
    if "reference" in row:
        return row["reference"]
    notes = [change for change in group.changes if not change.startswith(SHOWN_APART)]
    if row["epochs"] != row.get("recipe_epochs", row["epochs"]):
        notes.insert(0, f"recipe: {row['recipe_epochs']} epochs")
    return f"{row['model']} {row['recipe']}" + (f" ({', '.join(notes)})" if notes else "")


def seeds_cell(seeds: list[int]) -> Cell:
    """People see which, "0, 1, 2", programs how many."""
    return Cell(len(seeds), text=", ".join(map(str, seeds)))


def _points(name: str, setting: tuple, members: list[Group]) -> Sheet:
    dataset, split, severity, epochs, schedule, device, precision = setting
    part = f"{split}, {severity}" if severity else split
    trained = f"{epochs} epochs, {schedule}" if epochs else "nothing trained"
    title = f"{dataset} ({part}), {trained}, {precision} on {str(device).upper()}"
    members = sorted(members, key=lambda group: (group.tradeoffs, group.row["adaptive"], name_of(group)))
    rows = [row for group in members for row in group.rows]
    shares, same = shares_heading(rows), _same_everywhere(members)
    columns = [column for column in members[0].columns if column.name not in same]
    extra = [heading_of(column, rows) for column in columns]
    tradeoff = tradeoff_heading(group.tradeoff for group in members if group.tradeoffs)
    lines = [
        (
            name_of(group), tradeoff_cell(tradeoff, group.tradeoff, group.tradeoffs), *_common(group), shares_of_group(shares, group),
            *(cell_of_group(column, heading, group) for column, heading in zip(columns, extra, strict=True)),
            None if "reference" in group.row else audit_of(group),
        )
        for group in (*members, *_references(members, severity))
    ]  # fmt: skip
    notes = [f"Audited is each run's headline, at the first {tradeoff.text} of its recipe."] * any("policy" in row for row in rows)
    notes += [f"{heading.shown}: {text_of(cell, heading)}." for heading, cell in same.values()]
    return make_sheet(name, title, (Heading("run", "run"), tradeoff, *HEADINGS, shares, *extra, AUDIT), lines, " ".join(notes))


def _references(members: list[Group], severity: str) -> list[Group]:
    """What these networks are compared with on images of this severity, each once."""
    made: dict[tuple, Group] = {}
    for run in (run for group in members for run in group.runs):
        for row in run.references:
            if row.get("severity", "") == severity:
                made.setdefault((row["reference"], *(str(row.get(key)) for key in BEHAVIOUR)), Group([run], [row]))
    return list(made.values())


def _same_everywhere(members: list[Group]) -> dict[str, tuple[Heading, Cell]]:
    """Heading and cell of the columns of runs in which all of several runs have one value: it is of what they share."""
    rows, made = [row for group in members for row in group.rows], {}
    for column in members[0].columns:
        value = rows[0].get(column.name)
        shared = column.of_run and value is not None and all(row.get(column.name) == value for row in rows)
        if shared and len({run.name for group in members for run in group.runs}) > 1:
            heading = heading_of(column, rows)
            made[column.name] = heading, cell_of_row(column, heading, rows[0])
    return made


def _mean_gates(group: Group) -> tuple[float | None, float | None]:
    """Soft and hard; nothing where every input has one of the destinations on: the mean is the same whatever is decided."""
    soft, hard = mean(group, "mean_gate_soft"), mean(group, "mean_gate_hard")
    one_hot = hard is not None and math.isclose(hard * len(group.row.get("shares", ())), 1)
    return (None, None) if one_hot else (soft, hard)


def _common(group: Group) -> tuple:
    return (
        None if "reference" in group.row else seeds_cell(group.seeds), spread(group, "accuracy"), mean(group, "accuracy_peak"),
        mean(group, "f1"), mean(group, "precision_macro"), mean(group, "recall_macro"), *_mean_gates(group),
        mean(group, "skip_pct"), mean(group, "macs_executed"),
        spread(group, "macs_pct") if group.tradeoffs and group.tradeoff.unit == "share" else None,  # beside a budget in the same unit
        mean(group, "saved_pct"), spread(group, "adaptivity_gain"), seed_agreement(group),
    )  # fmt: skip
