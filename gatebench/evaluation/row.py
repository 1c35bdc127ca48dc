"""The row of a run: its operating point, in the columns that every table and plot reads (`gatebench/row.py`)."""

from ..contract import GatedModel
from .outcome import Outcome
from .scores import scores


def make_row(network: GatedModel, outcome: Outcome, history: list[dict], findings: list[str], **settings) -> dict:
    """The headline row: the last epoch's accuracy first, the peak beside it.

    `history` are the lines of epochs.csv, `settings` model, recipe, split, seed, machine and so on.
    """
    scored = f"{settings['split']}_accuracy"
    peak = max(history, key=lambda row: row[scored])
    row = {
        **settings,
        "adaptive": bool(network.units),
        **scores(outcome.labels, outcome.predictions),
        "accuracy_peak": peak[scored],
        "peak_epoch": peak["epoch"],
        **outcome.gate_means(),
        "skip_pct": network.claimed(outcome.decisions, outcome.gates) if network.units else None,
        "macs_dense": network.macs_static,
        "macs_gate": network.macs_gate,
        "macs_decided": float(outcome.decided_macs(network).mean()),
        "macs_executed": float(outcome.executed.mean()),
        "macs_ratio": outcome.macs_ratio(network),
        **network.measured(outcome),
        "audit": findings,
    }
    return {key: value for key, value in row.items() if value is not None}
