"""How complex images are, by the number that the router `complexity` decides by: CIFAR-10 beside corrupted Intel scenes.

    python benchmarks/complexity.py [DATA_ROOT]

Mean, median and deciles over the test part. "Routing Beats Latency" gives a mean of .193 and a median of .195 for ICNet-9600 on CIFAR-10,
and takes the narrow range for a reason why complexity cannot route.
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gatebench.data.catalogue import load
from gatebench.data.settings import Data
from gatebench.models.experts.complexity import sobel, spatial_information
from gatebench.models.experts.study import distribution
from gatebench.recipe import load as recipe_of


def complexity(pixels: np.ndarray) -> np.ndarray:
    """Of images [N, H, W, C] of 8 bits, [N]."""
    chunks = torch.from_numpy(pixels).split(256)
    return torch.cat([spatial_information(each.permute(0, 3, 1, 2).float() / 255, sobel()) for each in chunks]).numpy()


def table(settings: list[Data], root: Path) -> pd.DataFrame:
    """A line for each data set, and for each severity of those that have some."""
    lines = {}
    for each in settings:
        dataset = load(each, root)
        values = complexity(dataset.test.pixels)
        lines[f"{dataset.name}, all"] = distribution(values)
        for number, name in enumerate(dataset.severities):
            lines[f"{dataset.name}, {name}"] = distribution(values[dataset.test.severity == number])
    return pd.DataFrame(lines).T


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GATEBENCH_DATA", Path.home() / ".cache" / "gatebench"))
    intel = recipe_of("router", "router", "complexity").data
    print(table([Data(name="cifar10"), intel.model_copy(update={"training_severity": "clean"})], root).round(3).to_string())


if __name__ == "__main__":
    main()
