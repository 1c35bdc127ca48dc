"""The run folder: every file written whole or not at all, and read back.

`<model>-<recipe>-<data>-s<seed>-<hash>/` holds recipe.yaml, machine.json, data.json, epochs.csv, rows.jsonl, summary.json, columns.json
(columns that its family declares), breakdown.csv, inputs.parquet, decisions.npz, examples.npz, model.safetensors, tables of its study,
resume.pt (to go on from), and times/, one file for each timing.
"""

import contextlib
import csv
import errno
import itertools
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TextIO

from .errors import GatebenchError
from .row import Row

try:
    import fcntl
except ImportError:  # Windows, where a folder is not locked
    fcntl = None

LOCK = ".lock"


class RunFolder:
    """One run's files below `path`."""

    def __init__(self, path: Path):
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def finished(self) -> bool:
        """The summary is the last file a run writes."""
        return (self / "summary.json").exists()

    def write(self, name: str, fill: Callable[[BinaryIO], object]) -> None:
        """Write a file through `fill(stream)`: under a temporary name, flushed, then renamed, so that a kill leaves the old one.

        Raises GatebenchError where the disk is full or not writable.
        """
        with self._explained(name):
            self.path.mkdir(parents=True, exist_ok=True)
            with _replacing(self / name) as stream:
                fill(stream)

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turn what the system says against writing a file into a sentence."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or str(error)
            mend = "What was written before is kept; make room or choose another --out" if full else "Choose another --out"
            raise GatebenchError(f"Cannot write {self / name}: {reason}. {mend}, then run the same command again.") from error

    def reserve(self, name: str) -> bool:
        """Create an empty file, to be written later. Returns False where there is one already, of this process or another.

        Raises GatebenchError where the disk is full or not writable.
        """
        with self._explained(name):
            (self / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                open(self / name, "x").close()
            except FileExistsError:
                return False
            return True

    def write_text(self, name: str, text: str) -> None:
        self.write(name, lambda stream: stream.write(text.encode()))

    def write_json(self, name: str, content: dict) -> None:
        self.write_text(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def write_rows(self, rows: list[dict]) -> None:
        """rows.jsonl: one line an operating point, the headline first."""
        checked = (Row.model_validate(row).model_dump(exclude_none=True) for row in rows)
        self.write_text("rows.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in checked))

    def read_json(self, name: str, *wanted: str) -> dict:
        """Raises GatebenchError where the file is missing or is not a JSON object with the `wanted` keys."""
        try:
            content = json.loads((self / name).read_text())
            if not isinstance(content, dict):
                raise ValueError("not a JSON object")
            for key in wanted:
                if key not in content:
                    raise ValueError(f"it has no {key!r}")
            return content
        except (OSError, ValueError) as error:
            raise GatebenchError(f"{self / name} cannot be read ({error}). Remove the folder or train into another with --fresh.") from None

    def remove(self, *patterns: str) -> bool:
        """Remove what no longer holds; whether there was anything."""
        matches = [path for pattern in patterns for path in self.path.glob(pattern)]
        for path in matches:
            path.unlink()
        return bool(matches)

    def remove_leftovers(self) -> None:
        """Temporary files of a process that was killed while it wrote."""
        for path in self.path.glob(".*.writing-*"):
            path.unlink(missing_ok=True)

    def read_csv(self, name: str) -> list[dict]:
        """A small table as one dictionary a line; numbers as numbers, empty cells left out.

        Raises GatebenchError where the file is missing or empty.
        """
        try:
            with open(self / name, newline="") as stream:
                lines = [{key: _number(value) for key, value in line.items() if value != ""} for line in csv.DictReader(stream)]
            if not lines:
                raise ValueError("it is empty")
            return lines
        except (OSError, ValueError) as error:
            raise GatebenchError(f"{self / name} cannot be read ({error}). Remove the folder or train into another with --fresh.") from None

    @contextlib.contextmanager
    def locked(self, mend: str = "Wait for it, or train into a folder of its own with --fresh") -> Iterator[None]:
        """The folder for this process alone, until it is done or ends in any way; an empty folder is removed again.

        Raises GatebenchError naming the process that has it, and what to do: `mend`.
        """
        with self._lock(mend) as stream:
            try:
                with self._explained(LOCK):
                    os.ftruncate(stream.fileno(), 0)  # unbuffered: what cannot be written is not tried again when it is closed
                    holder = f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%H:%M:%S on %Y-%m-%d}"
                    os.write(stream.fileno(), holder.encode())
                yield
            finally:
                with contextlib.suppress(OSError):
                    (self / LOCK).unlink()
                    self.path.rmdir()  # fails where anything was written

    def _lock(self, mend: str) -> TextIO:
        """The open lock file, which no other process has locked. Raises as `locked`."""
        while True:
            with self._explained(LOCK):
                self.path.mkdir(parents=True, exist_ok=True)
                try:
                    stream = open(self / LOCK, "a+")  # noqa: SIM115 (its lock is held as long as it is open)
                except FileNotFoundError:  # the folder was another process's, which has just removed it
                    continue
            stream.seek(0)
            try:
                if fcntl:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(stream.fileno()), os.stat(self / LOCK)):
                    return stream
            except BlockingIOError:
                with stream:
                    holder = stream.read().strip() or "another process"
                raise GatebenchError(f"{self.path} is being written by {holder}. {mend}.") from None
            except FileNotFoundError:  # its holder removed it before it was locked
                pass
            stream.close()


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text) if not text.startswith("0") or text == "0" or "." in text else text  # a class may be called 007
    return text


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.writing-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def choose_folder(out: Path, name: str, machine: str, fresh: bool, take_over: bool) -> RunFolder:
    """The folder a command goes on with: the newest of `name`, `name-2`, `name-3` ... that is this machine's own, else a new one.

    Another machine's folder (unless it is unfinished and to be taken over), a finished one without weights, and with `fresh` any, is left
    as it is.
    """
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    taken = list(itertools.takewhile(lambda folder: folder.path.exists(), (RunFolder(out / each) for each in names)))
    for folder in [] if fresh else reversed(taken):
        begun = (folder / "machine.json").exists()
        if folder.finished:
            if begun and _made_for(machine, folder) and (folder / "model.safetensors").exists():
                return folder
        elif not begun or take_over or _made_for(machine, folder):  # not begun: killed before its first file
            return folder
    return RunFolder(out / (f"{name}-{len(taken) + 1}" if taken else name))


def _made_for(machine: str, folder: RunFolder) -> bool:
    """Whether a machine made a run, or had it made by another one of its cluster."""
    made = folder.read_json("machine.json")
    return machine in (made.get("name"), made.get("driver"))
