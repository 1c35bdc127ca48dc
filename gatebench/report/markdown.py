"""The README's tables of measured rows: `python -m gatebench.report.markdown results/`.

Of training, one line for each setting: figures are means over its seeds, with the spread beside them. Networks with exits have tables
of their own, one line for each budget. Below them the tables of times (`latency_table`), if any run was timed.
"""

import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from ..runs import RunFolder
from .latency_table import markdown, markdown_table

COLUMNS = (
    "run", "seeds", "accuracy % (last epoch)", "peak %", "mean gate soft / hard", "claimed skip %", "executed MACs", "executed saving %",
)  # fmt: skip
EXIT_COLUMNS = (
    "run", "budget %", "seeds", "accuracy %", "F1 / precision / recall %", "leaving at each exit %", "executed MACs %",
    "adaptivity gain", "overthinking %", "oracle %",
)  # fmt: skip
SHOWN_APART = ("training.schedule", "training.learning_rate", "data.name")
"""Changes that the heading of a table names."""


def read_rows(results: Path) -> list[dict]:
    """The headline row of every finished run below `results`."""
    return [RunFolder(path.parent).read_json("summary.json") for path in sorted(results.glob("*/summary.json"))]


def read_exit_rows(results: Path) -> list[dict]:
    """Of every finished run with exits, the rows of its headline policy, one a budget."""
    runs = [RunFolder(path.parent).read_rows() for path in sorted(results.glob("*/summary.json"))]
    return [row for rows in runs for row in rows if "thresholds" in row and "latency_ms" not in row and row["policy"] == rows[0]["policy"]]


def read_latency_rows(results: Path) -> list[dict]:
    """The rows of every finished run that were timed."""
    return [row for path in sorted(results.glob("*/summary.json")) for row in RunFolder(path.parent).read_rows() if "latency_ms" in row]


def tables(rows: list[dict]) -> str:
    """Markdown, one table for each data set, split, schedule, device and precision: only rows of one table compare."""
    return _by_place([row for row in rows if "thresholds" not in row], COLUMNS, _training_cells)


def exit_tables(rows: list[dict]) -> str:
    """The same of networks with exits; rows of one budget beside each other."""
    return _by_place(rows, EXIT_COLUMNS, _exit_cells)


def _by_place(rows: list[dict], columns: tuple[str, ...], cells: Callable[[list[dict]], list[str]]) -> str:
    places = defaultdict(lambda: defaultdict(list))
    for row in rows:
        setting = (row.get("tradeoff", 0), row["model"], row["recipe"], row["digest"], row.get("policy", ""), tuple(row["changes"]))
        places[row["dataset"], row["split"], row["epochs"], row["schedule"], row["device"], row["precision"]][setting].append(row)
    parts = []
    for (dataset, split, epochs, schedule, device, precision), settings in sorted(places.items()):
        static_first = sorted(settings.items(), key=lambda item: (item[0][0], "mean_gate_hard" in item[1][0], item[0]))
        lines = [cells(runs) for _, runs in static_first]
        title = f"**{dataset} ({split}), {epochs} epochs, {schedule}, {precision} on {device.upper()}**"
        parts.append(f"{title}\n\n" + markdown_table(columns, lines))
    return "\n\n".join(parts)


def _name(row: dict) -> str:
    changes = [change for change in row["changes"] if not change.startswith(SHOWN_APART)]
    notes = ([f"recipe: {row['recipe_epochs']} epochs"] if row["epochs"] != row["recipe_epochs"] else []) + changes
    return f"{row['model']} {row['recipe']}" + (f" ({', '.join(notes)})" if notes else "")


def _seeds(group: list[dict]) -> str:
    return ", ".join(map(str, sorted(row["seed"] for row in group)))


def _mean(group: list[dict], key: str, form: str, scale: float = 1.0) -> str:
    """The mean, and its spread where there are several."""
    values = [scale * row[key] for row in group]
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def _exit_cells(group: list[dict]) -> list[str]:
    """One row of the table of exits from the rows of a setting's runs."""
    shares = [statistics.mean(row["shares"][number] for row in group) for number in range(len(group[0]["shares"]))]
    scores = [statistics.mean(row[key] for row in group) for key in ("f1", "precision_macro", "recall_macro")]
    return [
        _name(group[0]),
        f"{100 * group[0]['tradeoff']:.0f}",
        _seeds(group),
        _mean(group, "accuracy", ".2f"),
        " / ".join(f"{score:.1f}" for score in scores),
        " / ".join(f"{100 * share:.1f}" for share in shares),
        _mean(group, "macs_ratio", ".1f", 100),
        _mean(group, "adaptivity_gain_same_weights", ".2f"),
        _mean(group, "overthinking_pct", ".2f"),
        _mean(group, "oracle_accuracy", ".2f"),
    ]


def _training_cells(group: list[dict]) -> list[str]:
    """One row of the table from the rows of a setting's runs."""
    row = group[0]

    def mean(key: str) -> float:
        return statistics.mean(member[key] for member in group)

    interval = f" ({row['accuracy_low']:.2f}-{row['accuracy_high']:.2f})" if len(group) == 1 else ""
    gated = "mean_gate_hard" in row
    return [
        _name(row),
        _seeds(group),
        _mean(group, "accuracy", ".2f") + interval,
        f"{mean('accuracy_peak'):.2f}",
        f"{mean('mean_gate_soft'):.3f} / {mean('mean_gate_hard'):.3f}" if gated else "-",
        f"{mean('skip_pct'):.1f}" if gated else "-",
        f"{mean('macs_executed') / 1e6:.2f} M",
        f"{100 * (1 - mean('macs_ratio')):.1f}",
    ]


if __name__ == "__main__":
    results = Path(sys.argv[1])
    print(tables(read_rows(results)), exit_tables(read_exit_rows(results)), markdown(read_latency_rows(results)), sep="\n\n")
