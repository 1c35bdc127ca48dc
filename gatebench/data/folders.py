"""A user's folder of images: which layout it has, which files are read, and what is left out."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import UsageError

ROLES = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
"""Names that a part may have, in any case."""
UNSPLIT = "all"
"""The role of a folder that holds classes and no parts."""
TEST_SHARE, SPLIT_SEED = 0.2, 0
WANTED = "train/<class>/* and test/<class>/*"
NO_IMAGES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow identifies and does not decode by itself."""
MENDS = {".heic": "install pillow-heif", ".heif": "install pillow-heif", ".avif": "install Pillow 11.3 or newer"}
MOST_REASONS = 6
"""Kinds of files left out that are named."""


@dataclass
class Part:
    """The files of one part, in the order of classes, folders and names."""

    folder: Path
    classes: list[str]
    files: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    """Index in `classes` of each file's class."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files that are not read, by ending or reason."""

    @property
    def numbers(self) -> np.ndarray:
        """The labels, int64 [N]."""
        return np.asarray(self.labels, dtype=np.int64)

    def only(self, chosen: Sequence[int]) -> "Part":
        """The part with the files of these indices, and nothing left out."""
        return Part(self.folder, self.classes, [self.files[index] for index in chosen], [self.labels[index] for index in chosen])


@lru_cache(maxsize=1)
def formats() -> tuple[tuple[str, ...], frozenset[str]]:
    """The formats that Pillow decodes here, in the order in which it tries them, and their files' endings."""
    from PIL import Image

    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
    except ImportError:
        pass
    Image.preinit()
    Image.init()
    readable = tuple(name for name in Image.ID if name not in NO_IMAGES)
    return readable, frozenset(ending for ending, name in Image.registered_extensions().items() if name in {*readable, "MPO"})


def find_parts(path: Path) -> dict[str, Path]:
    """Folders of a data set by role: train, test and perhaps validation, or the folder itself where it holds classes and no parts.

    Without a test part the validation part stands for it, as `"test"`. Raises UsageError for another layout, and for parts that are
    links to each other or to a folder above.
    """
    folders = visible_folders(path)
    parts = {role: [name for name in folders if name.lower() in names] for role, names in ROLES.items()}
    for role, names in parts.items():
        if len(names) > 1:
            raise UsageError(f"{path} has {' and '.join(names)}, which are both {role} images; keep one.")
    found = {role: path / names[0] for role, names in parts.items() if names}
    alone = len(found) == 1 and len(folders) > 1 and not any(map(visible_folders, found.values()))  # classes, one of which is "train"
    if not found or alone:
        if not folders:
            raise UsageError(f"{path} has no class folders; wanted are {WANTED}, a folder for each class.")
        return {UNSPLIT: path}
    if "test" not in found and "validation" in found:
        found["test"] = found.pop("validation")
    for role in ("train", "test"):
        if role not in found:
            raise UsageError(
                f"{path} has no folder {role!r}; wanted are {WANTED}, or a folder of classes such as {next(iter(found.values()))} alone."
            )
    _check_links(path, list(found.values()))
    return found


