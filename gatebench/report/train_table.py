"""What `train` prints of finished runs, from plain rows: what is claimed beside what is executed."""

from rich.console import Console

from ..row import Column
from ..words import counted
from . import terminal
from .declared import cell_of_row, heading_of, shares_heading, shares_of_row, tradeoff_heading
from .groups import shown_columns, tradeoff_of
from .quantities import estimate
from .results import parted
from .sheet import Cell, Heading, Sheet, make_sheet, text_of

MOST_GROUPS = 20
"""Classes shown on a terminal; breakdown.csv has them all."""
CLAIMS = (
    Heading("seed", "seed", digits=0), Heading("accuracy", "accuracy % (95 %)", digits=2), Heading("accuracy_peak", "peak", "%", 2),
    Heading("peak_epoch", "peak epoch", digits=0), Heading("mean_gate_soft", "gate soft", digits=3),
    Heading("mean_gate_hard", "gate hard", digits=3), Heading("skip_pct", "claimed skip", "%", 1),
    Heading("macs_decided", "decided", "MACs", 2), Heading("macs_executed", "executed", "MACs", 2),
    Heading("saved_pct", "executed saving", "%", 1),
)  # fmt: skip
POINTS = (
    Heading("accuracy", "acc.", "%", 2), Heading("f1", "F1", "%", 1),
    Heading("saved_pct", "saving", "%", 1), Heading("adaptivity_gain", "gain", digits=2, signed=True),
)  # fmt: skip
SEVERITIES = (Heading("severity", "severity"), Heading("accuracy", "accuracy % (95 %)", digits=2))
BREAKDOWN = (
    Heading("by", "by"), Heading("group", "group"), Heading("inputs", "inputs", digits=0), Heading("accuracy", "accuracy", "%", 2),
    Heading("mean_gate_hard", "mean gate", digits=3), Heading("macs_executed", "MACs executed", digits=0),
)  # fmt: skip


def show_details(console: Console, row: dict, points: list[dict], columns: tuple[Column, ...], breakdown: list[dict]) -> None:
    """Print where the compute of a run goes (`breakdown`, the lines of breakdown.csv), and its operating points (`points`, the headline
    first; `columns` are those that its family declares). `row` is its headline."""
    terminal.show(console, breakdown_sheet(f"where the compute goes (seed {row['seed']})", breakdown))
    for sheet in run_tables(points, columns):
        terminal.show(console, sheet)
    note = run_note(points[0], columns)
    if note:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
        console.print()


def show(console: Console, headlines: list[dict]) -> None:
    """Print the runs of a recipe's seeds, each by its headline row."""
    terminal.show(console, claims_sheet(headlines))


def run_tables(rows: list[dict], columns: tuple[Column, ...]) -> list[Sheet]:
    """The operating points of one run and its references, where it has several, and by severity of corruption, where that was scored:
    the headline's accuracy and those of the references."""
    of_all = [row for row in rows if "severity" not in row]
    points = [_points_sheet(of_all, columns)] if len(of_all) > 1 else []
    return points + ([severity_sheet(rows)] if len(of_all) < len(rows) else [])


def severity_sheet(rows: list[dict]) -> Sheet:
    """Accuracy and destinations at the headline's operating point on images of each severity of corruption, in the order of the rows;
    beside them the accuracy of every reference."""
    (first, *points), references = parted(rows)
    listed = [row for row in points if "severity" in row and all(row.get(key) == first.get(key) for key in ("policy", "tradeoff"))]
    shares, names = shares_heading(listed), tuple(dict.fromkeys(row["reference"] for row in references))
    others = Heading("reference", f"accuracy of {' / '.join(names)}", "%", 2, parts=names)
    accuracy = {(row["reference"], row.get("severity")): row["accuracy"] for row in references}
    lines = [
        (
            row["severity"], estimate(row, "accuracy"), shares_of_row(shares, row),
            Cell(parts=tuple(accuracy.get((name, row["severity"])) for name in names)),
        )
        for row in listed
    ]  # fmt: skip
    return make_sheet("severities", "by severity of corruption", (*SEVERITIES, shares, others), lines)


