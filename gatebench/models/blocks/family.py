"""Block gates: residual blocks that are left out per input. Nothing here imports torch."""

from ...row import Column
from ..registry import Gating, register
from .losses import Consistency, DecisionEntropy, EarlyAnswer, PolicyGradient, Prediction, Reinforce, TargetRate

TRADEOFFS = {
    setting: Column(name="tradeoff", kind="number", heading=heading, digits=digits, meaning=meaning)
    for setting, heading, digits, meaning in (
        ("losses.budget.weight", "budget weight", 1, "weight of the loss that holds the gates to a budget"),
        ("losses.target_rate.target", "target rate", 2, "share of the inputs that each block is to run for"),
        ("losses.reinforce.reward", "reward", 2, "for leaving out every block, beside the cross-entropy"),
        ("losses.policy_gradient.penalty", "penalty", 1, "for a wrong answer, where leaving out every block is worth 1"),
        ("model.gate.rate", "rate", 2, "probability of a block to run"),
        ("model.subset.macs", "MACs", 2, "share of the network's MACs that the blocks may cost"),
    )
}
BLOCKS = Gating(
    "blocks",
    "A residual block is left out for an image: its shortcut alone goes on. What is saved is the block's work, and deciding has to cost"
    " less.",
)

register(
    "cosinegate",
    "gatebench.models.blocks.cosinegate:cosinegate",
    default="balanced",
    losses=(Consistency, Prediction, DecisionEntropy),
    tradeoffs=TRADEOFFS,
    gating=BLOCKS,
)
for name, source, losses in (
    ("skipnet", "skipnet:SkipNet", (Reinforce,)),
    ("convnet-aig", "convnet_aig:ConvNetAig", (TargetRate,)),
    ("blockdrop", "blockdrop:BlockDrop", (PolicyGradient,)),
    ("slat", "slat:Slat", ()),
    ("when-unsure", "when_unsure:WhenUnsure", (EarlyAnswer, TargetRate)),
    ("random-skip", "chance:RandomSkip", ()),
    ("stochastic-depth", "fixed:StochasticDepth", ()),
):
    register(name, f"gatebench.models.blocks.{source}", losses=losses, tradeoffs=TRADEOFFS, gating=BLOCKS)
register("fixed-blocks", "gatebench.models.blocks.fixed:fixed_blocks", parents=("network",), tradeoffs=TRADEOFFS)
