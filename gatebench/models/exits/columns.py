"""Columns of rows that only networks with exits have. Nothing here imports torch."""

from ...row import BUDGET, Column

COLUMNS = (
    BUDGET,
    Column(name="thresholds", kind="numbers", meaning="of every exit but the last; null: its head is not asked, nothing leaves there"),
    Column(name="temperatures", kind="numbers", meaning="that each exit's logits are divided by before they are scored; absent: none"),
    Column(
        name="overthinking_pct", kind="number", unit="%", heading="overthinking", of_run=True,
        meaning="inputs that an exit gets right and the last one wrong",
    ),
    Column(
        name="oracle_accuracy", kind="number", unit="%", heading="oracle's accuracy", of_run=True,
        meaning="accuracy of leaving at the first exit that is right",
    ),
    Column(name="oracle_macs", kind="number", unit="MACs", heading="oracle's cost", of_run=True, meaning="mean cost of leaving there"),
    Column(
        name="calibration_error_pct", kind="numbers", unit="%", digits=1, heading="calibration error", of_run=True,
        meaning="expected calibration error of each exit, at its temperature",
    ),
)  # fmt: skip
