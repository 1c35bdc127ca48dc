"""A user's own arrays: an .npz file in the layout of MedMNIST or Keras, or a .pt file of tensors.

Shapes: N images, H x W pixels, C channels, K classes.
"""

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError, first_line, with_article
from .depth import extent, scaling, scaling_of_bytes
from .folders import ROLES
from .images import Dataset, Images, channel_statistics

ENDINGS = (".npz", ".pt", ".pth")
SPELLINGS = (
    ("{}_images", "{}_labels"), ("x_{}", "y_{}"), ("{}_x", "{}_y"), ("images_{}", "labels_{}"), ("{}_data", "{}_labels"),
    ("{}_data", "{}_targets"),
)  # fmt: skip
"""Names of a part's images and labels, in any case."""
WANTED = "train_images, train_labels, test_images, test_labels, or x_train, y_train, x_test, y_test"
INSIDE = {"x": "images", "y": "labels", "data": "images", "targets": "labels"}
"""Names in a dictionary of one part, and what they stand for."""
CHANNELS = (1, 3, 4)
MOST_NAMES = 8
"""Arrays of a file that a message names."""


def load_arrays(path: Path) -> Dataset:
    """Images and labels of train, test and perhaps validation, named in one of the `SPELLINGS`.

    `classes` may name the classes. Images are [N, H, W], [N, H, W, C] or [N, C, H, W], of 8 bits or scaled to them; labels are whole
    numbers [N] or [N, 1] of whatever type, or one-hot [N, K]. Without a test part the validation part stands for it. Raises UsageError
    for a file that is not that.
    """
    arrays = _packed(path) if path.suffix.lower() == ".npz" else _tensors(path)
    names, notes = _names(path, list(arrays)), []
    if "test" not in names:
        names["test"] = names.pop("validation")
        notes.append(f"there is no test part; {names['test'][0]} is scored in its place.")
    pixels, said = _pixels(path, {role: (name, arrays[name]) for role, (name, _) in names.items()})
    labels = {role: _labels(path, name, arrays[name], images, len(pixels[role])) for role, (images, name) in names.items()}
    classes = _classes(path, labels, arrays.get("classes"))
    parts = {role: Images(pixels[role], numbers) for role, (numbers, _) in labels.items()}
    train, test = parts["train"], parts["test"]
    statistics = channel_statistics(train.pixels)
    return Dataset(path.stem, classes, train, test, *statistics, validation=parts.get("validation"), notes=(*notes, *said))


def _packed(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that may be parts of a data set; the others are empty."""
    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it holds one array and no names")
        with arrays:
            wanted = {name for _, _, *names in _spelled(list(arrays)) for name in names} | {"classes"}
            return {name: arrays[name] if name in wanted else np.empty(0) for name in arrays}
    except (OSError, EOFError, TypeError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).split(". ")[0].rstrip(".")  # numpy goes on with advice that is not ours
        raise UsageError(f"{path} is not a readable .npz file ({reason}); write plain arrays with numpy.savez.") from None


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a .pt file by name; those of a part may be a pair or a dictionary of its own. No code in the file is run."""
    import torch  # not for .npz files

    fix = "torch.save({'train_images': ..., 'train_labels': ..., 'test_images': ..., 'test_labels': ...}, FILE)"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch and pickle make of a file that is something else
        built = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it holds {with_article(built[1])}, which only code can build" if built else first_line(error)
        raise UsageError(f"{path} is not a readable file of tensors ({reason}). Write plain ones with {fix}.") from None
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} holds {with_article(type(content).__name__)}; wanted is a dictionary of tensors, as by {fix}.")
    flat = {}
    for name, value in content.items():
        if isinstance(value, (tuple, list)) and len(value) == 2 and name != "classes":
            value = dict(zip(("images", "labels"), value, strict=True))
        inside = value.items() if isinstance(value, Mapping) else [("", value)]
        flat |= {f"{name}_{INSIDE.get(key, key)}".rstrip("_"): each for key, each in inside}
    return {name: _array(value) for name, value in flat.items() if isinstance(value, torch.Tensor) or name == "classes"}


