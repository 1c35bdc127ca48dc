"""The finished runs below a folder, read for tables and figures: rows only, without torch, and never trusting what a file says.

A folder that is half-written, damaged, of another version or made to mislead is left out with one line that says so.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..errors import GatebenchError, UsageError
from ..foreign import Missing, Unreadable, listed, plain
from ..row import Column, Row, TimeRow
from ..rows import read_columns, read_rows
from ..runs import RunFolder, folders_in
from .reading import read_breakdown, read_epochs, read_recipe

NEEDED_OF_TIMES = ("machine", "device", "runtime", "threads", "batch_size", "execution")
"""Without which a time compares with no other."""
NETWORK_OF_TIMES = ("model", "recipe", "digest", "seed", "epochs")
"""That times of a run copy from its row."""
TORCH = "torch"
SAME_TIMING = ("dataset", *NEEDED_OF_TIMES, "rival")
"""Of timings of one operating point that agree in these the newest counts."""
SAME_POINT = ("policy", "tradeoff", "severity", "reference")
"""What names an operating point of a run; a trade-off where it was chosen after training: otherwise it is a setting of the run."""
SCORED = ("split", "adaptive", "accuracy", "accuracy_low", "accuracy_high", "macs_dense", "shares", "share_names")
"""Columns of an operating point that tables set beside its times."""
MARKS = ("summary.json", "rows.jsonl", "recipe.yaml", "machine.json")
"""One of which every folder of a run has."""
MOST_TIMINGS = 200
"""Sessions of one run that are read, the newest by name."""
Made = TypeVar("Made")


@dataclass(frozen=True)
class Run:
    """One finished run: its operating points, the headline first, its times, and what it is compared with."""

    folder: RunFolder
    points: list[dict]
    times: list[dict]
    """In torch, the timing that counts of each network, place and execution; `session` names its file."""
    columns: tuple[Column, ...] = ()
    """That its family declares."""
    references: tuple[dict, ...] = ()
    """Rows of what the operating points are compared with, such as an expert alone; each is named by its `reference`."""
    elsewhere: tuple[dict, ...] = ()
    """The same in other runtimes, whose files have no batches."""
    unread: dict[str, str] = field(default_factory=dict, compare=False)
    """Files that were to be shown and cannot be read: by name, a sentence."""

    @property
    def headline(self) -> dict:
        return self.points[0]

    @property
    def name(self) -> str:
        return plain(self.folder.path.name)

    @cached_property
    def resolved(self) -> dict:
        """The resolved recipe; nothing where it cannot be read."""
        return self.read("recipe.yaml", read_recipe, {})

    @cached_property
    def epochs(self) -> list[dict]:
        """epochs.csv; nothing where it is missing or damaged."""
        return self.read("epochs.csv", read_epochs, [])

    @cached_property
    def breakdown(self) -> list[dict]:
        """breakdown.csv, as `reading.groups` gives it; nothing where it is missing or damaged."""
        return self.read("breakdown.csv", read_breakdown, [])

    @cached_property
    def joined_times(self) -> list[dict]:
        """The times; with the accuracy of the operating point that was timed, where the timed inputs are of those it was scored on.

        `scored_in` is the precision that it was scored in, where it was timed in another.
        """
        return [row | self._scores(row) for row in self.times]

    @property
    def joined_elsewhere(self) -> list[dict]:
        """Those of other runtimes, joined alike."""
        return [row | self._scores(row) for row in self.elsewhere]

    def read(self, name: str, reader: Callable[[Path], Made], absent: Made) -> Made:
        """What a reader makes of a file; `absent` where it is missing, or cannot be read, which `unread` then says."""
        try:
            return reader(self.folder / name)
        except Missing:
            return absent
        except GatebenchError as error:
            self.unread[name] = plain(f"{self.name}: {name} cannot be read: {error}")
            return absent

    def setting(self, key: str) -> Any:
        """A setting of the resolved recipe, as a.b.c; None where there is none."""
        content = self.resolved
        for part in key.split("."):
            content = content.get(part) if isinstance(content, dict) else None
        return content

    def _scores(self, row: dict) -> dict:
        """Of the operating point that a row of times is of; nothing where it was timed on other inputs."""
        points = [each for each in self.points if same_point(each, row) and each.get("digest") == row.get("digest")]
        if not points or not row.get("scored_inputs"):
            return {}
        scored_in = points[0].get("precision", "")
        differs = {"scored_in": scored_in} if scored_in not in ("", row.get("precision")) else {}
        return {key: points[0][key] for key in SCORED if key in points[0]} | differs


@dataclass
class _Reader:
    """Reads run folders; remembers what it left out, and why."""

    left_out: list[str] = field(default_factory=list)

    def run(self, path: Path) -> Run:
        """Raises GatebenchError where it is no finished run."""
        if not RunFolder(path).finished:
            raise GatebenchError("it is not finished (summary.json is missing)")
        columns = read_columns(path / "columns.json")
        points, references = parted(read_rows(path / "rows.jsonl", Row, columns))
        if not points:
            raise GatebenchError("rows.jsonl has references alone, and no operating point")
        times = self._times(path, points[0].get("weights"))
        own, others = ([row for row in times if in_torch(row) == wanted] for wanted in (True, False))
        return Run(RunFolder(path), points, own, columns, tuple(references), tuple(others))

    def _times(self, path: Path, weights: str | None) -> list[dict]:
        """The times of a run's weights; a session that is damaged, or was of other weights, is left out alone."""
        times, rows = path / "times", []
        for session in [times / name for name in self._listed(times) if name.endswith(".jsonl")][-MOST_TIMINGS:]:
            try:
                for row in read_rows(session, TimeRow):
                    missing = [key for key in (*NETWORK_OF_TIMES, *NEEDED_OF_TIMES) if key not in row]
                    if missing:
                        raise GatebenchError(f"a row of {plain(session.name)} lacks {', '.join(missing)}")
                    if row.get("weights") != weights:
                        raise GatebenchError(f"{plain(session.name)}: its times are of other weights than the run's; time them anew")
                    rows.append({**row, "session": session.stem})
            except GatebenchError as error:
                self.left_out.append(f"{plain(path.name)}: in times/, {error}")
        return newest(rows)

    def _listed(self, times: Path) -> list[str]:
        try:
            return listed(times)
        except Missing:
            return []
        except Unreadable as error:
            self.left_out.append(f"{plain(times.parent.name)}: times/ cannot be opened: {error}")
            return []


