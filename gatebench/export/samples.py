"""A run's network for inference, and real images for it.

Shapes: N images, H x W pixels, C channels.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.batches import Batches
from ..errors import UsageError
from ..models import registry
from ..profiling.networks import Loader
from ..recipe import read
from ..runs import RunFolder
from ..runtimes.fold import folded
from ..trained import DESCRIBED, check_weights, create


def check_run(folder: RunFolder) -> None:
    """Raises UsageError where no file of such a network leaves work out, whatever its weights are, and GatebenchError where it has none."""
    recipe = read(folder / "recipe.yaml")
    if "parents" not in registry.entry(recipe.model.name).parameters:  # what is made of other networks takes theirs
        net = create(recipe, folder.read_json("data.json", **DESCRIBED))
        net.pieces(torch.zeros(1, net.switches, dtype=torch.bool), most=1)
    check_weights(folder, "export")


class Samples:
    """The network of a finished run, its batch norms folded, and the data that it was trained on."""

    def __init__(self, run: Path, root: Path, policy: str | None = None, tradeoff: float | None = None):
        """At the operating point that `policy` and `tradeoff` name; None: as the headline's.

        Raises UsageError and GatebenchError where there is no such run or point, no file of such a network leaves work out, its weights are
        gone, or its data are others below `root`.
        """
        if not run.is_dir():
            raise UsageError(f"{run} is no run folder. Name one that `gatebench train` wrote.")
        named = Loader(root, check_run=check_run).enter([str(run)])
        if len(named) != 1:
            raise UsageError(f"{run} holds {len(named)} runs. Name one of them.")
        network = named[0].at_point(policy, tradeoff)
        self.net, self.data, self.statistics = folded(network.model), network.data, network.statistics
        kept = ("model", "recipe", "seed", "policy", "tradeoff", "dataset", "split")
        own = {key: value if isinstance(value := network.row[key], str) else round(value, 6) for key in kept if key in network.row}
        accuracy = round(network.row["accuracy"], 6)
        self.said = {"run": network.folder.path.name, **own, "accuracy_in_torch": accuracy, "classes": network.data.classes}

    def scored(self, count: int) -> tuple[np.ndarray, Tensor]:
        """Test images [N, H, W, C], and the same normalised, [N, C, H, W]."""
        some = self.data.test[np.arange(min(count, len(self.data.test)))]
        batches = Batches(some, *self.statistics, batch_size=len(some), device=torch.device("cpu"))
        return some.pixels, next(batches.in_order()).x
