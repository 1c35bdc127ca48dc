"""The data sets by name, path or recipe: `load(recipe.data, root)`."""

import os
import re
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import GatebenchError, MissingData, UsageError, first_line, needs_memory
from ..foreign import beside, typed_path
from .folders import UNSPLIT, find_parts, list_part
from .images import Dataset, Images, channel_statistics
from .indian_pines import FOLDER, RANDOM, load_indian_pines
from .intel_scenes import find_splits, load_intel_scenes
from .settings import Data, Shapes
from .severities import check_severities, in_severities, numbered
from .shapes import class_names, make_shapes


@dataclass(frozen=True)
class Named:
    """A set that torchvision knows."""

    torchvision_class: str
    classes: int
    shape: tuple[int, int, int]
    """Height, width, channels."""
    train: int
    test: int
    folder: str
    """Where torchvision's layout keeps it below the root."""
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and deviation that the papers print; none: those of the training pixels."""
    mirrors: bool = True
    further: tuple[str, ...] = ()
    """Files that it keeps beside that."""


CATALOGUE = {
    "cifar10": Named(
        "CIFAR10", 10, (32, 32, 3), 50_000, 10_000, "cifar-10-batches-py", ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    ),
    "cifar100": Named("CIFAR100", 100, (32, 32, 3), 50_000, 10_000, "cifar-100-python"),
    "mnist": Named("MNIST", 10, (28, 28, 1), 60_000, 10_000, "MNIST/raw", mirrors=False, further=("MNIST/processed",)),
    "fashion-mnist": Named("FashionMNIST", 10, (28, 28, 1), 60_000, 10_000, "FashionMNIST/raw", further=("FashionMNIST/processed",)),
    "svhn": Named("SVHN", 10, (32, 32, 3), 73_257, 26_032, "train_32x32.mat", mirrors=False, further=("test_32x32.mat",)),
}
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
NAMES = [*CATALOGUE, "intel-scenes", FOLDER, RANDOM, "shapes"]


def data_root(data_dir: Path | None) -> Path:
    """`--data-dir`, else $GATEBENCH_DATA, else ~/.cache/gatebench; without a home folder one among the temporary files.

    Raises UsageError for the home folder of a user that does not exist.
    """
    given = data_dir or os.environ.get("GATEBENCH_DATA")
    if given:
        return typed_path(given)
    try:
        return Path.home() / ".cache" / "gatebench"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "gatebench"


def is_on_disk(name: str, root: Path) -> bool:
    """Whether a named set lies below the root, in its own layout (torchvision's, of its names) or as `<name>.npz`."""
    if name == "intel-scenes":
        return find_splits(root) is not None
    return _has_files(root / CATALOGUE[name].folder) or (root / f"{name}.npz").is_file()


def place(name: str) -> Path:
    """The path that a name outside of the catalogue stands for. Raises UsageError for one that cannot be looked at."""
    if URL.match(name):
        raise UsageError(f"--dataset {name} is an address. Download and unpack it, then give the path of the folder, .npz or .pt.")
    if not name:
        raise UsageError("No data set is named ''. Give a name of the catalogue, or the path of a folder, .npz or .pt.")
    try:
        path = Path(name).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:  # no permission, too long, a user that does not exist, a zero byte
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UsageError(f"{ascii(name)[1:-1][:200]} is no path of a data set ({reason}).") from None
    return path


def files(name: str, root: Path) -> list[Path]:
    """What a data set is read from, there or not; nothing for `shapes`. Raises as `place` and `find_parts`."""
    if name == "shapes":
        return []
    if name == "intel-scenes":
        return [root / name / split for split in find_splits(root) or ()]
    if name in (FOLDER, RANDOM):
        return [root / FOLDER]
    if name in CATALOGUE:
        named = CATALOGUE[name]
        return [root / each for each in (named.folder, *named.further, f"{name}.npz")]
    path = place(name)
    if not path.is_dir():
        return [path]
    parts = find_parts(path)
    if UNSPLIT in parts:
        list_part(path)  # before all that lies in a folder which is no data set is read
    return list(parts.values())


def _has_files(path: Path) -> bool:
    """Whether there is anything at a path; torchvision leaves an empty folder where a download fails."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def original(name: str, image_size: int | None, shapes: Shapes, root: Path) -> Dataset:
    """A data set as it comes, with a validation part only where it ships one. Raises as `load`."""
    if name == "shapes":
        train, test = (
            make_shapes(count, shapes.classes, shapes.image_size, 2 * shapes.seed + part)
            for part, count in enumerate((shapes.train, shapes.test))
        )
        dataset = Dataset("shapes", class_names(shapes.classes), train, test, *channel_statistics(train.pixels))
    elif name == "intel-scenes":
        dataset = load_intel_scenes(root, image_size)
    elif name in (FOLDER, RANDOM):
        dataset = load_indian_pines(root, name)
    elif name in CATALOGUE:
        dataset = _load_named(name, root)
    else:
        dataset = _load_path(name, image_size)
    if image_size and dataset.input_shape[1:] != (image_size, image_size):
        raise UsageError(
            f"data.image_size = {image_size} scales a folder's images; those of {name} are"
            f" {dataset.input_shape[1]} x {dataset.input_shape[2]}." + (" Use data.shapes.image_size." if name == "shapes" else "")
        )
    return dataset


def load(data: Data, root: Path, read: Callable[..., Dataset] = original) -> Dataset:
    """The data set a recipe names, from disk, or downloaded where torchvision can. `read` is called as `original`.

    Raises UsageError for an unknown name, a path that does not hold images, a part to be scored or trained on that is empty and
    severities that are not defined, MissingData for a named set that is neither on disk nor downloadable.
    """
    _check(data)
    fewer = "data.shapes.train, test or image_size" if data.name == "shapes" else "data.image_size"
    with needs_memory(f"the images of {data.name}", f"Give a smaller {fewer}, or a set of fewer images"):
        return _split(read(data.name, data.image_size, data.shapes, root), data)


def _check(data: Data) -> None:
    """Raises UsageError where settings contradict each other, before anything is read."""
    check_severities(data)
    if data.train_on == "holdout" and not data.holdout:
        raise UsageError("data.train_on = 'holdout' wants data.holdout, the number of images of that part.")
    if data.scored == "validation" and not data.validation:
        raise UsageError("data.scored = 'validation' wants data.validation, the number of images of that part.")


def _split(dataset: Dataset, data: Data) -> Dataset:
    """A data set as it comes, with the parts and severities that the settings want. Raises as `load`."""
    if data.severities:
        dataset = numbered(dataset)
    validation = 0 if dataset.validation else data.validation  # a set's own part stays as it is; that it is wanted is all that counts
    if validation or data.holdout:
        _check_carved(validation, data.holdout, len(dataset.train), len(dataset.classes), data.name)
        if data.train_on == "holdout" and data.holdout < len(dataset.classes):
            few = f"data.holdout = {data.holdout} is fewer than the {len(dataset.classes)} classes of {data.name}, and is trained on"
            raise UsageError(f"{few}. Give a larger one.")
        dataset = dataset.carve(validation, data.holdout, data.train_on)
    if data.scored == "validation":
        dataset = dataset.score_validation()
    return in_severities(dataset, data) if data.severities else dataset


def _check_carved(validation: int, holdout: int, count: int, classes: int, name: str) -> None:
    """Raises UsageError where these parts of `count` training images leave fewer of them than there are classes."""
    rest = max(0, count - validation - holdout)
    if rest >= min(classes, count):
        return
    wanted = [f"data.{part} = {number}" for part, number in (("validation", validation), ("holdout", holdout)) if number]
    tenths = " and ".join(f"--set {each.split()[0]}={count // 10}" for each in wanted)
    verb = "leave" if len(wanted) > 1 else "leaves"
    left = f"{rest} of the {count} training images of {name}, fewer than its {classes} classes" if rest else ""
    left = left or f"nothing of the {count} training images of {name}"
    raise UsageError(f"{' and '.join(wanted)} {verb} {left}. Give {tenths}.")


def _load_path(name: str, image_size: int | None) -> Dataset:
    from .arrays import ENDINGS, load_arrays
    from .files import load_folder

    path = place(name)
    if path.is_dir():
        return load_folder(path, image_size)
    ending = path.suffix.lower()
    if ending in ENDINGS and path.is_file():
        return load_arrays(path)
    if path.is_file():
        raise UsageError(f"{name} is neither a folder nor an .npz or .pt file. Unpack it to a folder, or write its arrays to such a file.")
    if ending in ENDINGS or os.sep in name:
        raise UsageError(f"There is no folder or {ending if ending in ENDINGS else '.npz'} file at {name}.{beside(path)}")
    known = f"{', '.join(NAMES)}, or the path of a folder, .npz or .pt"
    raise UsageError(f"No data set is named {name!r}.{beside(path, NAMES)} Known: {known}.")


def _load_named(name: str, root: Path) -> Dataset:
    from .arrays import load_arrays

    named, extra = CATALOGUE[name], {}
    packed = root / f"{name}.npz"
    if packed.is_file() and not _has_files(root / named.folder):
        dataset = load_arrays(packed)
        train, test, classes = dataset.train, dataset.test, dataset.classes
        extra = {"validation": dataset.validation, "notes": dataset.notes}
        actual = (train.pixels.shape[1:], len(classes))
        if actual != (named.shape, named.classes):
            raise UsageError(
                f"{packed} holds {actual[0]} images of {actual[1]} classes, but {name} has {named.shape} of {named.classes}."
                " Give a set of your own with --dataset and its path."
            )
    else:
        train, test, classes = _torchvision(name, named, root)
    statistics = named.statistics or channel_statistics(train.pixels)
    return Dataset(name, classes, train, test, *statistics, mirrors=named.mirrors, **extra)


def _torchvision(name: str, named: Named, root: Path) -> tuple[Images, Images, list[str]]:
    import torchvision

    were_there = _has_files(root / named.folder)
    build = getattr(torchvision.datasets, named.torchvision_class)
    splits = [{"split": split} for split in ("train", "test")] if name == "svhn" else [{"train": True}, {"train": False}]
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # torchvision sets none, and a machine without a network must not wait for ever
    try:
        sets = [build(root, download=True, **split) for split in splits]  # downloads nothing where the files are whole
        images = [_images(part) for part in sets]
    except Exception as error:  # whatever torchvision, pickle, numpy or scipy make of half a file
        if were_there:
            raise GatebenchError(
                f"The files of {name} at {root / named.folder} are damaged or not all there ({first_line(error)}). Remove them, and put"
                " torchvision's files there again or let them be downloaded."
            ) from None
        raise MissingData(
            f"{name} is not below {root} and cannot be downloaded ({first_line(error)}). Put torchvision's files at"
            f" {root / named.folder}, or a MedMNIST-style {name}.npz in {root}, or name another folder with --data-dir or $GATEBENCH_DATA."
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)
    classes = getattr(sets[0], "classes", None) or [str(label) for label in range(named.classes)]
    return images[0], images[1], list(classes)


def _images(part) -> Images:
    """torchvision's arrays, whichever of its four layouts, as uint8 NHWC and int64."""
    pixels = np.asarray(part.data)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.shape[1] == 3 and pixels.shape[-1] != 3:
        pixels = pixels.transpose(0, 2, 3, 1)
    labels = part.targets if hasattr(part, "targets") else part.labels
    return Images(np.ascontiguousarray(pixels), np.asarray(labels, dtype=np.int64))
