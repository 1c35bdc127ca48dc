"""Block gates: residual blocks that are left out per input. Nothing here imports torch."""

from ...row import Column
from ..registry import register
from .settings import Consistency, Prediction

COLUMNS = (
    Column(
        name="tradeoff", kind="number", heading="budget weight", digits=1,
        meaning="weight of the loss that holds the gates to a budget",
    ),
)  # fmt: skip

register(
    "cosinegate",
    "gatebench.models.blocks.cosinegate:cosinegate",
    default="balanced",
    losses=(Consistency, Prediction),
    columns=COLUMNS,
)
