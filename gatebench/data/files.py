"""A user's own images: a folder of them, or a MedMNIST-style .npz file."""

import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..errors import UsageError
from .images import Dataset, Images, channel_statistics


def load_npz(path: Path) -> Dataset:
    """`train_images` uint8 [N, H, W] or [N, H, W, C], `train_labels` [N] or [N, 1], `test_*` likewise, optional `classes`.

    Raises UsageError for a file that is not that.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [f"{split}_{what}" for split in ("train", "test") for what in ("images", "labels") if f"{split}_{what}" not in arrays]
            if missing:
                raise UsageError(f"{path} lacks {', '.join(missing)}; wanted are train_images, train_labels, test_images, test_labels.")
            splits = [_checked(arrays[f"{split}_images"], arrays[f"{split}_labels"], path, split) for split in ("train", "test")]
            names = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} is not a readable .npz file: {error}.") from None
    train, test = splits
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise UsageError(f"{path}: train images are {train.pixels.shape[1:]}, test images {test.pixels.shape[1:]}; they must be alike.")
    count = int(max(train.labels.max(), test.labels.max())) + 1
    classes = names if names and len(names) >= count else [str(label) for label in range(count)]
    return Dataset(path.stem, classes, train, test, *channel_statistics(train.pixels))


def _checked(pixels: np.ndarray, labels: np.ndarray, path: Path, split: str) -> Images:
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise UsageError(f"{path}: {split}_images must be uint8 [N, H, W] or [N, H, W, C], not {pixels.dtype} {pixels.shape}.")
    if pixels.ndim == 4 and pixels.shape[-1] not in (1, 3, 4):
        raise UsageError(f"{path}: {split}_images has {pixels.shape[-1]} channels in its last axis; wanted are 1, 3 or 4.")
    labels = labels.squeeze(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or len(labels) != len(pixels) or not len(labels) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UsageError(f"{path}: {split}_labels must be whole numbers from 0, one for each of the {len(pixels)} images.")
    return Images(pixels if pixels.ndim == 4 else pixels[..., None], labels.astype(np.int64))


def load_folder(path: Path, image_size: int | None) -> Dataset:
    """`train/<class>/*` and `test/<class>/*`, decoded to RGB; scaled and centre-cropped to `image_size` where one is given.

    Raises UsageError for a folder of another shape, classes that differ, an unreadable image, and sizes that differ.
    """
    for split in ("train", "test"):
        if not (path / split).is_dir():
            raise UsageError(f"{path} has no folder {split!r}; wanted are train/<class>/* and test/<class>/*.")
    from torchvision.datasets import ImageFolder

    try:
        folders = [ImageFolder(path / split) for split in ("train", "test")]
    except OSError as error:
        raise UsageError(f"{path}: {error}") from None
    train, test = folders
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise UsageError(f"{path}: class folders differ between train and test: {', '.join(odd)}.")
    splits = [_decode([name for name, _ in folder.samples], folder.targets, image_size) for folder in folders]
    if splits[0].pixels.shape[1:] != splits[1].pixels.shape[1:]:
        raise UsageError(f"{path}: train and test images differ in size; give one with --set data.image_size=...")
    return Dataset(path.resolve().name, train.classes, *splits, *channel_statistics(splits[0].pixels))


def _decode(names: list[str], labels: list[int], image_size: int | None) -> Images:
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms.functional import center_crop, resize

    def read(name: str) -> np.ndarray:
        try:
            with Image.open(name) as image:
                image = image.convert("RGB")
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            raise UsageError(f"{name} is not a readable image; mend or remove it.") from None
        if image_size:
            image = center_crop(resize(image, image_size, antialias=True), image_size)
        return np.asarray(image)

    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read, names))
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise UsageError(f"{Path(names[0]).parents[1]} holds images of {len(sizes)} sizes; give one with --set data.image_size=...")
    return Images(np.stack(images), np.asarray(labels, dtype=np.int64))
