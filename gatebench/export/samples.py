"""A run's network for inference, and real images for it.

Shapes: N images, H x W pixels, C channels, S switches.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.batches import Batches
from ..data.images import Images
from ..errors import UsageError
from ..profiling.networks import Loader
from ..runtimes.fold import folded


class Samples:
    """The network of a finished run, its batch norms folded, and the data that it was trained on."""

    def __init__(self, run: Path, root: Path):
        """Raises UsageError and GatebenchError where there is no such run, its weights are gone, or its data are others below `root`."""
        if not run.is_dir():
            raise UsageError(f"{run} is no run folder. Name one that `gatebench train` wrote.")
        named = Loader(root).enter([str(run)])
        if len(named) != 1:
            raise UsageError(f"{run} holds {len(named)} runs. Name one of them.")
        (network,) = named
        self.net, self.data = folded(network.model), network.data
        kept = ("model", "recipe", "seed", "accuracy", "dataset", "split")
        self.said = {"run": network.folder.path.name, **{key: network.row[key] for key in kept}, "classes": network.data.classes}

    @property
    def image(self) -> Tensor:
        """One as the data set has it, [1, H, W, C]."""
        return torch.from_numpy(self.data.test.pixels[:1].copy())

    def scored(self, count: int) -> tuple[np.ndarray, Tensor]:
        """Test images [N, H, W, C], and the same normalised, [N, C, H, W]."""
        some = self.data.test[np.arange(min(count, len(self.data.test)))]
        return some.pixels, self._normalised(some)

    def common(self, images: int, most: int) -> Tensor:
        """Decisions [K, S] on images that are not scored, the commonest first."""
        part = self.data.validation or self.data.train
        x = self._normalised(part[np.linspace(0, len(part) - 1, min(images, len(part))).astype(int)])
        with torch.inference_mode():
            decided = torch.cat([self.net.infer(each).decisions for each in x.split(250)])
        common = [pattern for pattern, _ in Counter(map(tuple, decided.tolist())).most_common(most)]
        return torch.tensor(common, dtype=torch.bool).reshape(len(common), self.net.switches)

    def _normalised(self, images: Images) -> Tensor:
        prepare = self.net.prepare
        batches = Batches(images, prepare.mean, prepare.std, batch_size=len(images), device=torch.device("cpu"))
        return next(batches.in_order()).x
