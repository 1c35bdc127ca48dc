"""Columns of rows that only routers have. Nothing here imports torch."""

from ...row import Column

COLUMNS = (
    Column(
        name="tradeoff", kind="number", heading="lambda", digits=2, of_run=True,
        meaning="weight of cross-entropy against expected time (Routing Beats Latency, section 3.5)",
    ),
    Column(
        name="expected_ms", kind="number", unit="ms", heading="looked-up time", digits=2,
        meaning="mean of the chosen experts' own times, the gater left out",
    ),
)  # fmt: skip
