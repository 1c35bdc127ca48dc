"""The README's table of measured rows: `python -m gatebench.report.markdown results/`.

One line for each model, recipe, data set and schedule; figures are means over its seeds, with the spread beside the accuracy.
"""

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from ..runs import RunFolder

COLUMNS = (
    "run", "seeds", "accuracy % (last epoch)", "peak %", "mean gate soft / hard", "claimed skip %", "executed MACs", "executed saving %",
)  # fmt: skip


def read_rows(results: Path) -> list[dict]:
    """The headline row of every finished run below `results`."""
    return [RunFolder(path.parent).read_json("summary.json") for path in sorted(results.glob("*/summary.json"))]


def tables(rows: list[dict]) -> str:
    """Markdown, one table for each data set and schedule, since only rows of one schedule compare."""
    schedules = defaultdict(lambda: defaultdict(list))
    for row in rows:
        schedules[row["dataset"], row["epochs"], row["schedule"]][row["model"], row["recipe"]].append(row)
    parts = []
    for (dataset, epochs, schedule), runs in sorted(schedules.items()):
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        lines += [_line(group) for group in sorted(runs.values(), key=lambda group: (group[0]["model"] != "resnet20", group[0]["recipe"]))]
        parts.append(f"**{dataset}, {epochs} epochs, {schedule}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _line(group: list[dict]) -> str:
    """One row of the table from a run's seeds."""
    row = group[0]

    def mean(key: str) -> float:
        return statistics.mean(member[key] for member in group)

    accuracy = f"{mean('accuracy'):.2f}"
    if len(group) > 1:
        accuracy += f" ± {statistics.stdev(member['accuracy'] for member in group):.2f}"
    else:
        accuracy += f" ({row['accuracy_low']:.2f}-{row['accuracy_high']:.2f})"
    own = "" if row["epochs"] == row["recipe_epochs"] else f" (recipe: {row['recipe_epochs']} epochs)"
    gated = "mean_gate_hard" in row
    cells = [
        f"{row['model']} {row['recipe']}{own}",
        str(len(group)),
        accuracy,
        f"{mean('accuracy_peak'):.2f}",
        f"{mean('mean_gate_soft'):.3f} / {mean('mean_gate_hard'):.3f}" if gated else "-",
        f"{mean('skip_pct'):.1f}" if gated else "-",
        f"{mean('macs_executed') / 1e6:.2f} M",
        f"{100 * (1 - mean('macs_ratio')):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(tables(read_rows(Path(sys.argv[1]))))