def visible_folders(path: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones such as .ipynb_checkpoints. Raises UsageError."""
    try:
        return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from None


def list_part(folder: Path) -> Part:
    """The files of a part, whose folders are the classes. Raises UsageError for links to folders, and for a class without images."""
    part = Part(folder, visible_folders(folder))
    if not part.classes:
        raise UsageError(
            f"{folder} has no class folders; wanted are {WANTED}, or one folder of classes, of which a share is put aside as test."
        )
    if len(part.classes) < 2:
        raise UsageError(f"{folder} has {len(part.classes)} class folders with images; a classifier wants two or more.")
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir():
            part.left_out["hidden" if entry.name.startswith(".") else "outside of class folders"] += 1
    for label, name in enumerate(part.classes):
        left_out: Counter[str] = Counter()
        before = len(part.files)
        for file, hidden in _files(folder / name):
            reason = "hidden" if hidden else _reason(file)
            if reason:
                left_out[reason] += 1
            else:
                part.files.append(file)
                part.labels.append(label)
        if len(part.files) == before:
            found = f" ({_reasons(left_out)})" if left_out else ""
            raise UsageError(f"{folder / name} holds no images that can be read{found}; add some or remove the folder.")
        part.left_out += left_out
    return part


def split(part: Part) -> tuple[Part, Part]:
    """Training and test images of one folder of classes: of each class the share of files that a hash of their names puts first.

    A file stays in its part when the folder moves, and nearly always when others come or go. Raises UsageError for a class of one
    image, and for one that is split itself.
    """
    by_class: list[list[int]] = [[] for _ in part.classes]
    for index, label in enumerate(part.labels):
        by_class[label].append(index)
    test: list[int] = []
    for name, members in zip(part.classes, by_class, strict=True):
        inside = [each for each in visible_folders(part.folder / name) if any(each.lower() in names for names in ROLES.values())]
        if inside:
            raise UsageError(f"{part.folder / name} has a folder {inside[0]!r}. Parts stand above classes: wanted are {WANTED}.")
        if len(members) < 2:
            raise UsageError(f"{part.folder / name} holds one image; wanted are two or more, of which some are put aside as test.")
        drawn = sorted(members, key=lambda index: _drawn(os.path.relpath(part.files[index], part.folder)))
        test += drawn[: max(1, round(TEST_SHARE * len(members)))]
    chosen = set(test)
    return part.only([index for index in range(len(part.files)) if index not in chosen]), part.only(sorted(test))


def left_out(parts: Sequence[Part]) -> list[str]:
    """A sentence on the files of all parts that are not read; none where there are none."""
    reasons = sum((part.left_out for part in parts), Counter())
    count = reasons.total()
    if not count:
        return []
    of_all = count + sum(len(part.files) for part in parts)
    return [f"{count} of {of_all} files {'was' if count == 1 else 'were'} left out: {_reasons(reasons)}."]


def _reasons(left_out: Counter[str]) -> str:
    """ ".heic (6; install pillow-heif), hidden (1)", the most frequent first."""
    ordered = sorted(left_out.items(), key=lambda each: (-each[1], each[0]))
    shown = []
    for reason, count in ordered[:MOST_REASONS]:
        mend = MENDS.get(reason, "not read by Pillow" if reason.startswith(".") else "")
        shown.append(f"{ascii(reason)[1:-1]} ({'; '.join(filter(None, (str(count), mend)))})")
    rest = sum(count for _, count in ordered[MOST_REASONS:])
    return ", ".join(shown + [f"others ({rest})"] * bool(rest))


def _reason(file: str) -> str:
    """Why a file is not read: "" where it is, its ending where Pillow reads no such images."""
    if not os.path.isfile(file):
        return "no regular files" if os.path.exists(file) else "broken links"
    ending = os.path.splitext(file)[1].lower()
    return "" if ending in formats()[1] else ending or "no ending"


def _files(folder: Path) -> Iterator[tuple[str, bool]]:
    """All files in a folder and those below it, in the order of folders and names, and whether they are hidden.

    Raises UsageError for links to folders.
    """

    def fail(error: OSError):
        raise UsageError(f"{error.filename} cannot be read ({error.strerror}).") from None

    if folder.is_symlink():
        _refuse_link(folder)
    for place, folders, names in sorted(os.walk(folder, onerror=fail)):
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                _refuse_link(Path(place, name))
        inside = Path(place).relative_to(folder).parts
        for name in sorted(names):
            yield os.path.join(place, name), any(each.startswith(".") for each in (*inside, name))


def _refuse_link(path: Path) -> None:
    raise UsageError(
        f"{path} is a link to the folder {os.readlink(path)}: images may count twice, or in another class. Put the folder itself there, or"
        " remove the link."
    )


def _check_links(path: Path, parts: Sequence[Path]) -> None:
    """Raises UsageError where a part is a link to a folder above, or to another part."""
    for part in parts:
        if part.resolve() in (path.resolve(), *path.resolve().parents):
            raise UsageError(f"{part} is a link to the folder {os.readlink(part)}, which holds it. Remove the link.")
        for other in parts:
            if part != other and part.resolve() in (other.resolve(), *other.resolve().parents):
                raise UsageError(f"{part} and {other} hold the same images. Give training and test images of their own.")


def _drawn(name: str) -> bytes:
    return hashlib.sha256(f"{SPLIT_SEED} {Path(name).as_posix()}".encode(errors="surrogateescape")).digest()
