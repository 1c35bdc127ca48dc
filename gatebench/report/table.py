"""Rows as tables on a terminal: what the gates claim beside what is executed."""

from rich.table import Table


def claims_table(rows: list[dict]) -> Table:
    """One line a row: accuracy, what its gates claim, what is executed."""
    table = Table(title="claimed beside executed", title_justify="left")
    table.add_column("run")
    for heading in ("accuracy % (95 %)", "peak % (epoch)", "gate soft", "gate hard", "claimed skip %", "MACs decided", "MACs executed", "executed saving %"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: dict) -> list[str]:
    def number(key: str, form: str) -> str:
        return format(row[key], form) if key in row else "-"

    epochs = f"{row['epochs']} ep" + ("" if row["epochs"] == row["recipe_epochs"] else f" of {row['recipe_epochs']}")
    return [
        f"{row['model']} {row['recipe']}, {row['dataset']}, {epochs}, seed {row['seed']}",
        f"{row['accuracy']:.2f} ({row['accuracy_low']:.2f}-{row['accuracy_high']:.2f})",
        f"{row['accuracy_peak']:.2f} ({row['peak_epoch']})",
        number("mean_gate_soft", ".3f"),
        number("mean_gate_hard", ".3f"),
        number("skip_pct", ".1f"),
        f"{row['macs_decided'] / 1e6:.2f} M",
        f"{row['macs_executed'] / 1e6:.2f} M",
        f"{100 * (1 - row['macs_ratio']):.1f}",
    ]


def breakdown_table(title: str, groups: list[dict]) -> Table:
    """breakdown.csv of one run for a terminal."""
    table = Table(title=title, title_justify="left")
    table.add_column("by")
    table.add_column("group")
    for heading in ("inputs", "accuracy %", "mean gate", "MACs executed"):
        table.add_column(heading, justify="right")
    previous = None
    for group in groups:
        if previous not in (None, group["by"]):
            table.add_section()
        previous = group["by"]
        macs = group.get("macs_executed", group.get("unit_macs"))
        table.add_row(
            group["by"], str(group["group"]), str(group["inputs"]), _maybe(group.get("accuracy"), ".2f"),
            _maybe(group.get("mean_gate_hard"), ".3f"), _maybe(macs / 1e6 if macs is not None else None, ".2f", " M"),
        )  # fmt: skip
    return table


def _maybe(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None or value != value else format(value, form) + unit
