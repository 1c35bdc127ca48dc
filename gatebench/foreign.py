"""Files that nobody vouches for, read within bounds or refused with a reason: run folders, recipes, weights."""

import contextlib
import csv
import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import GatebenchError, UsageError, first_line, nearest, printable

if TYPE_CHECKING:
    import numpy as np

LARGEST = 2_000_000
"""Bytes of a file of texts; a run's own are a tenth of it at most."""
LARGEST_TABLE = 40_000_000
"""Bytes of a table of inputs, epochs or raw times; of arrays, unpacked."""
LARGEST_NUMBER = 1e30
"""That can be squared, multiplied and drawn."""
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,29})(\.[0-9]+)?(e[+-][0-9]+)?")
"""As Python writes them."""
CHUNK = 1 << 20
"""Bytes that are hashed at a time."""
LONGEST_TEXT = 500
"""Characters of a text that is shown."""


class Unreadable(GatebenchError):
    """Why a file or a text cannot be read: half a sentence, without its name."""


class Missing(Unreadable):
    """There is no such file."""


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make of Unreadable a GatebenchError that names the file."""
    try:
        yield
    except Unreadable as error:
        raise GatebenchError(f"{plain(path.name)} cannot be read: {error}") from None


def size_of(path: Path, most: int | None = None) -> int:
    """Bytes of a regular file.

    Raises Missing where there is none, Unreadable for a folder, a pipe or a device, and for one of more than `most` bytes.
    """
    try:
        state = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None
    if not stat.S_ISREG(state.st_mode):
        raise Unreadable("it is a folder" if stat.S_ISDIR(state.st_mode) else "it is no regular file")
    if most is not None and state.st_size > most:
        raise Unreadable(f"it has {state.st_size:,} bytes, more than the {most:,} that are read")
    return state.st_size


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """A regular file's bytes. Raises as `size_of`, and Unreadable where it may not be read."""
    size_of(path, most)
    try:
        with open(path, "rb") as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise _unreadable(error) from None
    if len(content) > most:  # it grew, or its size is not said
        raise Unreadable(f"it has more than the {most:,} bytes that are read")
    return content


def read_text(path: Path, most: int = LARGEST) -> str:
    """A regular file's text. Raises as `read_bytes`, and Unreadable where it is not UTF-8."""
    try:
        return read_bytes(path, most).decode()
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None


def read_table(path: Path, most: int = LARGEST_TABLE) -> Iterator[dict[str, str]]:
    """The lines of a CSV file by its header; what a short line lacks is "". Raises as `read_text`, and Unreadable where it is no CSV."""
    text = read_text(path, most)
    try:
        for line in csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=""):
            yield {name: value for name, value in line.items() if name}
    except csv.Error as error:
        raise Unreadable(f"it is not CSV: {error}") from None


def number(text: str) -> int | float | None:
    """A cell of a table as the number that it is written as; None where it is none: a class may be called 007, 1_000 or 1e5000."""
    if not NUMBER.fullmatch(text):
        return None
    value = float(text) if set(text) & set(".e") else int(text)
    return value if is_number(value) else None


def is_number(value: Any) -> bool:
    """Whether it is one that can be computed with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST_NUMBER < value < LARGEST_NUMBER


def read_arrays(path: Path, *names: str, most: int = LARGEST_TABLE) -> "dict[str, np.ndarray]":
    """The named arrays of an .npz file of at most so many bytes, packed and unpacked.

    Raises as `size_of`, and Unreadable for another file, where a name is not there, and for an array of objects.
    """
    import numpy as np  # not for the commands that only list

    size_of(path, most)
    try:
        with zipfile.ZipFile(path) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > most:
            raise Unreadable(f"it holds {unpacked:,} bytes, more than the {most:,} that are read")
        with np.load(path, allow_pickle=False) as arrays:
            lacking = next((name for name in names if name not in arrays), None)
            if lacking:
                raise Unreadable(f"it has no {lacking!r}")
            return {name: arrays[name] for name in names}
    except Unreadable:
        raise
    except Exception as error:  # whatever zipfile and numpy make of a file that is something else
        raise Unreadable(f"it cannot be read as .npz: {first_line(error)}") from None


def sha256_of(path: Path, most: int | None = None) -> str:
    """The first eight hexadecimal digits of a regular file's SHA-256. Raises as `size_of`, and Unreadable where it may not be read."""
    size_of(path, most)
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise _unreadable(error) from None
    return digest.hexdigest()[:8]


def listed(folder: Path) -> list[str]:
    """The names in a folder, in order. Raises Missing where there is none, Unreadable where it may not be looked into."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None


def beside(path: Path, known: Sequence[str] = ()) -> str:
    """ " Did you mean 'photos'?" for the nearest of the `known` names and of what lies beside a path; "" where none is near."""
    try:
        return nearest(path.name, [*known, *listed(path.parent)])
    except Unreadable:
        return nearest(path.name, known)


def plain(text: str) -> str:
    """Without control characters, directions and the like; as much as a cell holds."""
    return printable(text[:LONGEST_TEXT])


def typed_path(text: str | Path) -> Path:
    """A path as people type it, with ~ for a home folder. Raises UsageError where that is not known."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: there is no such home folder. Write the path in full.") from None


def _unreadable(error: OSError | ValueError) -> Unreadable:
    kind = Missing if isinstance(error, (FileNotFoundError, NotADirectoryError)) else Unreadable
    return kind(getattr(error, "strerror", None) or str(error))
