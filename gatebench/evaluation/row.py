"""The row of a run: its operating point, in the columns that every table and plot reads (`gatebench/row.py`)."""

from ..contract import GatedModel
from .outcome import Outcome
from .scores import scores

ADAPTIVITY = ("adaptivity_gain", "adaptivity_gain_low", "adaptivity_gain_high", "fixed_accuracy", "fixed_macs", "fixed_chosen_on")
"""Columns that say what deciding per input is worth."""
EXPLAINED = (
    "patterns", "pattern_entropy", "matching_gain", "matching_gain_low", "matching_gain_high", "loss_correlation", "difficulty_correlation",
)  # fmt: skip
"""How much of the decisions the input explains."""
OF_ALL_SEVERITIES = ("accuracy_peak", "peak_epoch", *ADAPTIVITY, *EXPLAINED, "training_seconds", "peak_memory_mb", "audit")
"""Columns that a row of one severity does not take from that of all; the network may measure them anew."""


def make_row(network: GatedModel, outcome: Outcome, history: list[dict], findings: list[str], **settings) -> dict:
    """The headline row: the last epoch's accuracy first, the peak beside it.

    `history` are the lines of epochs.csv, `settings` model, recipe, split, seed, machine and so on.
    """
    scored = f"{settings['split']}_accuracy"
    peak = max((row for row in history if row[scored] is not None), key=lambda row: row[scored], default={})
    row = {
        **settings,
        "adaptive": network.adaptive,
        **scores(outcome.labels, outcome.predictions),
        "accuracy_peak": peak.get(scored),
        "peak_epoch": peak.get("epoch"),
        "macs_dense": network.macs_static,
        "macs_gate": network.macs_gate,
        **decided(network, outcome),
        "audit": findings,
    }
    return {key: value for key, value in row.items() if value is not None}


def decided(network: GatedModel, outcome: Outcome) -> dict:
    """The columns of a row that say what the network decided and computed."""
    return {
        **outcome.gate_means(),
        "skip_pct": network.claimed(outcome.decisions, outcome.gates) if network.units else None,
        "macs_decided": float(outcome.decided_macs(network).mean()),
        "macs_executed": float(outcome.executed.mean()),
        "macs_ratio": outcome.macs_ratio(network),
        **network.measured(outcome),
    }


def severity_row(network: GatedModel, row: dict, outcome: Outcome, severity: str) -> dict:
    """The row of one severity of corruption, from a row of all of them and what the network did on the inputs of this one."""
    kept = {key: value for key, value in row.items() if key not in OF_ALL_SEVERITIES}
    measured = {**kept, "severity": severity, **scores(outcome.labels, outcome.predictions), **decided(network, outcome)}
    return {key: value for key, value in measured.items() if value is not None}
