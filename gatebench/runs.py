"""The run folder: every file written whole or not at all, and read back.

`<model>-<recipe>-<data>-s<seed>-<hash>/` holds recipe.yaml, machine.json, data.json, epochs.csv, rows.jsonl, summary.json, columns.json
(columns that its family declares), breakdown.csv, inputs.parquet, decisions.npz, examples.npz, model.safetensors, tables of its study,
resume.pt (to go on from), and times/, one file for each timing.
"""

import contextlib
import errno
import itertools
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from .errors import GatebenchError, first_line
from .foreign import LARGEST_TABLE, Unreadable, fits, from_json, listed, plain, read_table, read_text
from .row import Row
from .rows import is_number, read_columns, read_row

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
        return self.has("summary.json")

    def has(self, name: str) -> bool:
        """Whether there is such a file; no folder, pipe or device."""
        return os.path.isfile(self / name)

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

    def read_json(self, name: str, /, *wanted: str, **typed: Any) -> dict:
        """A JSON object that has the `wanted` keys, and `typed` ones with values of these types, such as parents=dict[str, str].

        A key whose type allows None may be absent. Raises GatebenchError where the file is missing or is not such an object.
        """
        with self._naming(name):
            content = from_json(read_text(self / name))
            if not isinstance(content, dict):
                raise Unreadable("it is not a JSON object")
            for key in (*wanted, *typed):
                if key not in content and not (key in typed and fits(None, typed[key])):
                    raise Unreadable(f"it has no {key!r}")
                if key in typed and not fits(content.get(key), typed[key]):
                    raise Unreadable(f"its {key!r} is not what it should be")
            return content

    def headline(self) -> dict:
        """The row of summary.json, with the columns that its family declares. Raises GatebenchError where it is missing or damaged."""
        with self._naming("summary.json"):
            return read_row(self / "summary.json", Row, read_columns(self / "columns.json"))

    def read_csv(self, name: str, most: int = LARGEST_TABLE) -> list[dict]:
        """A table of at most so many bytes as one dictionary a line; numbers as numbers, empty cells left out.

        Raises GatebenchError where the file is missing or empty.
        """
        with self._naming(name):
            lines = [{key: _number(value) for key, value in line.items() if value != ""} for line in read_table(self / name, most)]
            if not lines:
                raise Unreadable("it is empty")
            return lines

    @contextlib.contextmanager
    def understood(self, name: str) -> Iterator[None]:
        """Make a sentence of what fails where a table does not hold what it should."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            with self._naming(name):
                raise Unreadable(f"it is damaged: {first_line(error)}") from None

    @contextlib.contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Make a sentence of why a file cannot be read."""
        try:
            yield
        except GatebenchError as error:
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
            number = kind(text) if not text.startswith("0") or text == "0" or "." in text else text  # a class may be called 007
            return number if is_number(number) else text
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


def folders_in(results: Path, *marks: str) -> tuple[list[RunFolder], list[str]]:
    """The folders in `results` that hold one of these files, by name, and a line for each that cannot be opened.

    Raises Missing where there is no such folder, Unreadable where it may not be opened.
    """
    folders, left_out = [], []
    for name in listed(results):
        if os.path.isdir(results / name):
            try:
                if not set(marks).isdisjoint(listed(results / name)):
                    folders.append(RunFolder(results / name))
            except Unreadable as error:
                left_out.append(f"{plain(name)}: it cannot be opened: {error}")
    return folders, left_out


def choose_folder(out: Path, name: str, machine: str, fresh: bool, take_over: bool) -> RunFolder:
    """The folder a command goes on with: the newest of `name`, `name-2`, `name-3` ... that is this machine's own, else a new one.

    Another machine's folder (unless it is unfinished and to be taken over), a finished one without weights, and with `fresh` any, is left
    as it is.
    """
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    taken = list(itertools.takewhile(lambda folder: os.path.lexists(folder.path), (RunFolder(out / each) for each in names)))
    for folder in [] if fresh else reversed(taken):
        begun = folder.has("machine.json")
        if folder.finished:
            if begun and _made_for(machine, folder) and folder.has("model.safetensors"):
                return folder
        elif not begun or take_over or _made_for(machine, folder):  # not begun: killed before its first file
            return folder
    return RunFolder(out / (f"{name}-{len(taken) + 1}" if taken else name))


def _made_for(machine: str, folder: RunFolder) -> bool:
    """Whether a machine made a run, or had it made by another one of its cluster."""
    made = folder.read_json("machine.json")
    return machine in (made.get("name"), made.get("driver"))
