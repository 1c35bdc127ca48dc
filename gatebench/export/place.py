"""Where an exported network is put: over another one, and over nothing else."""

import contextlib
import json
from pathlib import Path

from ..errors import UsageError
from ..runs import RunFolder
from ..runtimes.bundle.apart import FOLDER as PATTERNS

WRITTEN = "network.onnx", "network.xml", "network.bin", PATTERNS, "run.py", "bundle.json"
"""What a folder may have, the last one in every case."""


def check_place(path: Path, alone: bool) -> None:
    """Raises UsageError where a folder, or one file where it is `alone`, cannot be made there or would replace something else."""
    above = next(each for each in (path.parent if alone else path, *path.absolute().parents) if each.exists())
    if not above.is_dir():
        raise UsageError(f"{above} is a file, so that no folder can be made there. Give --out another name.")
    if alone and path.is_dir():
        raise UsageError(f"{path} is a folder. Give --out the name of a file, or of a folder that does not end in .onnx.")
    if not alone and (path / PATTERNS).exists() and ((path / PATTERNS).is_symlink() or not (path / PATTERNS).is_dir()):
        raise UsageError(f"{path / PATTERNS} is no folder, where one may have to be. Give --out another name.")
    strangers = [path] if alone else [path / name for name in WRITTEN]
    strangers = [each for each in strangers if each.exists()]
    if strangers and not (_is_ours(path) if alone else _is_exported(path / WRITTEN[-1])):
        raise UsageError(f"{strangers[0]} is of no exported network. Give --out another name, or remove it.")


def put(made: Path, path: Path) -> list[Path]:
    """Copy a folder, or one file, to where it is to be, and name the files; what stood there of another network is removed.

    Raises GatebenchError where the disk is full or not writable.
    """
    if made.is_file():
        RunFolder(path.parent).write(path.name, lambda stream: stream.write(made.read_bytes()))
        return [path]
    folder, wanted = RunFolder(path), [each for name in WRITTEN for each in (made / name, *sorted((made / name).glob("*")))]
    names, before = [str(each.relative_to(made)) for each in wanted if each.is_file()], _written_before(path)
    for name in names:
        folder.write(name, lambda stream, name=name: stream.write((made / name).read_bytes()))
    folder.remove(*(name for name in before if name not in names))
    with contextlib.suppress(OSError):  # it is not there, or has files
        (path / PATTERNS).rmdir()
    return [path / name for name in names]


def _is_exported(path: Path) -> bool:
    """Whether a bundle.json is one of gatebench."""
    try:
        return "gatebench" in json.loads(path.read_text())
    except (OSError, ValueError, TypeError):
        return False


def _written_before(path: Path) -> list[str]:
    """Names of the files of the network that a folder has, where they are such as export writes."""
    try:
        names = [*json.loads((path / WRITTEN[-1]).read_text())["sha256"]]
        return [name for name in names if Path(name).parts[0] in WRITTEN and ".." not in name]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return []


def _is_ours(path: Path) -> bool:
    """Whether a single file is a network that gatebench wrote."""
    import onnx

    try:
        return any(each.key == "gatebench" for each in onnx.load(path, load_external_data=False).metadata_props)
    except Exception:  # whatever reading a stranger's file raises
        return False
