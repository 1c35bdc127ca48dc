"""Data sets read once, for everything in this process that shares them, and not at all where their description is all that is wanted."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from ..errors import GatebenchError
from ..measure.machine import cpu_name
from ..runs import RunFolder
from . import catalogue
from .images import Dataset
from .settings import Data

KEPT = ".described"
"""Folder below the data root: a small file for each description, named by the digest of all that it depends on."""
DECISIVE = ("numpy", "pillow", "scipy", "torchvision")
"""Packages that decode or draw images."""


def read(data: Data, root: Path) -> Dataset:
    """The data set of a recipe's settings, read once. Raises as `catalogue.load`."""
    return _read(_unaugmented(data), root)


def describe(data: Data, root: Path) -> dict:
    """`Dataset.describe` of the data set of a recipe's settings, as plain data.

    Nothing is decoded where the same files were described before: the description is kept below the root. Raises as `catalogue.load`.
    """
    return _describe(_unaugmented(data), root)


@functools.lru_cache(maxsize=8)  # a router's and those of its experts, each of which may have a training severity of its own
def _read(data: Data, root: Path) -> Dataset:
    return catalogue.load(data, root, _original)


_original = functools.lru_cache(maxsize=2)(catalogue.original)


@functools.lru_cache(maxsize=8)
def _describe(data: Data, root: Path) -> dict:
    kept, before = RunFolder(root / KEPT), _state_once(data.name, root)
    name = f"{_digest(data, root, before)}.json"
    with contextlib.suppress(GatebenchError):  # not described yet
        entry = kept.read_json(name, "described", "seal")
        if before and entry["seal"] == _seal(entry["described"]):  # nor damaged
            return entry["described"]
    described = json.loads(json.dumps(_read(data, root).describe()))
    if before and _state(data.name, root) == before:  # nobody changed them meanwhile
        with contextlib.suppress(GatebenchError):  # a root that is not writable
            kept.write_json(name, {"described": described, "seal": _seal(described)})
    return described


def _state(name: str, root: Path) -> str:
    """Digest of a data set's files; "" where there are none, "drawn" where it needs none."""
    return "drawn" if name == "shapes" else digest_of_files(catalogue.files(name, root))


_state_once = functools.lru_cache(maxsize=2)(_state)


def _seal(described: dict) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def digest_of_files(paths: list[Path]) -> str:
    """SHA-256 of names and bytes of files, and of all in folders; what is not there does not count. "" where nothing is."""
    digest, entries = hashlib.sha256(), [(path, entry) for path in paths for entry in sorted(_entries(path))]
    for path, entry in entries:
        kind, content = ("file", _content(entry)) if os.path.isfile(entry) else ("folder", b"")
        digest.update(f"{kind} {path.name}/{os.path.relpath(entry, path)} {len(content)} ".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest() if entries else ""


def _entries(path: Path) -> Iterator[str]:
    """The file at a path, or the folder with all files and folders in it; links to folders are not followed."""
    if path.is_file():
        yield str(path)
    for folder, _, names in os.walk(path):
        yield from (folder, *(os.path.join(folder, name) for name in names))


def _content(entry: str) -> bytes:
    """Of a file; nothing of what cannot be read."""
    with contextlib.suppress(OSError):
        return Path(entry).read_bytes()
    return b""


def _digest(data: Data, root: Path, files: str) -> str:
    """Of all that decides a description: settings, files, code, libraries, and the processor, which decides the last digit of a mean."""
    code = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    place = str(catalogue.place(data.name).resolve()) if data.name not in catalogue.NAMES else data.name
    decisive = [data.model_dump_json(), place, files, code, [version(package) for package in DECISIVE], cpu_name()]
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]


def _unaugmented(data: Data) -> Data:
    return data.model_copy(update={"augment": "none"})  # which says nothing of what is read