def _array(value: Any) -> np.ndarray:
    """Of a tensor, or of a list of names."""
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).resolve_conj().numpy()


def _spelled(names: list[str]) -> list[tuple[str, tuple[str, str], str, str]]:
    """Role, wanted names, and the names of images and labels that are there, of every pair of arrays of which one is there."""
    by_lower = {name.lower(): name for name in names}
    pairs = [
        (role, tuple(each.format(word) for each in spelling)) for role, words in ROLES.items() for word in words for spelling in SPELLINGS
    ]
    found = [(role, pair, *(by_lower.get(name, "") for name in pair)) for role, pair in pairs]
    return [each for each in found if each[2] or each[3]]


def _names(path: Path, names: list[str]) -> dict[str, tuple[str, str]]:
    """Names of images and labels by role. Raises UsageError where a part is there twice, in half, or not at all."""
    found: dict[str, tuple[str, str]] = {}
    spelled = _spelled(names)
    for role, _, images, labels in spelled:
        if images and labels:
            if role in found:
                raise UsageError(f"{path} holds {found[role][0]} and {images}, which are both {role} images; keep one.")
            found[role] = images, labels
    lacking: list[str] = []
    there = next(iter(found.items()), None)
    for role in ("train", "test", "validation"):
        begun = [(wanted, held) for other, wanted, *held in spelled if other == role]
        if role not in found and begun:
            lacking += [name for name, held in zip(*begun[0], strict=True) if not held]
        elif role not in found and (role == "train" or (role == "test" and "validation" not in found)):
            lacking += [_renamed(name, there[0], role) for name in there[1]] if there else [f"{role}_images", f"{role}_labels"]
    if lacking:
        held = ", ".join(ascii(name)[1:-1] for name in names[:MOST_NAMES]) + ", ..." * (len(names) > MOST_NAMES)
        alone = {role for role, *_ in spelled} == {"train"} == set(found)
        wanted = "Put some of the images aside as these; only folders are split" if alone else f"Wanted are {WANTED}"
        raise UsageError(f"{path} lacks {', '.join(lacking)}; it holds {held or 'nothing'}. {wanted}.")
    return found


def _renamed(name: str, role: str, other: str) -> str:
    """The name that an array of another role would have beside one of this name."""
    return re.sub("|".join(sorted(ROLES[role], key=len, reverse=True)), other, name.lower())


