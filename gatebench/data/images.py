"""What every source of images gives."""

import hashlib
import json
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Images:
    """One split in memory."""

    pixels: np.ndarray
    """[N, H, W, C], uint8, or int16 where 8 bits are too few."""
    labels: np.ndarray
    """int64 [N]."""
    difficulty: np.ndarray | None = None
    """Known difficulty in [0, 1], float32 [N]; None where nobody knows it."""
    severity: np.ndarray | None = None
    """Index of each image's corruption in the data set's severities, int64 [N]; None where images come as they are."""
    source: np.ndarray | None = None
    """Number of the underlying image within its part, the same in every severity, int64 [N]; None without severities."""
    noise: np.ndarray | None = None
    """Number of the image in the data set, by which its noise is drawn whatever part it is carved into, int64 [N]; None without
    severities."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index) -> "Images":
        return Images(*(None if array is None else array[index] for array in vars(self).values()))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.pixels.shape[1:]

    @property
    def type(self) -> np.dtype:
        """Of the pixels."""
        return self.pixels.dtype

    def checksum(self, value: int = 0) -> int:
        """CRC-32 of pixels and labels, going on from `value`."""
        for array in (self.pixels, self.labels):
            value = zlib.crc32(np.ascontiguousarray(array), value)
        return value


@dataclass(frozen=True)
class Dataset:
    """A training and a scored split, with the statistics that normalise both."""

    name: str
    classes: list[str]
    train: Images
    test: Images
    mean: tuple[float, ...]
    """Per channel, of pixels scaled to [0, 1] (divided by the largest value of their type)."""
    std: tuple[float, ...]
    mirrors: bool = True
    """Whether an image's mirror image has the same label; digits' have not."""
    validation: Images | None = None
    """A part carved from train, to choose something on."""
    scored: str = "test"
    """What `test` is: "test", or "validation" where that part is scored itself, and the test split not looked at."""
    severities: tuple[str, ...] = ()
    """Names of the corruptions in which images come, in the order of severity; empty: images come as they are."""
    drawn: tuple[tuple[float, float], ...] = ()
    """Blur and noise of the corruptions of which a training image gets one drawn anew every epoch; empty: none is drawn."""
    holdout: int = 0
    """Images put aside from train, for what is trained on the outputs of networks that were trained on the rest."""
    notes: tuple[str, ...] = ()
    """Sentences on how files were read that whoever gave them has to know: what was left out, split or scaled."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        height, width, channels = self.train.shape
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits of the pixels and labels of all splits."""
        value = 0
        for part in filter(None, (self.train, self.test, self.validation)):
            value = part.checksum(value)
        return f"{value:08x}"

    def describe(self) -> dict:
        """The contents of `data.json`: all that a network needs to know of its data in order to be built and fed again.

        `digest` is that of everything that decides a run's numbers.
        """
        described = {
            "name": self.name, "classes": self.classes, "input_shape": self.input_shape, "mean": self.mean, "std": self.std,
            "mirrors": self.mirrors, "train": len(self.train), "scored": self.scored, self.scored: len(self.test),
            "fingerprint": self.fingerprint, **({"validation": len(self.validation)} if self.validation else {}),
        }  # fmt: skip
        described |= {name: getattr(self, name) for name in ("severities", "drawn", "holdout", "notes") if getattr(self, name)}
        return {**described, "digest": digest(described)}

    def carve(self, validation: int, holdout: int = 0, train_on: Literal["rest", "holdout"] = "rest") -> "Dataset":
        """The data set with that many training images put aside, in an order drawn by a fixed seed: validation from its beginning, the
        holdout from its end. So no two of rest, holdout and validation share an image, whichever of rest and holdout is trained on."""
        order = np.random.default_rng(0).permutation(len(self.train))
        end = len(order) - holdout
        chosen = order[end:] if train_on == "holdout" else order[validation:end]
        carved = replace(self, train=self.train[np.sort(chosen)], holdout=holdout)
        return replace(carved, validation=self.train[np.sort(order[:validation])]) if validation else carved

    def score_validation(self) -> "Dataset":
        """The validation part in the place of test, which is not looked at."""
        return replace(self, test=self.validation, validation=None, scored="validation")


def digest(described: dict) -> str:
    """Eight hexadecimal digits of what of data.json decides a run's numbers: pixels, labels, split, statistics, flips, corruptions
    that training draws from; not the names."""
    decisive = [described[key] for key in ("fingerprint", "input_shape", "scored", "mean", "std", "mirrors")]
    decisive += [described["drawn"]] if "drawn" in described else []
    return hashlib.sha256(json.dumps([*decisive, len(described["classes"])]).encode()).hexdigest()[:8]


def channel_statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of pixels [N, H, W, C], scaled to [0, 1]."""
    most = np.iinfo(pixels.dtype).max
    chunk = max(1, 2**18 // pixels[0, ..., 0].size)  # bincount makes int64 of them, which then stay in the cache
    counts = [
        sum(np.bincount(pixels[start : start + chunk, ..., channel].ravel(), minlength=most + 1) for start in range(0, len(pixels), chunk))
        for channel in range(pixels.shape[-1])
    ]
    levels = np.arange(most + 1) / most
    means = [float(np.average(levels, weights=count)) for count in counts]
    deviations = [float(np.sqrt(np.average((levels - mean) ** 2, weights=count))) for count, mean in zip(counts, means, strict=True)]
    return tuple(means), tuple(max(deviation, 1e-3 if most == 255 else 1e-5) for deviation in deviations)
