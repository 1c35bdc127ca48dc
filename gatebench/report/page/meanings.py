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
}
"""Of columns that only tables have."""


def meanings(runs: Iterable[Run]) -> dict[str, str]:
    """By the name of a column."""
    declared = {column.name: column.meaning for run in runs for column in run.columns}
    own = {name: each.description for kind in (TimeRow, Row) for name, each in kind.model_fields.items() if each.description}
    return declared | own | DERIVED
