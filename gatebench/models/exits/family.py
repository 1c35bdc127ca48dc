"""Early exits: networks that may answer before their end. Nothing here imports torch."""

from ..registry import Gating, register
from .columns import COLUMNS
from .settings import ExitChoice, ExitLoss

EXITS = Gating("exits", "An image leaves at the first exit that is sure enough. What comes behind it is never computed.")

register(
    "cgt",
    "gatebench.models.exits.network:cgt",
    default="soft",
    losses=(ExitLoss,),
    study=ExitChoice,
    columns=COLUMNS,
    pictures="gatebench.models.exits.pictures:pictures",
    gating=EXITS,
)
