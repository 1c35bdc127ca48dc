"""Our counts of MACs beside those that torchvision and timm publish.

    python benchmarks/published_macs.py [TIMM.csv ...]

torchvision's stand beside its weights; all of its classifiers are counted. timm's stand in the files results/benchmark-infer-*.csv of its
repository; of each of its modules the smallest network of at least 0.2 billion MACs is counted. Takes three
minutes. Output in results/benchmarks/published-macs.txt.
"""

import argparse
import csv
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from rich.console import Console
from rich.progress import track
from torch import nn
from torchvision import models

from gatebench.measure.macs import Count, count

LEAST = 0.2
"""Billion MACs, below which two decimals say little."""
APART, ROUNDING = 2.0, 0.01
"""Percent and billion MACs above which a network is named."""

Published = tuple[str, nn.Module, int, float]
"""Name, network, side of its images, billion MACs."""


def of_torchvision() -> Iterator[Published]:
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            side = weights.transforms().crop_size[0]
            sized = {"image_size": side} if name.startswith("vit") else {}
            yield f"{name} {weights.name}", models.get_model(name, weights=None, **sized), side, weights.meta["_ops"]


def of_timm(files: list[Path]) -> Iterator[Published]:
    published: dict[tuple[str, int], float] = {}
    for file in files:
        for row in csv.DictReader(file.open()):
            if row["infer_gmacs"]:
                published[row["model"].partition(".")[0], int(row["infer_img_size"])] = float(row["infer_gmacs"])
    for module in timm.list_modules():
        sized = ((name, timm.get_pretrained_cfg(name).input_size[-1]) for name in timm.list_models(module=module))
        known = [(published[each], *each) for each in sized if published.get(each, 0) >= LEAST]
        if known:
            macs, name, side = min(known)
            yield name, timm.create_model(name), side, macs


def counted(network: nn.Module, side: int) -> Count:
    """Of one image, without computing anything where the network allows that."""
    for device in ("meta", "cpu"):
        try:
            with torch.no_grad():
                return count(network.to(device).eval(), torch.zeros(1, 3, side, side, device=device))
        except (RuntimeError, NotImplementedError):  # of what needs values
            network = network.to_empty(device="cpu")
    raise RuntimeError("it does not run")


def compare(library: str, published: Iterator[Published], console: Console) -> None:
    apart = {}
    for name, network, side, theirs in track(published, library, console=Console(stderr=True), transient=True):
        ours = counted(network, side)
        if ours.uncounted:
            console.print(f"{library} {name}: not counted: {', '.join(ours.uncounted)}")
            continue
        apart[name] = ours.macs / 1e9 - theirs, 100 * (ours.macs / 1e9 / theirs - 1)
        if abs(apart[name][0]) > ROUNDING and abs(apart[name][1]) > APART:
            console.print(f"{library} {name}: {ours.macs / 1e9:.3f} billion MACs, published {theirs:g} ({apart[name][1]:+.1f} %)")
    billions, percent = np.array(list(apart.values())).T
    console.print(f"{library}: {len(apart)} compared; at most {abs(billions).max():.4f} billion MACs apart")
    console.print(f"{library}: {np.median(percent):+.2f} % in the median, {percent.min():+.2f} to {percent.max():+.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("timm", type=Path, nargs="*", metavar="TIMM.csv")
    files, console = parser.parse_args().timm, Console(highlight=False, soft_wrap=True)
    warnings.simplefilter("ignore")
    console.print(f"torch {torch.__version__.partition('+')[0]}, timm {timm.__version__}")
    compare("torchvision", of_torchvision(), console)
    if files:
        compare("timm", of_timm(files), console)


if __name__ == "__main__":
    main()
