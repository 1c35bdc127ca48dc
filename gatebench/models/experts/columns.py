"""Columns of rows that only routers have. Nothing here imports torch."""

from ...row import Column

TABLE = "routing.csv"
"""Of a run: its curves of accuracy against looked-up time."""
COLUMNS = (
    Column(
        name="tradeoff", kind="number", heading="lambda", digits=2,
        meaning="weight of cross-entropy against expected time (Routing Beats Latency, section 3.5)",
    ),
    Column(name="thresholds", kind="numbers", meaning="by which an expert is chosen, or of every expert but the last; null: never reached"),
    Column(name="interval_experts", kind="numbers", meaning="numbers of the experts, from 0, of the intervals between the thresholds"),
    Column(
        name="expected_ms", kind="number", unit="ms", heading="looked-up time", digits=2,
        meaning="mean of the own times of the experts that run, the gater left out",
    ),
    Column(
        name="mix_gain", kind="number", unit="points", heading="over random mix, gater free", digits=1, signed=True,
        meaning="accuracy minus that of experts mixed at random, at equal looked-up time; the mix is chosen on validation",
    ),
    Column(name="mix_gain_low", kind="number", unit="points", meaning="95 % interval over images, an image's severities together"),
    Column(name="mix_gain_high", kind="number", unit="points", meaning="95 % interval over images, an image's severities together"),
    Column(
        name="mix_gain_paid", kind="number", unit="points", heading="over random mix", digits=1, signed=True,
        meaning="the same with what the gater takes, as it was timed, paid for; known where times are",
    ),
    Column(name="mix_gain_paid_low", kind="number", unit="points", meaning="its 95 % interval"),
    Column(name="mix_gain_paid_high", kind="number", unit="points", meaning="its 95 % interval"),
    Column(
        name="gap_recovered", kind="number", unit="share", heading="way to the oracle", digits=0,
        meaning="from the accuracy of the best single expert, chosen on validation, to the oracle's",
    ),
    Column(
        name="oracle_agreement_pct", kind="number", unit="%", heading="as the oracle", digits=1,
        meaning="inputs that are answered by the oracle's expert",
    ),
    Column(
        name="oracle_accuracy", kind="number", unit="%", heading="oracle's accuracy", digits=1, of_run=True,
        meaning="of the cheapest expert that is right, and the cheapest of all where none is",
    ),
    Column(name="oracle_ms", kind="number", unit="ms", heading="oracle's time", of_run=True, meaning="mean looked-up time of the oracle"),
    Column(name="entropy_r2", kind="number", heading="R2 of the entropy", of_run=True, meaning="of the predicted mean entropy"),
    Column(name="entropy_r2_validation", kind="number", of_run=True, meaning="the same on the validation part"),
    Column(
        name="curve_area", kind="number", unit="%", heading="mean accuracy over times", digits=1, of_run=True,
        meaning="over all mean times from the cheapest to the dearest expert; the lambdas, and the cheapest expert, mixed at random",
    ),
    Column(name="curve_area_single", kind="number", unit="%", of_run=True, meaning="of the best expert that a time affords"),
    Column(name="curve_area_mix", kind="number", unit="%", of_run=True, meaning="of experts mixed at random"),
)  # fmt: skip
