"""The run folder: every file written whole or not at all, and read back.

`<model>-<recipe>-<data>-s<seed>-<hash>/` holds recipe.yaml, machine.json, epochs.csv, rows.jsonl, summary.json,
breakdown.csv, inputs.parquet, decisions.npz, examples.npz, data.json, model.safetensors, of a network with exits exits.csv and
calibration.csv with a picture each, resume.pt (to go on from, or to be evaluated in another way), and once timed latency.csv,
latency.json and pictures.
"""

import contextlib
import csv
import errno
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import GatebenchError


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
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with _replacing(self / name) as stream:
                fill(stream)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else error.strerror or str(error)
            mend = "What was written before is kept; make room or choose another --out" if full else "Choose another --out"
            raise GatebenchError(f"Cannot write {self / name}: {reason}. {mend}, then run the same command again.") from error

    def write_text(self, name: str, text: str) -> None:
        self.write(name, lambda stream: stream.write(text.encode()))

    def write_json(self, name: str, content: dict) -> None:
        self.write_text(name, json.dumps(content, indent=2, allow_nan=False) + "\n")

    def write_rows(self, rows: list[dict]) -> None:
        """rows.jsonl: one line an operating point."""
        self.write_text("rows.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read_rows(self) -> list[dict]:
        """rows.jsonl, or nothing where there is none. Raises GatebenchError where it is damaged."""
        path = self / "rows.jsonl"
        try:
            return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []
        except (OSError, ValueError) as error:
            raise GatebenchError(f"{path} cannot be read ({error}). Remove it, or write elsewhere with --out.") from None

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
        found = [path for pattern in patterns for path in self.path.glob(pattern)]
        for path in found:
            path.unlink()
        return bool(found)

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


def choose_folder(out: Path, name: str, machine: str, fresh: bool) -> RunFolder:
    """The folder a command goes on with: the newest of `name`, `name-2`, `name-3` ... that is this machine's own, else a new one.

    Another machine's folder, a finished one without weights, and with `fresh` any, is left as it is.
    """
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    taken = list(itertools.takewhile(lambda folder: folder.path.exists(), (RunFolder(out / each) for each in names)))
    for folder in [] if fresh else reversed(taken):
        nobodys = not folder.finished and not (folder / "machine.json").exists()  # killed before its first file
        ours = nobodys or ((folder / "machine.json").exists() and folder.read_json("machine.json").get("name") == machine)
        if ours and (not folder.finished or (folder / "model.safetensors").exists()):
            folder.remove_leftovers()
            return folder
    return RunFolder(out / (f"{name}-{len(taken) + 1}" if taken else name))
