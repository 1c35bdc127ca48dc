"""Early exits: networks that may answer before their end. Nothing here imports torch."""

from ..registry import register
from .columns import COLUMNS
from .settings import ExitChoice, ExitLoss

register(
    "cgt",
    "gatebench.models.exits.network:cgt",
    default="soft",
    losses=(ExitLoss,),
    study=ExitChoice,
    columns=COLUMNS,
    pictures="gatebench.models.exits.pictures:pictures",
)
