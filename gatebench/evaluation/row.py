"""The row of a run: its operating point, in the columns that every table and plot reads (`columns.py`)."""

from ..contract import GatedModel
from ..recipe import Recipe
from .outcome import Outcome, scores


def make_row(model: GatedModel, recipe: Recipe, outcome: Outcome, epochs: list[dict], findings: list[str], **settings) -> dict:
    """The headline row: the last epoch's accuracy first, the peak beside it. `settings` are split, seed, device, machine and so on."""
    scored = f"{settings['split']}_accuracy"
    peak = max(epochs, key=lambda row: row[scored])
    decided, executed = float(outcome.decided_macs(model).mean()), float(outcome.executed_macs(model).mean())
    row = {
        "model": recipe.model.name,
        "recipe": recipe.name,
        "changes": recipe.changes,
        **settings,
        "epochs": recipe.training.epochs,
        "recipe_epochs": recipe.scaled_from_epochs or recipe.training.epochs,
        "schedule": f"{recipe.training.schedule} {recipe.training.learning_rate:g}",
        **scores(outcome.labels, outcome.predictions),
        "accuracy_peak": peak[scored],
        "peak_epoch": peak["epoch"],
        **outcome.gate_means(),
        "macs_dense": model.macs_static,
        "macs_gate": model.macs_gate,
        "macs_decided": decided,
        "macs_executed": executed,
        "macs_ratio": outcome.macs_ratio(model),
        "audit": findings,
    }
    if model.units:
        row["skip_pct"] = model.claimed(outcome.decisions)
    return {key: value for key, value in row.items() if value is not None}
