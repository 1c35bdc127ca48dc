"""The README's tables of measured rows: `python -m gatebench.report.markdown results/`.

Of training, one line for each setting: figures are means over its seeds, with the spread beside the accuracy. Below them the tables
of times (`latency_table`), if any run was timed.
"""

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from ..runs import RunFolder
from .latency_table import markdown, markdown_table

COLUMNS = (
    "run", "seeds", "accuracy % (last epoch)", "peak %", "mean gate soft / hard", "claimed skip %", "executed MACs", "executed saving %",
)  # fmt: skip
SHOWN_APART = ("training.schedule", "training.learning_rate", "data.name")
"""Changes that the heading of a table names."""


def read_rows(results: Path) -> list[dict]:
    """The headline row of every finished run below `results`."""
    return [RunFolder(path.parent).read_json("summary.json") for path in sorted(results.glob("*/summary.json"))]


def read_latency_rows(results: Path) -> list[dict]:
    """The rows of every finished run that were timed."""
    return [row for path in sorted(results.glob("*/summary.json")) for row in RunFolder(path.parent).read_rows() if "latency_ms" in row]


def tables(rows: list[dict]) -> str:
    """Markdown, one table for each data set, split, schedule, device and precision: only rows of one table compare."""
    places = defaultdict(lambda: defaultdict(list))
    for row in rows:
        setting = (row["model"], row["recipe"], row["digest"])
        places[row["dataset"], row["split"], row["epochs"], row["schedule"], row["device"], row["precision"]][setting].append(row)
    parts = []
    for (dataset, split, epochs, schedule, device, precision), settings in sorted(places.items()):
        static_first = sorted(settings.items(), key=lambda item: ("mean_gate_hard" in item[1][0], item[0]))
        lines = [_training_cells(runs) for _, runs in static_first]
        title = f"**{dataset} ({split}), {epochs} epochs, {schedule}, {precision} on {device.upper()}**"
        parts.append(f"{title}\n\n" + markdown_table(COLUMNS, lines))
    return "\n\n".join(parts)


def _training_cells(group: list[dict]) -> list[str]:
    """One row of the table from the rows of a setting's runs."""
    row = group[0]

    def mean(key: str) -> float:
        return statistics.mean(member[key] for member in group)

    spread = f" ± {statistics.stdev(member['accuracy'] for member in group):.2f}" if len(group) > 1 else ""
    interval = "" if spread else f" ({row['accuracy_low']:.2f}-{row['accuracy_high']:.2f})"
    changes = [change for change in row["changes"] if not change.startswith(SHOWN_APART)]
    notes = ([f"recipe: {row['recipe_epochs']} epochs"] if row["epochs"] != row["recipe_epochs"] else []) + changes
    gated = "mean_gate_hard" in row
    return [
        f"{row['model']} {row['recipe']}" + (f" ({', '.join(notes)})" if notes else ""),
        ", ".join(map(str, sorted(member["seed"] for member in group))),
        f"{mean('accuracy'):.2f}{spread}{interval}",
        f"{mean('accuracy_peak'):.2f}",
        f"{mean('mean_gate_soft'):.3f} / {mean('mean_gate_hard'):.3f}" if gated else "-",
        f"{mean('skip_pct'):.1f}" if gated else "-",
        f"{mean('macs_executed') / 1e6:.2f} M",
        f"{100 * (1 - mean('macs_ratio')):.1f}",
    ]


if __name__ == "__main__":
    print(tables(read_rows(Path(sys.argv[1]))), markdown(read_latency_rows(Path(sys.argv[1]))), sep="\n\n")
