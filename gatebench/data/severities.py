"""The parts of a data set in several severities of corruption.

Shapes: N images, S severities, H x W pixels, C channels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ..errors import UsageError, nearest
from .corruption import corrupt, noise_keys
from .images import Dataset, Images
from .settings import Corruption, Data

PARTS = ("train", "test", "validation")
SEVERAL = ("all", "random")
"""Training severities that are not the name of one."""
_CHUNK = 16
"""Images corrupted at once: few enough for the caches of a core."""


def check_severities(data: Data) -> None:
    """Raises UsageError where training images are to come in a severity that is not defined, or one has the name of several."""
    for name in data.severities:
        if name in SEVERAL:
            raise UsageError(f"data.severities: {name!r} stands for several severities; give this one another name.")
    if data.training_severity != "all" and not data.severities:
        raise UsageError(f"data.training_severity = {data.training_severity!r} needs data.severities; none is set.")
    allowed = [*SEVERAL, *data.severities]
    if data.training_severity not in allowed:
        matches = nearest(data.training_severity, allowed)
        raise UsageError(f"data.training_severity = {data.training_severity!r} is not a severity.{matches} Known: {', '.join(allowed)}.")


def numbered(dataset: Dataset) -> Dataset:
    """The data set, whose images know as `source` their number among all images of the set, whatever is carved from a part later."""
    parts = {name: getattr(dataset, name) for name in PARTS if getattr(dataset, name)}
    return replace(
        dataset,
        **{
            name: replace(images, source=np.arange(len(images)) + (PARTS.index(name) << 28))
            for name, images in parts.items()
        },
    )  # fmt: skip


def in_severities(dataset: Dataset, data: Data) -> Dataset:
    """A numbered data set with every scored and validation image in all severities, and training images as the settings say.

    Raises UsageError where the pixels are not of 8 bits.
    """
    if dataset.train.pixels.dtype != np.uint8:
        raise UsageError(f"data.severities are for images of 8 bits a channel, not for the {dataset.train.pixels.dtype} of {dataset.name}.")
    corruptions = list(data.severities.values())
    every, drawn = range(len(corruptions)), data.training_severity == "random"
    if drawn:
        train = replace(dataset.train, source=np.arange(len(dataset.train)))
    else:
        wanted = every if data.training_severity == "all" else [list(data.severities).index(data.training_severity)]
        train = corrupted(dataset.train, corruptions, wanted)
    return replace(
        dataset,
        train=train,
        test=corrupted(dataset.test, corruptions, every),
        validation=corrupted(dataset.validation, corruptions, every) if dataset.validation else None,
        severities=tuple(data.severities),
        drawn=tuple((each.blur, each.noise) for each in corruptions) if drawn else (),
    )


def corrupted(images: Images, corruptions: Sequence[Corruption], wanted: Sequence[int]) -> Images:
    """Numbered images in each of the wanted severities: [S * N], all images of one severity after all of another.

    The noise of an image is decided by its number and the index of the severity.
    """
    count = len(images)
    pixels = np.empty((len(wanted) * count, *images.pixels.shape[1:]), np.uint8)
    for place, index in enumerate(wanted):
        keys = noise_keys(torch.from_numpy(images.source), index)
        for start in range(0, count, _CHUNK):
            chunk = slice(start, min(start + _CHUNK, count))
            changed = corrupt(torch.from_numpy(images.pixels[chunk]), corruptions[index], keys[chunk])
            pixels[place * count + chunk.start : place * count + chunk.stop] = changed.numpy()
    return Images(
        pixels,
        np.tile(images.labels, len(wanted)),
        None if images.difficulty is None else np.tile(images.difficulty, len(wanted)),
        severity=np.repeat(np.asarray(wanted, np.int64), count),
        source=np.tile(np.arange(count), len(wanted)),
    )
