"""A run's network for inference, and real images for it.

Shapes: N images, H x W pixels, C channels, S switches.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data import reading
from ..data.batches import Batches
from ..data.images import Images
from ..runs import RunFolder
from ..runtimes.fold import folded
from ..trained import load_run


class Samples:
    """The network of a finished run, its batch norms folded, and the data that it was trained on."""

    def __init__(self, folder: RunFolder, root: Path):
        """Raises UsageError and GatebenchError as `load_run` and `data.catalogue.load`."""
        row = folder.headline()
        model, recipe, described = load_run(folder)
        self.net, self.data = folded(model), reading.read(recipe.data, root)
        self.said = {
            "run": folder.path.name, "model": row["model"], "recipe": row["recipe"], "accuracy": row["accuracy"], "dataset": row["dataset"],
            "split": row["split"], "classes": described["classes"],
        }  # fmt: skip

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
        counts = Counter(map(tuple, decided.tolist()))
        return torch.tensor([pattern for pattern, _ in counts.most_common(most)], dtype=torch.bool).reshape(-1, self.net.switches)

    def _normalised(self, images: Images) -> Tensor:
        prepare = self.net.prepare
        batches = Batches(images, prepare.mean, prepare.std, batch_size=len(images), device=torch.device("cpu"))
        return next(batches.in_order()).x