def _pixels(path: Path, given: Mapping[str, tuple[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """uint8 [N, H, W, C] of the named arrays of each role, and sentences on what was done. Raises UsageError for other arrays."""
    notes, pixels = [], {}
    for role, (name, array) in given.items():
        pixels[role] = _channels_last(f"{path}: {name}", array)
        if array.ndim == 4 and pixels[role].shape != array.shape:
            notes.append(f"{name} is {list(array.shape)} and is read as channels first.")
        elif array.ndim == 4 and array.shape[1] in CHANNELS:
            notes.append(f"{name} is {list(array.shape)}, which may be either, and is read as channels last.")
    first = given["train"][0]
    for role, (name, _) in given.items():
        shape, other = pixels[role].shape[1:], pixels["train"].shape[1:]
        if shape != other:
            raise UsageError(f"{path}: {first} are images of {other}, {name} of {shape}; they must be alike.")
    types = {name: array.dtype for name, array in given.values()}
    if np.uint8 not in types.values():
        scale = scaling({name: extent(array, f"{path}: {name}") for name, array in given.values()}, str(path))
        notes += [f"{scale.note}."] if scale.note else []
        return {role: scale.apply(array) for role, array in pixels.items()}, notes
    for name, kind in types.items():
        if kind != np.uint8:
            bytes_ = next(each for each, other in types.items() if other == np.uint8)
            raise UsageError(f"{path}: {name} must be uint8 as {bytes_} is, not {kind}.")
    scale = scaling_of_bytes(pixels.values())
    if scale.note:
        return {role: scale.apply(array) for role, array in pixels.items()}, [*notes, f"{scale.note}."]
    return {role: np.ascontiguousarray(array) for role, array in pixels.items()}, notes


def _channels_last(name: str, array: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] of numbers. Raises UsageError for another array."""
    shape = list(array.shape)
    if array.dtype.kind not in "biuf" or array.ndim not in (3, 4):
        flat = "; give them their height and width with reshape" if array.ndim == 2 else ""
        raise UsageError(f"{name} must be numbers [N, H, W], [N, H, W, C] or [N, C, H, W], not {array.dtype} {shape}{flat}.")
    if 0 in shape:
        raise UsageError(f"{name} is empty: {shape}.")
    if array.ndim == 3:
        return array[..., None]
    if shape[3] in CHANNELS:
        return array
    if shape[1] in CHANNELS:
        return array.transpose(0, 2, 3, 1)
    raise UsageError(f"{name} has {shape[3]} channels in its last axis, of {shape}; wanted are 1, 3 or 4, there or in the second.")


def _labels(path: Path, name: str, labels: np.ndarray, images: str, count: int) -> tuple[np.ndarray, int]:
    """Labels int64 [N] and how many classes they are made for, as far as they say: K where they are one-hot, else 0.

    `images` is the name of the images that they are for, `count` how many these are.
    Raises UsageError where the labels are not of one class an image.
    """
    given = f"{labels.dtype} {list(labels.shape)}"
    wanted = f"{path}: {name} must be whole numbers from 0, one for each of the {count} images"
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2):
        raise UsageError(f"{wanted}, not {given}.")
    if len(labels) != count:
        raise UsageError(f"{path}: {images} has {count} images, {name} {len(labels)} labels; each image wants one.")
    if labels.dtype.kind not in "biuf":
        raise UsageError(f"{wanted}, not {given}. Number them with numpy.unique(labels, return_inverse=True)[1].")
    if labels.ndim == 2:
        if not np.isin(labels, (0, 1)).all():
            raise UsageError(f"{wanted}, or one-hot, not shares of classes: {given}. Take the largest with numpy.argmax(labels, 1).")
        if (labels.astype(np.int64).sum(1) != 1).any():
            raise UsageError(f"{wanted}, or one-hot, not several classes or none for an image: {given}. Give each image one.")
        return labels.argmax(1).astype(np.int64), labels.shape[1]
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        raise UsageError(f"{wanted}, not fractions: {given}.")
    if labels.min() < 0:
        raise UsageError(f"{wanted}, not {labels.min():g}.")
    return labels.astype(np.int64), 0


def _classes(path: Path, labels: Mapping[str, tuple[np.ndarray, int]], names: np.ndarray | None) -> list[str]:
    """Names of the classes, their numbers where none are given. Raises UsageError for a class without training images."""
    train = labels["train"][0]
    count = max(max(int(numbers.max()) + 1, columns) for numbers, columns in labels.values())
    if count < 2 or count > len(train):
        raise UsageError(
            f"{path}: labels up to {count - 1} for {len(train)} training images; wanted are 0, 1, ... for two or more classes."
        )
    used = np.bincount(train, minlength=count) > 0
    if not used.all():
        unused, least = np.flatnonzero(~used), int(train.min())
        listed = ", ".join(map(str, unused[:5])) + ", ..." * (len(unused) > 5)
        mend = f"labels - {least}" if used[least:].all() else "numpy.unique(labels, return_inverse=True)[1]"
        raise UsageError(f"{path}: no training image has label {listed}; labels are 0 to {count - 1} without gaps, as {mend} makes them.")
    if names is not None and names.size != count:
        raise UsageError(f"{path}: classes has {names.size} names, and labels go from 0 to {count - 1}; give each class one.")
    return [str(label) for label in range(count)] if names is None else [str(name) for name in names.ravel()]
