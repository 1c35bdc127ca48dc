"""Whether run folders hold together: `gatebench report --check`.

For folders made elsewhere. Each rule looks at one folder and gives what is wrong in it: the file, and half a sentence. They compare what
is written more than once, and what follows from other numbers; what reports leave out with a line is refused as well.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import UsageError
from ..foreign import Unreadable, plain
from ..runs import RunFolder, folders_in
from .checks import files, inputs, rows, times
from .evidence import Evidence, Problem, read_evidence
from .results import MARKS

RULES = (*rows.RULES, *files.RULES, *inputs.RULES, *times.RULES)


class Refusal(NamedTuple):
    """What is wrong with a folder."""

    folder: str
    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.folder}: {self.file}: {self.problem}"


def check(results: Path) -> tuple[int, list[Refusal]]:
    """How many run folders there are in a folder (it may be one), and what is wrong with them: of each rule the first finding.

    Raises UsageError where there is none.
    """
    try:
        folders, unopened = folders_in(results, *MARKS)
    except Unreadable as error:
        raise UsageError(f"The folder {results} cannot be opened: {error}. Name one that may be read.") from None
    own = RunFolder(results)
    folders = [own] * any(map(own.has, MARKS)) + folders
    if not folders and not unopened:
        raise UsageError(f"In {results} there is no run folder. Name one, or a folder of them, such as results/.")
    refusals = [Refusal(name, "the folder", problem) for name, _, problem in (line.partition(": ") for line in unopened)]
    places: dict[str, str] = {}
    seen: dict[str, str] = {}
    for folder in folders:
        name, place = plain(folder.path.name or folder.path.resolve().name), os.path.realpath(folder.path)
        if place in places:
            refusals.append(Refusal(name, "the folder", f"it is {places[place]} again, and one run counts once"))
            continue
        places[place], evidence = name, read_evidence(folder)
        refusals += [Refusal(name, *each) for each in (*evidence.unread, *_broken(evidence))]
        content = repr(evidence.rows)
        if evidence.rows and content in seen:
            refusals.append(Refusal(name, "rows.jsonl", f"it has the rows of {seen[content]}, and one run counts once"))
        seen.setdefault(content, name)
    return len(folders) + len(unopened), refusals


def _broken(evidence: Evidence) -> Iterator[Problem]:
    """The first finding of each rule, and how many there are besides."""
    for rule in RULES if evidence.rows else ():
        problems = list(rule(evidence))
        if problems:
            (file, problem), more = problems[0], len(problems) - 1
            yield file, plain(problem) + f" (and {more} more such)" * (more > 0)
