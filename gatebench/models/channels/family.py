"""Channel gates: channels of convolutions that are left out per input. Nothing here imports torch."""

from ...row import Column
from ..registry import Gating, register
from .settings import ChannelEvaluation, Saliency, Sparsity

PARAMS = Column(
    name="params_kept", kind="number", heading="parameters kept", unit="share", digits=1,
    meaning="weights of channels that are on for some scored input, gates included, over those of all",
)  # fmt: skip
TRADEOFFS = {
    "losses.sparsity.weight": Column(
        name="tradeoff", kind="number", heading="L1 weight", digits=None, meaning="weight of the sum of the gates in the loss"
    ),
    "model.gate.density": Column(name="tradeoff", kind="number", heading="density", meaning="share of each layer's channels that are on"),
}
COLUMNS = (
    Column(
        name="gates_run", kind="text", heading="gates run", names_policy=True,
        meaning="hard: on or off; soft: every channel runs, scaled by its gate; scaled: off, or scaled",
    ),
    PARAMS,
)  # fmt: skip
CHANNELS = Gating(
    "channels",
    "Channels of a convolution are left out for an image. The fewer are on, the smaller the convolution, and the more of the time goes into"
    " picking them.",
)

for kind, depths in (("vgg", (11, 13)), ("resnet", (18, 34))):
    for depth in depths:
        register(
            f"lag-{kind}{depth}",
            f"gatebench.models.channels.{kind}:Gated{'Vgg' if kind == 'vgg' else 'ResNet'}",
            recipes=f"lag-{kind}",
            default="released",
            preset={"depth": depth},
            losses=(Sparsity, Saliency),
            study=ChannelEvaluation,
            columns=COLUMNS,
            tradeoffs=TRADEOFFS,
            pictures="gatebench.models.channels.pictures:pictures",
            gating=CHANNELS,
        )

register("lag-compact", "gatebench.models.channels.compact:Compact", parents=("gated",), gating=CHANNELS)
register(
    "pruned",
    "gatebench.models.channels.pruned:pruned",
    default="magnitude",
    parents=("network",),
    columns=(
        Column(name="tradeoff", kind="number", heading="density", meaning="share of each layer's channels that stay"),
        PARAMS,
    ),
)
