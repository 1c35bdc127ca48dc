"""Files and texts that nobody vouches for, read within bounds or refused with a reason: run folders, recipes, --set, weights.

What JSON and YAML give is plain data: texts, numbers, truth values, null, lists, and mappings whose keys are texts.
"""

import contextlib
import csv
import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from .errors import GatebenchError, UsageError, first_line, nearest, printable

LARGEST = 2_000_000
"""Bytes of a file of texts; a run's own are a tenth of it at most."""
LARGEST_TABLE = 40_000_000
"""Bytes of a table of inputs, epochs or raw times."""
DEEPEST = 20
"""Levels of lists and mappings in JSON and YAML."""
MOST_VALUES = 200_000
MOST_EVENTS = 5_000
"""Names, values, beginnings and ends in YAML, with what is repeated by aliases."""
LONGEST_SCALAR = 20_000
"""Characters of a name or value in YAML."""
LONGEST_TEXT = 500
"""Characters of a text that is shown."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Many times as fast, where PyYAML was built with it."""


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


def from_json(text: str) -> Any:
    """The content of a JSON text. Raises Unreadable where it is none, too deep, too much, or holds what is no plain data."""
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise Unreadable(f"it is deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {first_line(error)}") from None
    _check(value)
    return value


def from_yaml(text: str) -> Any:
    """The content of a YAML text; .inf and .nan are floats in it. Raises Unreadable as `from_json`, and for tags such as !!bool."""
    try:
        _check_events(text)
        value = yaml.load(text, Loader=_Plain)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise Unreadable(f"it is not valid YAML: {getattr(error, 'problem', None) or first_line(error)}{where}") from None
    except (ValueError, OverflowError) as error:  # of PyYAML, for 0b_
        raise Unreadable(f"it is not valid YAML: {first_line(error)}") from None
    _check(value)
    return value


def fits(value: Any, kind: Any) -> bool:
    """Whether plain data are of a type, such as list[str]."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def plain(text: str) -> str:
    """Without control characters, directions and the like; as much as a cell holds."""
    return printable(text[:LONGEST_TEXT])


def typed_path(text: str | Path) -> Path:
    """A path as people type it, with ~ for a home folder. Raises UsageError where that is not known."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: there is no such home folder. Write the path in full.") from None


@cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)


def _unreadable(error: OSError | ValueError) -> Unreadable:
    kind = Missing if isinstance(error, (FileNotFoundError, NotADirectoryError)) else Unreadable
    return kind(getattr(error, "strerror", None) or str(error))


def _integer(text: str) -> int:
    """Raises ValueError for what has more than 64 bits in any case."""
    if len(text) > 20:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


def _finite(text: str) -> float:
    """Raises ValueError for NaN, Infinity, and what a float does not hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _check_events(text: str) -> None:
    """Raises Unreadable where loading a YAML text would take long, however short it is."""
    begun: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    count = 0
    for event in yaml.parse(text, Loader=LOADER):  # flat, where loading goes as deep as the text does
        count += 1
        if getattr(event, "tag", None):
            raise Unreadable(f"it has the tag {event.tag.replace('tag:yaml.org,2002:', '!!')}; leave tags out")
        if isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.ScalarEvent):
            if len(event.value) > LONGEST_SCALAR:
                raise Unreadable(f"it has a value of {len(event.value):,} characters, more than {LONGEST_SCALAR:,}")
        elif isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, count))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            if anchor:
                sizes[anchor] = count - before
        if len(begun) > DEEPEST:
            raise Unreadable(f"it is deeper than {DEEPEST} levels")
        if count > MOST_EVENTS:
            raise Unreadable(f"it has more than {MOST_EVENTS:,} names and values, with all that its aliases repeat")


def _decimal(tag: str, pattern: re.Pattern) -> re.Pattern:
    """The same, but for numbers to base 60 and 8."""
    return re.compile(r"(?!.*:|[-+]?0[0-9_])" + pattern.pattern, pattern.flags) if tag.endswith((":int", ":float")) else pattern


class _Plain(LOADER):
    """YAML in which a date, a time and 010 are texts; YAML 1.1 has numbers to base 60 and 8."""

    yaml_implicit_resolvers = {
        first: [(tag, _decimal(tag, pattern)) for tag, pattern in each if not tag.endswith(":timestamp")]
        for first, each in LOADER.yaml_implicit_resolvers.items()
    }


def _check(value: Any) -> None:
    """Raises Unreadable where a value is deep, has many parts (those that occur twice count twice), or is no plain data."""
    level, count, depth = [value], 1, 0
    while level:
        if depth >= DEEPEST and any(isinstance(each, (dict, list)) for each in level):
            raise Unreadable(f"it is deeper than {DEEPEST} levels")
        following: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                for key in each:
                    if not isinstance(key, str):
                        raise Unreadable(f"its key {key!r} is not a text; put it into quotes")
                    _check_text(key)
                following += each.values()
            elif isinstance(each, list):
                following += each
            elif isinstance(each, str):
                _check_text(each)
            elif isinstance(each, int) and abs(each) >= 2**63:
                raise Unreadable("it has a number of more than 64 bits")
            if count + len(following) > MOST_VALUES:
                raise Unreadable(f"it has more than {MOST_VALUES:,} values")
        level, count, depth = following, count + len(following), depth + 1


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        raise Unreadable("it has half a character (a surrogate without its other half)")
