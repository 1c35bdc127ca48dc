"""Rows as tables on a terminal: what the gates claim beside what is executed."""

from rich import box
from rich.table import Table
from rich.text import Text

from .quantities import number

MOST_GROUPS = 20
"""Classes shown on a terminal; breakdown.csv has them all."""


def claims_table(rows: list[dict]) -> Table:
    """One line a seed of one model, recipe and data set: accuracy, what the gates claim, what is executed."""
    row = rows[0]
    epochs = f"{row['epochs']} epoch" + "s" * (row["epochs"] != 1)
    epochs += "" if row["epochs"] == row["recipe_epochs"] else f" (the recipe's: {row['recipe_epochs']})"
    table = Table(
        title=Text(f"{row['model']} {row['recipe']} on {row['dataset']} ({row['split']}), {epochs}: claimed beside executed", "italic"),
        title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for heading in (
        "seed", "accuracy %\n(95 %)", "peak %\n(epoch)", "gate\nsoft", "gate\nhard", "claimed\nskip %",
        "MACs\ndecided", "MACs\nexecuted", "executed\nsaving %",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            str(row["seed"]),
            f"{row['accuracy']:.2f}\n{row['accuracy_low']:.2f}-{row['accuracy_high']:.2f}",
            f"{row['accuracy_peak']:.2f}\n({row['peak_epoch']})" if "accuracy_peak" in row else "-",
            number(row, "mean_gate_soft", ".3f"),
            number(row, "mean_gate_hard", ".3f"),
            number(row, "skip_pct", ".1f"),
            f"{row['macs_decided'] / 1e6:.2f} M",
            f"{row['macs_executed'] / 1e6:.2f} M",
            f"{100 * (1 - row['macs_ratio']):.1f}",
        )
    return table


def exits_table(rows: list[dict]) -> Table:
    """Where inputs leave, how right they are, what they cost: of one run's policies the headline's, then that way at its other budgets,
    then the other ways at its budget."""
    first, *others = rows
    other_budgets = [row for row in others if row["policy"] == first["policy"]]
    other_ways = [row for row in others if row["tradeoff"] == first["tradeoff"]]
    table = Table(
        title="exits: thresholds chosen on validation for a budget, scored once", title_justify="left", box=box.SIMPLE_HEAD,
        pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("policy", no_wrap=True)
    for heading in ("budget", "acc. %", "F1 %", "leaving %", "saving %", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in (first, *other_budgets, *other_ways):
        table.add_row(
            Text(row["policy"]), f"{row['tradeoff']:.2f}", f"{row['accuracy']:.2f}",
            f"{row['f1']:.1f}",
            "/".join(f"{100 * share:.0f}" for share in row["shares"]),
            f"{100 * (1 - row['macs_ratio']):.1f}", f"{row['adaptivity_gain_same_weights']:+.2f}",
        )  # fmt: skip
    return table


def exits_note(row: dict) -> str:
    """What holds whatever the policy: the oracle, overthinking, and how far each exit is as right as it is sure."""
    errors = " / ".join(f"{each:.1f}" for each in row["calibration_error_pct"])
    return (
        f"oracle: {row['oracle_accuracy']:.2f} % right at {100 * row['oracle_macs'] / row['macs_dense']:.1f} % of the MACs;"
        f" overthinking (right early, wrong late): {row['overthinking_pct']:.2f} %; calibration error of each exit: {errors} %"
    )


def breakdown_table(title: str, groups: list[dict]) -> Table:
    """breakdown.csv of one run."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("by")
    table.add_column("group")
    for heading in ("inputs", "accuracy %", "mean gate", "MACs executed"):
        table.add_column(heading, justify="right")
    kinds = list(dict.fromkeys(group["by"] for group in groups))
    for kind in kinds:
        members = [group for group in groups if group["by"] == kind]
        for group in members[:MOST_GROUPS]:
            table.add_row(
                kind, Text(str(group["group"])), f"{group['inputs']:,}", number(group, "accuracy", ".2f"),
                number(group, "mean_gate_hard", ".3f"), number(group, "macs_executed", ",.0f"),
            )  # fmt: skip
        if len(members) > MOST_GROUPS:
            table.add_row(kind, f"... {len(members) - MOST_GROUPS} more in breakdown.csv")
        table.add_section()
    return table
