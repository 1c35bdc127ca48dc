"""JSON and YAML that nobody vouches for, as plain data: texts, numbers, truth values, null, lists, and mappings whose keys are texts."""

import json
import math
import re
from functools import cache
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from .errors import first_line
from .foreign import Unreadable

DEEPEST = 20
"""Levels of lists and mappings in JSON and YAML."""
MOST_VALUES = 200_000
MOST_EVENTS = 5_000
"""Names, values, beginnings and ends in YAML, with what is repeated by aliases."""
LONGEST_SCALAR = 20_000
"""Characters of a name or value in YAML."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Many times as fast, where PyYAML was built with it."""


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


def mapping(content: Any) -> dict:
    """The content, where it is a mapping. Raises Unreadable where it is something else."""
    if not isinstance(content, dict):
        raise Unreadable("it is no mapping of names to values")
    return content


def fits(value: Any, kind: Any) -> bool:
    """Whether plain data are of a type, such as list[str]."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@cache
def _adapter(kind: Any) -> TypeAdapter:
    return TypeAdapter(kind)


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
