"""Our networks' tables: what gates claim beside what was executed, exits at every budget, and what of it is realised in time.

Only rows of one table compare, so every data set, schedule and device has tables of its own, and for times every machine.
"""

from collections import defaultdict
from collections.abc import Callable

from . import latency_table
from .quantities import mean, spread
from .results import Group, Run, percent
from .sheet import Sheet

COMPARABLE = ("dataset", "split", "epochs", "schedule", "device", "precision")
"""Rows that agree in these are in one table."""
SHOWN_APART = ("training.schedule", "training.learning_rate", "data.name")
"""Changes that the title of a table names."""
NO_EXITS = (
    "run", "seeds", "accuracy % (last epoch)", "peak %", "mean gate soft / hard", "claimed skip %", "executed MACs",
    "executed saving %", "audit",
)  # fmt: skip
EXITS = (
    "run", "budget %", "seeds", "accuracy %", "F1 / precision / recall %", "leaving at each exit %", "executed MACs %",
    "adaptivity gain", "overthinking %", "oracle %", "audit",
)  # fmt: skip


def training_sheets(groups: list[Group]) -> list[Sheet]:
    """Accuracy, claimed and executed saving of networks without exits, a line for each setting: means over its seeds."""
    return _by_setting("claims", NO_EXITS, _training, [group for group in groups if "thresholds" not in group.row])


def exit_sheets(groups: list[Group]) -> list[Sheet]:
    """The same of networks with exits, with the shares that leave; lines of one budget beside each other."""
    note = "Audited is each run's headline, the first budget of its recipe."
    return _by_setting("exits", EXITS, _exits, [group for group in groups if "thresholds" in group.row], note)


def realised_sheets(runs: list[Run]) -> list[Sheet]:
    """Times, and what the gates cost."""
    return latency_table.sheets([row for run in runs for row in run.times])


def findings_sheet(groups: list[Group]) -> Sheet | None:
    """What the audit found, in full; nothing where it found nothing."""
    lines = []
    for group in groups:
        seeds = defaultdict(list)
        for row in group.rows:
            for finding in row.get("audit", []):
                seeds[finding].append(row["seed"])
        lines += [(group.row["dataset"], group.label, ", ".join(map(str, found)), finding) for finding, found in seeds.items()]
    return Sheet("findings", "What the audit found", ("data", "network", "seeds", "finding"), lines) if lines else None


def audit_of(group: Group) -> str:
    """The kinds of what the audit found in any of the runs; a policy beside the headline's is not audited."""
    if not all("audit" in row for row in group.rows):
        return "not audited"
    found = (finding.partition(":")[0] for row in group.rows for finding in row.get("audit", []))
    return "; ".join(dict.fromkeys(found)) or "-"


def _by_setting(name: str, headings: tuple[str, ...], line: Callable[[Group], tuple], groups: list[Group], note: str = "") -> list[Sheet]:
    settings = defaultdict(list)
    for group in groups:
        settings[tuple(group.row.get(key, "?") for key in COMPARABLE)].append(group)
    sheets = []
    for number, (setting, members) in enumerate(sorted(settings.items()), start=1):
        dataset, split, epochs, schedule, device, precision = setting
        title = f"{dataset} ({split}), {epochs} epochs, {schedule}, {precision} on {str(device).upper()}"
        members.sort(key=lambda group: (group.budgets, "skip_pct" in group.row, name_of(group)))  # static ones first
        sheets.append(Sheet(f"{name}-{number}", title, headings, [line(group) for group in members], note))
    return sheets


def name_of(group: Group) -> str:
    """Model and recipe, and what is not as the recipe has it."""
    row = group.row
    notes = [str(change) for change in row.get("changes", []) if not str(change).startswith(SHOWN_APART)]
    if row["epochs"] != row.get("recipe_epochs", row["epochs"]):
        notes.insert(0, f"recipe: {row['recipe_epochs']} epochs")
    return f"{row['model']} {row['recipe']}" + (f" ({', '.join(notes)})" if notes else "")


def _seeds(group: Group) -> str:
    return ", ".join(map(str, group.seeds))


def _training(group: Group) -> tuple[str, ...]:
    soft, hard, executed = _mean(group, "mean_gate_soft", 3), _mean(group, "mean_gate_hard", 3), mean(group, "macs_executed")
    return (
        name_of(group), _seeds(group), spread(group, "accuracy", 2), _mean(group, "accuracy_peak", 2),
        f"{soft} / {hard}" if hard != "-" else "-", _mean(group, "skip_pct", 1), f"{executed / 1e6:.2f} M",
        _mean(group, "saved_pct", 1), audit_of(group),
    )  # fmt: skip


def _exits(group: Group) -> tuple[str, ...]:
    exits = range(len(group.row.get("shares", [])))
    return (
        name_of(group), percent(group.budgets), _seeds(group), spread(group, "accuracy", 2),
        " / ".join(_mean(group, key, 1) for key in ("f1", "precision_macro", "recall_macro")),
        " / ".join(_mean(group, f"shares_pct.{number}", 1) for number in exits),
        spread(group, "macs_pct", 1), spread(group, "adaptivity_gain_same_weights", 2), spread(group, "overthinking_pct", 2),
        spread(group, "oracle_accuracy", 2), audit_of(group),
    )  # fmt: skip


def _mean(group: Group, key: str, digits: int) -> str:
    """The mean over seeds; "-" for what was not measured."""
    found = mean(group, key)
    return "-" if found is None else f"{found:.{digits}f}"