def read_runs(results: Path) -> tuple[list[Run], list[str]]:
    """Finished runs in a folder of run folders (or one alone), by name, and a line for each that was left out.

    Raises UsageError where there is no such folder.
    """
    try:
        folders, unopened = folders_in(results, *MARKS)
    except Missing:
        raise UsageError(f"There is no folder {results}. Name the folder that `gatebench train` writes to, such as results/.") from None
    except Unreadable as error:
        raise UsageError(f"The folder {results} cannot be opened: {error}. Name one that may be read.") from None
    own = RunFolder(results)
    reader, runs, seen = _Reader(unopened), [], set()
    for path in [folder.path for folder in ([own] if any(map(own.has, MARKS)) else []) + folders]:
        place = os.path.realpath(path)
        try:
            if place in seen:
                raise GatebenchError("it is another one again")
            seen.add(place)
            runs.append(reader.run(path))
        except GatebenchError as error:
            reader.left_out.append(f"{plain(path.name)}: {error}")
    return runs, reader.left_out


def parted(rows: Iterable[dict]) -> tuple[list[dict], list[dict]]:
    """Operating points, and references."""
    rows = list(rows)
    return [row for row in rows if "reference" not in row], [row for row in rows if "reference" in row]


def is_masked(row: dict) -> bool:
    """Whether a row is of masked execution, which computes everything: its times are no savings."""
    return row.get("execution") == "masked"


def in_torch(row: dict) -> bool:
    """Whether a row of times is of torch itself, with CUDA graphs or without."""
    return row["runtime"].partition(",")[0] == TORCH


def same_point(first: dict, second: dict) -> bool:
    """Whether two rows of a run are of one operating point."""
    return _point(first) == _point(second)


def _point(row: dict) -> tuple:
    return tuple(row.get(key) for key in SAME_POINT if key != "tradeoff" or "policy" in row)


def newest(rows: Iterable[dict]) -> list[dict]:
    """The timing that counts of each network, place and execution: the newest complete one; an interrupted one where there is no other."""
    kept: dict[tuple, dict] = {}
    for row in rows:
        key = (*_point(row), *(row.get(name) for name in SAME_TIMING))
        if key not in kept or _rank(row) >= _rank(kept[key]):
            kept[key] = row
    return list(kept.values())


def _rank(row: dict) -> tuple[bool, str]:
    return not row.get("interrupted"), row.get("when", "")
