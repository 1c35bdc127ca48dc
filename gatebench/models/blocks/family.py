"""Block gates: residual blocks that are left out per input. Nothing here imports torch."""

from ..registry import register
from .settings import Consistency, Prediction

register("cosinegate", "gatebench.models.blocks.cosinegate:cosinegate", default="balanced", losses=(Consistency, Prediction))
