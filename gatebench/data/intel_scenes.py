"""Intel Image Classification: natural scenes of six classes (Kaggle, puneet6060/intel-image-classification)."""

from dataclasses import replace
from pathlib import Path

from ..errors import MissingData
from .files import load_folder
from .images import Dataset

IMAGE_SIZE = 128
LAYOUTS = (("train", "test"), ("seg_train/seg_train", "seg_test/seg_test"))
"""Folders of the two splits: ours, and as Kaggle packs them."""


def find_splits(root: Path) -> tuple[str, str] | None:
    """Which of the layouts lies in `root/intel-scenes/`; None where neither does."""
    return next((splits for splits in LAYOUTS if all((root / "intel-scenes" / split).is_dir() for split in splits)), None)


def load_intel_scenes(root: Path, image_size: int | None) -> Dataset:
    """The images below `root/intel-scenes/`, scaled and centre-cropped to `image_size`, 128 where none is given.

    Raises MissingData where they are not there, UsageError as `load_folder`.
    """
    splits = find_splits(root)
    if splits is None:
        folder = root / "intel-scenes"
        raise MissingData(
            f"intel-scenes is not below {root}. Get Kaggle's puneet6060/intel-image-classification and put its images at {folder}/train"
            f"/<class>/ and {folder}/test/<class>/, or name another folder with --data-dir or $GATEBENCH_DATA."
        )
    folder = root / "intel-scenes"
    parts = {role: folder / split for role, split in zip(("train", "test"), splits, strict=True)}
    return replace(load_folder(folder, image_size or IMAGE_SIZE, parts), name="intel-scenes")