def _points_sheet(rows: list[dict], columns: tuple[Column, ...]) -> Sheet:
    """In this order: the headline, its policy at other trade-offs, other policies at its trade-off, the references."""
    (first, *others), references = parted(rows)
    other_values = [row for row in others if row.get("policy") == first.get("policy")]
    other_policies = [row for row in others if row.get("policy") != first.get("policy") and row.get("tradeoff") == first.get("tradeoff")]
    listed = [first, *other_values, *other_policies, *references]
    own = [column for column in shown_columns(columns) if not column.of_run]
    tradeoff = tradeoff_heading([tradeoff_of(columns)])
    extra, shares = [heading_of(column, listed) for column in own], shares_heading(listed)
    lines = [
        (
            row.get("reference"), row.get("policy"), row.get("tradeoff"), row["accuracy"], row.get("f1"), _saved(row),
            row.get("adaptivity_gain"),
            shares_of_row(shares, row), *(cell_of_row(column, heading, row) for column, heading in zip(own, extra, strict=True)),
        )
        for row in listed
    ]  # fmt: skip
    headings = (Heading("reference", "reference"), Heading("policy", "policy"), tradeoff, *POINTS, shares, *extra)
    return make_sheet("points", "operating points: scored once; what was chosen, was chosen on validation", headings, lines)


def run_note(row: dict, columns: tuple[Column, ...]) -> str:
    """What is the same for all operating points of a run, in a line: "oracle's accuracy %: 95.71; ..."; empty where there is nothing."""
    parts = []
    for column in shown_columns(columns):
        heading = heading_of(column, [row])
        cell = cell_of_row(column, heading, row)
        if column.of_run and not cell.empty:
            parts.append(f"{heading.shown}: {text_of(cell, heading)}")
    return "; ".join(parts)


def claims_sheet(rows: list[dict]) -> Sheet:
    """One line a seed of one model, recipe and data set: accuracy, what the gates claim, what is executed."""
    row = rows[0]
    epochs = counted(row["epochs"], "epoch")
    recipe_epochs = row.get("recipe_epochs", row["epochs"])
    epochs += "" if row["epochs"] == recipe_epochs else f" (the recipe's: {recipe_epochs})"
    title = f"{row['model']} {row['recipe']} on {row['dataset']} ({row['split']}), {epochs}: claimed beside executed"
    lines = [
        (
            row["seed"], estimate(row, "accuracy"), row.get("accuracy_peak"), row.get("peak_epoch"), row.get("mean_gate_soft"),
            row.get("mean_gate_hard"), row.get("skip_pct"), row.get("macs_decided"), row["macs_executed"], _saved(row),
        )
        for row in rows
    ]  # fmt: skip
    majority = row.get("majority_pct")
    note = "" if majority is None else f"The most frequent class is {majority:.2f} % of the {row['split']} images."
    return make_sheet("claims", title, CLAIMS, lines, note)


def breakdown_sheet(title: str, groups: list[dict]) -> Sheet:
    """breakdown.csv of one run; of very many groups of a kind the first."""
    lines, dropped = [], []
    for kind in dict.fromkeys(group["by"] for group in groups):
        members = [group for group in groups if group["by"] == kind]
        lines += [
            (kind, str(group["group"]), group.get("inputs"), group.get("accuracy"), group.get("mean_gate_hard"), group.get("macs_executed"))
            for group in members[:MOST_GROUPS]
        ]
        if len(members) > MOST_GROUPS:
            dropped.append(f"{len(members) - MOST_GROUPS} more by {kind}")
    return make_sheet("breakdown", title, BREAKDOWN, lines, f"{', '.join(dropped)} in breakdown.csv" if dropped else "")


def _saved(row: dict) -> float | None:
    return 100 * (1 - row["macs_ratio"]) if "macs_ratio" in row else None
