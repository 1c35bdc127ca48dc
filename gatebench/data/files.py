"""A user's own images: a folder of them, or a MedMNIST-style .npz file."""

import struct
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
        reason = str(error).split(". ")[0].rstrip(".")  # numpy goes on with advice that is not ours
        raise UsageError(f"{path} is not a readable .npz file ({reason}); write plain arrays with numpy.savez.") from None
    train, test = splits
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise UsageError(f"{path}: train images are {train.pixels.shape[1:]}, test images {test.pixels.shape[1:]}; they must be alike.")
    count = int(max(train.labels.max(), test.labels.max())) + 1
    if count < 2 or count > len(train):
        raise UsageError(
            f"{path}: labels up to {count - 1} for {len(train)} training images; wanted are 0, 1, ... for two or more classes."
        )
    classes = names if names and len(names) >= count else [str(label) for label in range(count)]
    return Dataset(path.stem, classes, train, test, *channel_statistics(train.pixels))


def _checked(pixels: np.ndarray, labels: np.ndarray, path: Path, split: str) -> Images:
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise UsageError(f"{path}: {split}_images must be uint8 [N, H, W] or [N, H, W, C], not {pixels.dtype} {pixels.shape}.")
    if 0 in pixels.shape:
        raise UsageError(f"{path}: {split}_images is empty: {pixels.shape}.")
    if pixels.ndim == 4 and pixels.shape[-1] not in (1, 3, 4):
        raise UsageError(f"{path}: {split}_images has {pixels.shape[-1]} channels in its last axis; wanted are 1, 3 or 4.")
    labels = labels.squeeze(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or len(labels) != len(pixels) or not len(labels) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UsageError(f"{path}: {split}_labels must be whole numbers from 0, one for each of the {len(pixels)} images.")
    return Images(pixels if pixels.ndim == 4 else pixels[..., None], labels.astype(np.int64))


def load_folder(path: Path, image_size: int | None, splits: tuple[str, str] = ("train", "test")) -> Dataset:
    """`train/<class>/*` and `test/<class>/*`, decoded to RGB; scaled and centre-cropped to `image_size` where one is given.

    `splits` are folders in their place.

    Raises UsageError for a folder of another shape, classes that differ, an unreadable image, and sizes that differ.
    """
    for split in splits:
        if not (path / split).is_dir():
            raise UsageError(f"{path} has no folder {split!r}; wanted are train/<class>/* and test/<class>/*.")
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension

    def visible(name: str) -> bool:
        return not Path(name).name.startswith(".") and has_file_allowed_extension(name, IMG_EXTENSIONS)

    class VisibleImages(ImageFolder):
        """Without hidden folders and files, such as .ipynb_checkpoints and ._name.png."""

        def find_classes(self, directory):
            names = sorted(entry.name for entry in Path(directory).iterdir() if entry.is_dir() and not entry.name.startswith("."))
            return names, {name: index for index, name in enumerate(names)}

    try:
        folders = [VisibleImages(path / split, is_valid_file=visible, allow_empty=True) for split in splits]
    except ValueError:
        raise UsageError(f"{path} has no class folders; wanted are train/<class>/* and test/<class>/*, a folder for each class.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read as train/<class>/*, test/<class>/*: {error}.") from None
    train, test = folders
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise UsageError(f"{path}: class folders differ between train and test: {', '.join(odd)}.")
    if len(train.classes) < 2:
        raise UsageError(f"{path / splits[0]} has {len(train.classes)} class folders with images; a classifier wants two or more.")
    for folder in folders:
        empty = sorted(set(range(len(train.classes))) - set(folder.targets))
        if empty:
            endings = ", ".join(IMG_EXTENSIONS)
            raise UsageError(f"{Path(folder.root) / train.classes[empty[0]]} holds no images ({endings}); add some or remove the folder.")
    train_images, test_images = (_decode(folder.samples, image_size) for folder in folders)
    if train_images.pixels.shape[1:] != test_images.pixels.shape[1:]:
        raise UsageError(f"{path}: train and test images differ in size; give one with --set data.image_size=...")
    return Dataset(path.resolve().name, train.classes, train_images, test_images, *channel_statistics(train_images.pixels))


def _decode(samples: list[tuple[str, int]], image_size: int | None) -> Images:
    from PIL import Image, UnidentifiedImageError
    from torchvision.transforms.functional import center_crop, resize

    def read(name: str) -> np.ndarray:
        try:
            with Image.open(name) as image:
                if image.mode.startswith(("I", "F")):
                    raise UsageError(f"{name} has more than 8 bits a channel (mode {image.mode}); convert the images to 8 bits.")
                image = image.convert("RGB")
        except (OSError, SyntaxError, ValueError, struct.error, UnidentifiedImageError, Image.DecompressionBombError):
            raise UsageError(f"{name} is not a readable image; mend or remove it.") from None
        if image_size:
            image = center_crop(resize(image, image_size, antialias=True), image_size)
        return np.asarray(image)

    names, labels = zip(*samples, strict=True)
    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read, names))
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise UsageError(f"{Path(names[0]).parents[1]} holds images of {len(sizes)} sizes; give one with --set data.image_size=...")
    return Images(np.stack(images), np.asarray(labels, dtype=np.int64))
