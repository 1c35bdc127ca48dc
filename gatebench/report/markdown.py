"""The README's tables of measured rows: `python -m gatebench.report.markdown results/`.

Of training, one line for each setting: figures are means over its seeds, with the spread beside the accuracy. Of latency, one line
for each run, and one table for each machine, device, number of threads and batch size: only times of one table compare.
"""

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from ..runs import RunFolder

COLUMNS = (
    "run", "seeds", "accuracy % (last epoch)", "peak %", "mean gate soft / hard", "claimed skip %", "executed MACs", "executed saving %",
)  # fmt: skip
LATENCY_COLUMNS = (
    "run", "claimed skip %", "executed saving %", "realised", "p50 / p90 / p99 ms", "speed-up over its twin (95 %)", "gate ms",
    "break-even skip %",
)  # fmt: skip
SHOWN_APART = ("training.schedule", "training.learning_rate", "data.name")
"""Changes that the heading of a table names."""


def read_rows(results: Path) -> list[dict]:
    """The headline row of every finished run below `results`."""
    return [RunFolder(path.parent).read_json("summary.json") for path in sorted(results.glob("*/summary.json"))]


def read_latency_rows(results: Path) -> list[dict]:
    """The rows of every finished run that were timed."""
    return [row for path in sorted(results.glob("*/summary.json")) for row in RunFolder(path.parent).read_rows() if "latency_ms" in row]


def latency_tables(rows: list[dict]) -> str:
    """Markdown; see above."""
    places = defaultdict(list)
    for row in rows:
        places[row["machine"], row["device"], row["threads"], row["batch_size"]].append(row)
    parts = []
    for (machine, device, threads, batch_size), members in sorted(places.items()):
        lines = ["| " + " | ".join(LATENCY_COLUMNS) + " |", "|" + "---|" * len(LATENCY_COLUMNS)]
        lines += [_latency_line(row) for row in members]
        where = f"{machine}, {device}, {threads} thread{'s' * (threads != 1)}, batch {batch_size}"
        parts.append(f"**{where}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _latency_line(row: dict) -> str:
    def number(key: str, form: str) -> str:
        return format(row[key], form) if key in row else "-"

    saved = row.get("timed_saving_pct")
    cells = [
        row["network"] + ("" if row["execution"] in ("sparse", "itself") else f" ({row['execution']})"),
        number("timed_claimed_pct", ".1f"),
        number("timed_saving_pct", ".1f"),
        "-" if saved is None else f"{row['realised']:.2f}" if "realised" in row else "no saving",
        " / ".join(number(f"latency_p{rank}", ".2f") for rank in (50, 90, 99)),
        f"{row['speedup']:.3f} ({row['speedup_low']:.3f}-{row['speedup_high']:.3f})" if "speedup" in row else "-",
        number("gate_ms", ".3f"),
        number("break_even_skip_pct", ".1f"),
    ]
    return "| " + " | ".join(cells) + " |"


def tables(rows: list[dict]) -> str:
    """Markdown, one table for each data set, split and schedule: only rows of one schedule compare."""
    schedules = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        setting = (row["model"], row["recipe"], row["digest"])
        schedules[row["dataset"], row["split"], row["epochs"], row["schedule"]][setting][row["seed"]] = row
    parts = []
    for (dataset, split, epochs, schedule), settings in sorted(schedules.items()):
        lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        static_first = sorted(settings.items(), key=lambda item: ("mean_gate_hard" in next(iter(item[1].values())), item[0]))
        lines += [_line(list(seeds.values())) for _, seeds in static_first]
        parts.append(f"**{dataset} ({split}), {epochs} epochs, {schedule}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _line(group: list[dict]) -> str:
    """One row of the table from the rows of a setting's seeds."""
    row = group[0]

    def mean(key: str) -> float:
        return statistics.mean(member[key] for member in group)

    spread = f" ± {statistics.stdev(member['accuracy'] for member in group):.2f}" if len(group) > 1 else ""
    interval = "" if spread else f" ({row['accuracy_low']:.2f}-{row['accuracy_high']:.2f})"
    changes = [change for change in row["changes"] if not change.startswith(SHOWN_APART)]
    notes = ([f"recipe: {row['recipe_epochs']} epochs"] if row["epochs"] != row["recipe_epochs"] else []) + changes
    gated = "mean_gate_hard" in row
    cells = [
        f"{row['model']} {row['recipe']}" + (f" ({', '.join(notes)})" if notes else ""),
        str(len(group)),
        f"{mean('accuracy'):.2f}{spread}{interval}",
        f"{mean('accuracy_peak'):.2f}",
        f"{mean('mean_gate_soft'):.3f} / {mean('mean_gate_hard'):.3f}" if gated else "-",
        f"{mean('skip_pct'):.1f}" if gated else "-",
        f"{mean('macs_executed') / 1e6:.2f} M",
        f"{100 * (1 - mean('macs_ratio')):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(tables(read_rows(Path(sys.argv[1]))), latency_tables(read_latency_rows(Path(sys.argv[1]))), sep="\n\n")
