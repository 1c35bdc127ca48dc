"""Experts, networks of timm and torchvision, and what routes between them. Nothing here imports torch."""

from ..registry import Gating, register
from .columns import COLUMNS
from .settings import RoutingLoss, RoutingStudy

EXPERTS = Gating("experts", "A small network sends each image to one of several networks. Only that one runs.")

register(
    "expert",
    "gatebench.models.experts.expert:expert",
    default="squeezenet",
    pretrained="gatebench.models.experts.weights:find",
)

register(
    "router",
    "gatebench.models.experts.build:router",
    losses=(RoutingLoss,),
    study=RoutingStudy,
    measured="latency_ms",
    replays=True,
    pretrained="gatebench.models.experts.weights:find_for_gater",
    columns=COLUMNS,
    with_times="gatebench.models.experts.paid:with_gater",
    pictures="gatebench.models.experts.pictures:pictures",
    gating=EXPERTS,
)
