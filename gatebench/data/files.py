"""A user's own folder of images, as a data set."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import UsageError
from .decoding import decode
from .folders import SPLIT_SEED, TEST_SHARE, UNSPLIT, find_parts, left_out, list_part, split
from .images import Dataset, Images, channel_statistics


def load_folder(path: Path, image_size: int | None, folders: Mapping[str, Path] | None = None) -> Dataset:
    """Images of `train/<class>/*`, `test/<class>/*` and perhaps `validation/<class>/*`, decoded to 8 bits, grey where all are, else RGB.

    Without a test part the validation part stands for it. One folder of classes is split by file names. Images are scaled and
    centre-cropped to `image_size` where one is given. `folders` are the parts by role, where they are known.

    Raises UsageError for a folder of another shape, classes that differ, an unreadable image, and sizes that differ.
    """
    folders = folders or find_parts(path)
    listed = {role: list_part(folder) for role, folder in folders.items()}
    classes = next(iter(listed.values())).classes
    notes, unread = [], left_out(list(listed.values()))
    for part in listed.values():
        if part.classes != classes:
            odd = sorted(set(classes) ^ set(part.classes))
            names = " and ".join(each.folder.name for each in (listed["train"], part))
            raise UsageError(f"{path}: class folders differ between {names}: {', '.join(odd)}.")
    if UNSPLIT in listed:
        whole = listed[UNSPLIT]
        listed = dict(zip(("train", "test"), split(whole), strict=True))
        share = f"{TEST_SHARE:.0%} of the images of each, {len(listed['test'].files)} of {len(whole.files)}"
        notes.append(f"{len(classes)} class folders and no parts: {share}, are the test part, drawn by file name with seed {SPLIT_SEED}.")
    elif "validation" in listed:
        notes.append(f"{folders['validation'].name} ({len(listed['validation'].files)} images) is the validation part.")
    elif folders["test"].name.lower().startswith("val"):
        notes.append(f"there is no test part; {folders['test'].name} ({len(listed['test'].files)} images) is scored in its place.")
    pixels, said = decode(listed, image_size, path)
    for role, part in pixels.items():
        if part.shape[1:] != pixels["train"].shape[1:]:
            raise UsageError(f"{path}: train and {role} images differ in size; give one with --set data.image_size=...")
    parts = {role: Images(part, listed[role].numbers) for role, part in pixels.items()}
    train, test = parts["train"], parts["test"]
    statistics = channel_statistics(train.pixels)
    notes += [*unread, *said]
    return Dataset(path.resolve().name, classes, train, test, *statistics, validation=parts.get("validation"), notes=tuple(notes))
