"""The run folder: every file written whole or not at all, and read back.

`<model>-<recipe>-<data>-s<seed>-<hash>/` holds recipe.yaml, machine.json, data.json, epochs.csv, rows.jsonl, summary.json, columns.json
(columns that its family declares), breakdown.csv, inputs.parquet, decisions.npz, examples.npz, model.safetensors, tables of its study,
resume.pt (to go on from), and times/, one file for each timing.
"""

import contextlib
import errno
import itertools
import json
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from . import locks
from .errors import GatebenchError, first_line
from .foreign import LARGEST_TABLE, Unreadable, listed, number, plain, read_table, read_text
from .plain_data import fits, from_json
from .row import Row
from .rows import read_columns, read_row, read_rows

LOCK = ".lock"
BRIEFLY = ", for a moment"
"""How the lock of one who writes for a moment is signed."""
MOMENT = 1.0
"""Seconds after which a wait is said."""
RESERVED = f"times/*-{'[0-9]' * 8}T{'[0-9]' * 6}Z*.json"
"""Names of timings; reserved as long as there are no rows beside them."""


class Unwritable(GatebenchError):
    """What the system says against writing a file."""


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

        What killed processes left of this file is removed. Raises GatebenchError where the disk is full or not writable.
        """
        with self._explained(name):
            (self / name).parent.mkdir(parents=True, exist_ok=True)
            for path in _half_written((self / name).parent, Path(name).name):
                _remove_abandoned(path)
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
            raise Unwritable(f"Cannot write {self / name}: {reason}. {mend}, then run the same command again.") from error

    def reserve(self, name: str) -> IO | None:
        """Create an empty file, to be written later: this process's as long as the stream is open. None where there is one already.

        Raises GatebenchError where the disk is full or not writable.
        """
        with self._explained(name):
            (self / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                stream = open(self / name, "x")  # noqa: SIM115 (its lock is held as long as it is open)
            except FileExistsError:
                return None
            locks.take(stream.fileno())
            return stream

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

    def rows(self) -> list[dict]:
        """Those of rows.jsonl, the headline first. Raises as `headline`."""
        with self._naming("rows.jsonl"):
            return read_rows(self / "rows.jsonl", Row, read_columns(self / "columns.json"))

    def read_csv(self, name: str, most: int = LARGEST_TABLE) -> list[dict]:
        """A table of at most so many bytes as one dictionary a line; numbers as numbers, empty cells left out.

        Raises GatebenchError where the file is missing or empty.
        """
        with self._naming(name):
            lines = [{key: _typed(value) for key, value in line.items() if value != ""} for line in read_table(self / name, most)]
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
            path.unlink(missing_ok=True)
        return bool(matches)

    def tidy(self) -> None:
        """Remove what killed processes left, unless another process has the folder."""
        if any(self._leftovers()) and self.holder() is None:
            with contextlib.suppress(GatebenchError), self.locked(brief=True):
                pass

    def _leftovers(self) -> Iterator[tuple[Path, Path]]:
        """Files half written and timings without rows, with the file by which their writer holds them, if it lives."""
        for folder in (self.path, self / "times"):
            yield from ((path, path) for path in _half_written(folder))
        for path in self.path.glob(RESERVED):
            if not path.with_suffix(".jsonl").exists():
                yield from ((path.with_suffix(ending), path) for ending in (".csv", ".json"))

    @contextlib.contextmanager
    def locked(
        self,
        mend: str | None = "Wait for it, or train into a folder of its own with --fresh",
        brief: bool = False,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> Iterator[None]:
        """The folder for this process alone, until it is done or ends in any way; an empty folder is removed again.

        What killed processes left in it is removed first. Whoever writes for a moment (`brief`) is waited for; `say` hears of it where it
        takes longer. Raises GatebenchError naming another process that has it, and what to do: `mend`; without `mend` that is waited for,
        too. Where there are no locks nothing is held off, and leftovers stay.
        """
        with self._lock(mend, say) as stream:
            try:
                with self._explained(LOCK):
                    locks.sign(stream.fileno(), BRIEFLY * brief)
                for path, held in list(self._leftovers()):
                    _remove_abandoned(path, held)
                yield
            finally:
                with contextlib.suppress(OSError):
                    (self / LOCK).unlink()
                    self.path.rmdir()  # fails where anything was written

    def _lock(self, mend: str | None, say: Callable[[str], None]) -> IO:
        """The open lock file, which no other process has locked. Raises as `locked`."""
        before, until = "", time.monotonic() + MOMENT

        def open_file() -> int:
            while True:
                with self._explained(LOCK):
                    self.path.mkdir(parents=True, exist_ok=True)
                    with contextlib.suppress(FileNotFoundError):  # the folder was another process's, which has just removed it
                        return locks.opened(self / LOCK)

        def busy(holder: str) -> None:
            nonlocal before, until
            writing = f"{self.path} is being written by {holder or 'another process'}"
            if mend is not None and holder == before != "" and not holder.endswith(BRIEFLY):  # read twice: it signs after it locks
                raise GatebenchError(f"{writing}. {mend}.")
            if time.monotonic() > until:
                say(f"{writing}; waiting for its end.")
                until = math.inf
            before = holder

        return os.fdopen(locks.awaited(self / LOCK, open_file, busy), "r+b", buffering=0)  # its lock is held as long as it is open

    def holder(self) -> str | None:
        """Which process writes the folder; None where none does."""
        with contextlib.suppress(OSError), os.fdopen(locks.opened(self / LOCK, os.O_RDWR), "r+b", buffering=0) as stream:
            if locks.take(stream.fileno()) is False:
                return locks.signed(stream.fileno()) or "another process"
        return None


def _typed(text: str) -> int | float | str:
    """A cell as a number where it is one, else as the text that it is."""
    value = number(text)
    return text if value is None else value


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    stream, temporary = _temporary(path)
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            if os.name == "nt":  # where no file is renamed that is open
                stream.close()
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary(path: Path) -> tuple[BinaryIO, str]:
    """A file to become `path`, open and locked, by which others see that its writer lives; and its name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.writing-")
    stream = os.fdopen(descriptor, "wb")
    if locks.take(descriptor) is False or not os.path.lexists(name):  # taken for a dead one's before it was locked
        stream.close()
        return _temporary(path)
    return stream, name


def _half_written(folder: Path, name: str = "") -> list[Path]:
    """Temporary files of `name`, or of all files, in a folder."""
    try:
        names = [each for each in os.listdir(folder) if each.startswith(f".{name}.writing-" if name else ".") and ".writing-" in each]
    except OSError:
        return []
    return [folder / each for each in names]


def _remove_abandoned(path: Path, held: Path | None = None) -> None:
    """Remove a file unless a living process holds it, by itself or by the file `held`."""
    with contextlib.suppress(OSError), os.fdopen(locks.opened(held or path, os.O_RDWR), "r+b", buffering=0) as stream:
        if locks.take(stream.fileno()):
            path.unlink()


def slug(text: str) -> str:
    """As part of a file's or a column's name; it may be empty."""
    return re.sub(r"[^\w.]+", "-", text, flags=re.ASCII).strip("-.")


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
