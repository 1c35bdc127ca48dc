"""What a column means, for its tooltip: from the schema of rows, and from what families declare."""

from collections.abc import Iterable

from ...row import Row, TimeRow
from ..results import Run

DERIVED = {
    "macs_pct": "macs_executed / macs_dense",
    "saved_pct": "MACs of the static twin that were not executed",
    "run": "model and recipe, and what was changed of it",
    "audit": "kinds of findings; the table of findings says more",
    "timed_macs": "of the timed calls with fewest and most MACs, mean of their inputs",
    "comparable": "whether data, epochs and settings are those of the paper",
    "rival": "what speed-up, realised and executed saving are over",
    "seeds": "of weights, batches and noise",
    "seed_agreement": "mean rank correlation, over pairs of seeds, of MACs by input; 0: chance of the training, 1: the input decides",
    "static_gain": "accuracy over a random mix of static networks that were trained as long, at equal executed MACs",
    "static_gain_latency": "the same at equal time of one input, in one place",
    "static_mix": "the static networks at its executed MACs, and the share of the inputs of each",
    "retrained_gain": "accuracy over its most used blocks or channels for every input, retrained, mixed with its static twin to equal MACs",
    "retrained_seeds": "of the network's seeds, those whose blocks were retrained",
    "retrained_macs": "of an input through that network",
}
"""Of columns that only tables have."""


def meanings(runs: Iterable[Run]) -> dict[str, str]:
    """By the name of a column."""
    declared = {column.name: column.meaning for run in runs for column in run.columns}
    own = {name: each.description for kind in (TimeRow, Row) for name, each in kind.model_fields.items() if each.description}
    return declared | own | DERIVED
