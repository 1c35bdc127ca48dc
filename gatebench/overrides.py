"""`--set a.b=c`: one setting after the other changed in the content of a recipe, and the one blamed that makes it wrong."""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from .errors import UsageError, quoted
from .foreign import Unreadable
from .plain_data import from_yaml

LONGEST_CHANGE = 500
"""Characters of a --set: rows hold it."""
MOST_CHANGES = 100
"""Of a recipe: rows hold them."""
REFUSED = {
    "training.epochs": "use --epochs, which scales along everything else that is counted in epochs",
    "model.name": "the model is the command's first argument",
    "data.name": "use --dataset",
    "name": "copy the recipe's file under another name",
    "changes": "gatebench records it itself",
    "scaled_from_epochs": "gatebench records it itself",
}
"""Keys that --set leaves to another option."""
Made = TypeVar("Made")


def overridden(content: dict, overrides: Iterable[str]) -> tuple[dict, list[str]]:
    """A changed copy of a recipe's content, and what was set."""
    content = copy.deepcopy(content)
    return content, [change for override in overrides for change in _apply(content, override)]


def parsed(
    content: dict, overrides: Sequence[str], parse: Callable[[dict, str], Made], where: str, option: str = "--set"
) -> tuple[Made, list[str]]:
    """What `parse` makes of a changed copy of the content, and what was set. `parse` takes a content and what to blame for its errors.

    Raises UsageError that blames the override at fault, if one is, as what `option` gave.
    """
    changed, changes = overridden(content, overrides)
    try:
        return parse(changed, where), changes
    except UsageError:
        if len(overrides) <= MOST_CHANGES:
            some, culprit = _at_fault(content, overrides, lambda content: parse(content, where))
            parse(overridden(content, some)[0], f"{option} {shown(culprit)} of {where}" if culprit else where)
        raise


def shown(override: str) -> str:
    """In one line, as much of it as a sentence repeats."""
    override = " ".join(override.splitlines())
    return override if len(override) <= 80 else f"{override[:80]}..."


def _at_fault(content: dict, overrides: Sequence[str], parse: Callable[[dict], Any]) -> tuple[Sequence[str], str]:
    """Overrides that make a content wrong, and the one of them at fault: without it nothing is wrong, or nothing is before it.

    "" where the content was wrong before.
    """

    def is_wrong(some: Sequence[str]) -> bool:
        try:
            parse(overridden(content, some)[0])
        except UsageError:
            return True
        return False

    if is_wrong([]):
        return overrides, ""
    for index, each in enumerate(overrides):
        if not is_wrong([*overrides[:index], *overrides[index + 1 :]]):
            return overrides, each
    count = next(count for count in range(1, len(overrides) + 1) if is_wrong(overrides[:count]))
    return overrides[:count], overrides[count - 1]


def _apply(content: dict, override: str) -> list[str]:
    """Set a nested key from `a.b=c`; the value is read as YAML. Returns what was set, a group of settings one by one."""
    path, separator, value = override.partition("=")
    short = shown(override)
    if not separator or not all(path.split(".")):
        raise UsageError(f"--set wants KEY=VALUE such as training.learning_rate=0.05, not {quoted(override)}.")
    try:
        given = from_yaml(value)
    except Unreadable as error:
        raise UsageError(f"--set {short}: {error}. Give a YAML value such as 0.05, name or [1, 2].") from None
    changes = [f"{key}={part}" for key, part in _set(content, path, given, value, short)]
    if any(len(change) > LONGEST_CHANGE for change in changes):
        raise UsageError(f"--set {short} is longer than {LONGEST_CHANGE} characters. Write it into a recipe's file, for --config.")
    return changes


def _set(content: dict, path: str, value: Any, written: str, short: str) -> list[tuple[str, str]]:
    """A group of settings is set one by one, and leaves the group's others as they are. Returns each key, and its value as YAML."""
    if isinstance(value, dict) and value:  # an empty one empties the group
        parts = ((f"{path}.{key}", part) for key, part in value.items())
        return [done for key, part in parts for done in _set(content, key, part, json.dumps(part), short)]
    if path in REFUSED:
        raise UsageError(f"--set {short}: {REFUSED[path]}.")
    *parents, last = path.split(".")
    for part in parents:
        if content.get(part) is None:
            content[part] = {}
        content = content[part]
        if not isinstance(content, dict):
            raise UsageError(f"--set {short}: {quoted(part)} is a value, not a group of settings.")
    content[last] = value
    return [(path, written)]
