"""What deciding for each image is worth where batch norm is recalibrated for fixed blocks: results/benchmarks/recalibrated.txt.

    python benchmarks/recalibrated.py RUN ... [--data-dir DATA]

Each RUN is a network with gates on blocks whose weights are kept. Its row compares it with fixed blocks that keep the statistics which
batch norm has from training, where blocks come and go. Here each fixed pattern takes its own, and then the network that decides takes
its own, too: on training images that are cropped and flipped as in training, since with whole ones networks answer worse. Patterns are
tried and chosen as for the row (`evaluation/adaptivity.py`), in fp32.
"""

import argparse
import copy
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gatebench.contract import GatedModel
from gatebench.data.batches import Batches
from gatebench.data.catalogue import data_root, load
from gatebench.evaluation.adaptivity import contenders, images_to_choose_on, patterns
from gatebench.evaluation.fixed import FixedChoices
from gatebench.evaluation.outcome import collect
from gatebench.outputs import scoring_batches
from gatebench.runs import RunFolder
from gatebench.trained import load_run

IMAGES = 5_000
"""Training images whose mean and variance batch norm takes."""
PRECISION = "fp32"
WHICH = {"neither": (False, False), "fixed blocks": (False, True), "both": (True, True)}
"""What is recalibrated: the network that decides, and fixed blocks."""


@torch.no_grad()
def recalibrated(model: GatedModel, images: Batches, pattern: Tensor | None = None) -> GatedModel:
    """A copy whose batch norms have their statistics from these images, with the same blocks [S] on for all; None: with what it decides."""
    model = copy.deepcopy(model)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
            norm.train()
    for batch in images.shuffled(0):
        model.infer(batch.x, decisions=None if pattern is None else pattern.expand(len(batch.x), -1))
    return model.eval()


def worth(model: GatedModel, calibration: Batches, first: Batches, more: Batches, scored: Batches, gated: bool, fixed: bool) -> dict:
    """The columns of a row; with or without recalibration of the network that decides, and of fixed blocks."""
    deciding = recalibrated(model, calibration) if gated else model
    tried = patterns(deciding, first, PRECISION)
    at = cache(lambda number: recalibrated(model, calibration, tried[number]) if fixed else model)

    def imposed(number: int, on: Batches):
        return collect(at(number), on, PRECISION, imposed=tried[number])

    own, outcomes = collect(deciding, scored, PRECISION), [imposed(number, first) for number in range(len(tried))]
    right, macs = np.stack([each.correct for each in outcomes]), np.array([each.executed.mean() for each in outcomes])
    kept = contenders(right, macs, float(own.executed.mean()))
    right = np.concatenate([right[kept], np.stack([imposed(number, more).correct for number in kept.tolist()])], 1)
    choices = FixedChoices(right.mean(1), macs[kept], "train")
    return {"accuracy": own.accuracy} | choices.columns(
        own.correct, own.executed, cache(lambda choice: imposed(int(kept[choice]), scored).correct), scored.source
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--data-dir", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for run in given.runs:
        model, recipe, _ = load_run(RunFolder(run), chosen=False)
        model.to(memory_format=torch.channels_last)
        dataset, cpu = load(recipe.data, data_root(given.data_dir)), torch.device("cpu")
        _, (first, more) = images_to_choose_on(dataset)
        seen = np.sort(np.random.default_rng(1).permutation(len(dataset.train))[:IMAGES])
        of, told = model.prepare, {"batch_size": 250, "device": cpu, "crop": True, "flip": dataset.mirrors}
        calibration = Batches(dataset.train[seen], of.mean, of.std, **told)
        parts = [scoring_batches(model, images, cpu) for images in (first, more, dataset.test)]
        for name, which in WHICH.items():
            said = worth(model, calibration, *parts, *which)
            gain = "{adaptivity_gain:+.2f} points ({adaptivity_gain_low:+.2f} to {adaptivity_gain_high:+.2f})".format(**said)
            print(f"{run.resolve().name}, {name} recalibrated: {said['accuracy']:.2f} %, {gain} over fixed blocks", flush=True)


if __name__ == "__main__":
    main()
