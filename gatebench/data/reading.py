"""Data sets read once, for everything in this process that shares them."""

import functools
from pathlib import Path

from . import catalogue
from .images import Dataset
from .settings import Data


def read(data: Data, root: Path) -> Dataset:
    """The data set of a recipe's settings, read once. Raises as `catalogue.load`."""
    return _read(data.model_copy(update={"augment": "none"}), root)  # which says nothing of what is read


@functools.lru_cache(maxsize=8)  # a router's and those of its experts, each of which may have a training severity of its own
def _read(data: Data, root: Path) -> Dataset:
    return catalogue.load(data, root, _original)


_original = functools.lru_cache(maxsize=2)(catalogue.original)
