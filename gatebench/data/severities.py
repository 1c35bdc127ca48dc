"""The parts of a data set in several severities of corruption.

Shapes: N images, S severities, H x W pixels, C channels.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from ..errors import UsageError, nearest
from .images import Dataset, Images
from .settings import SEVERAL, Corruption, Data

PARTS = ("train", "test", "validation")
MOST = 2**28
"""Images of a part whose numbers are told apart."""
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
    """The data set with the `noise` numbers of its images; parts of up to `MOST` images share none."""
    parts = {name: getattr(dataset, name) for name in PARTS if getattr(dataset, name)}
    numbers = {name: np.arange(len(images)) + MOST * PARTS.index(name) for name, images in parts.items()}
    return replace(dataset, **{name: replace(images, noise=numbers[name]) for name, images in parts.items()})


def in_severities(dataset: Dataset, data: Data) -> Dataset:
    """A numbered data set with every scored and validation image in all severities, and training images as the settings say.

    Raises UsageError where the pixels are not of 8 bits.
    """
    if dataset.train.type != np.uint8:
        raise UsageError(f"data.severities are for images of 8 bits a channel, not for the {dataset.train.type} of {dataset.name}.")
    corruptions = list(data.severities.values())
    every, drawn = range(len(corruptions)), data.training_severity == "random"
    if drawn:
        train = replace(dataset.train, source=np.arange(len(dataset.train)))
    else:
        wanted = every if data.training_severity == "all" else [list(data.severities).index(data.training_severity)]
        train = Corrupted(dataset.train, corruptions, wanted)
    return replace(
        dataset,
        train=train,
        test=Corrupted(dataset.test, corruptions, every),
        validation=Corrupted(dataset.validation, corruptions, every) if dataset.validation else None,
        severities=tuple(data.severities),
        drawn=tuple((each.blur, each.noise) for each in corruptions) if drawn else (),
    )


class Corrupted:
    """Numbered images in each of the wanted severities, as `Images`: [S * N], all images of one severity after all of another.

    Pixels are computed when they are asked for. An image's noise is decided by its `noise` number and the index of the severity.
    """

    def __init__(self, images: Images, corruptions: Sequence[Corruption], wanted: Sequence[int]):
        self.clean, self.corruptions = images, tuple(corruptions)
        count, times = len(images), len(wanted)
        self.severity, self.source = np.repeat(np.asarray(wanted, np.int64), count), np.tile(np.arange(count), times)
        self.labels = np.tile(images.labels, times)
        self.difficulty = None if images.difficulty is None else np.tile(images.difficulty, times)
        self.shape, self.type = images.shape, images.type

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> Images:
        places = np.arange(len(self))[index]
        difficulty = None if self.difficulty is None else self.difficulty[places]
        return Images(self._pixels(places), self.labels[places], difficulty, self.severity[places], self.source[places])

    @cached_property
    def pixels(self) -> np.ndarray:
        """uint8 [S * N, H, W, C]."""
        return self._pixels(np.arange(len(self)))

    def checksum(self, value: int = 0) -> int:
        """CRC-32 of all that decides pixels and labels, going on from `value`: clean images, their numbers, and the corruptions."""
        corruptions = [(each.blur, each.noise) for each in self.corruptions]
        decisive = self.clean.noise.tobytes() + self.severity.tobytes() + repr(corruptions).encode()
        return zlib.crc32(decisive, self.clean.checksum(value))

    def _pixels(self, places: np.ndarray) -> np.ndarray:
        import torch  # not when data sets are only listed

        from .corruption import corrupt, noise_keys

        pixels = np.empty((len(places), *self.shape), np.uint8)
        for index, corruption in enumerate(self.corruptions):
            chosen = np.flatnonzero(self.severity[places] == index)
            for rows in np.split(chosen, range(_CHUNK, len(chosen), _CHUNK)) if len(chosen) else []:
                sources = self.source[places[rows]]
                keys = noise_keys(torch.from_numpy(self.clean.noise[sources]), index)
                pixels[rows] = corrupt(torch.from_numpy(self.clean.pixels[sources]), corruption, keys).numpy()
        return pixels
