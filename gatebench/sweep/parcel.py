"""The files of a run folder as bytes, on their way to another machine and back.

Nothing here imports torch.
"""

from dataclasses import dataclass
from pathlib import Path

from ..runs import RunFolder


@dataclass(frozen=True)
class Parcel:
    """Files of one folder, in the order in which they were written."""

    folder: str
    """Its name."""
    files: dict[str, bytes]
    gone: tuple[str, ...] = ()
    """Names of files that are no longer there."""


def pack(folder: RunFolder, *left_out: str) -> Parcel:
    """All files of a folder but those in folders of their own, locks, and those `left_out`."""
    return Parcel(folder.path.name, {name: (folder / name).read_bytes() for name in _state(folder) if name not in left_out})


def unpack(parcel: Parcel, out: Path) -> RunFolder:
    """Write a parcel's files to its folder below `out`; each whole or not at all, the summary last. Raises as `RunFolder.write`."""
    folder = RunFolder(out / parcel.folder)
    folder.remove(*parcel.gone, *({"summary.json"} & parcel.files.keys()))
    for name in sorted(parcel.files, key=lambda name: name == "summary.json"):
        folder.write(name, lambda stream, name=name: stream.write(parcel.files[name]))
    return folder


class Changes:
    """What is written to a folder, and removed, from now on."""

    def __init__(self, folder: RunFolder):
        self.folder, self.before = folder, _state(folder)

    def pack(self) -> Parcel:
        """The changes since this was last called."""
        before, self.before = self.before, _state(self.folder)
        files = {name: (self.folder / name).read_bytes() for name, state in self.before.items() if before.get(name) != state}
        return Parcel(self.folder.path.name, files, tuple(before.keys() - self.before.keys()))


def _state(folder: RunFolder) -> dict[str, tuple[int, int]]:
    """When each file was written, and its number in the file system, by name; the oldest first."""
    if not folder.path.exists():
        return {}
    files = {path.name: path.stat() for path in folder.path.iterdir() if path.is_file() and not path.name.startswith(".")}
    return {name: (file.st_mtime_ns, file.st_ino) for name, file in sorted(files.items(), key=lambda item: item[1].st_mtime_ns)}
