"""The one error a user sees: a clear sentence that names the fix."""

import contextlib
import difflib
import os
from collections.abc import Iterable, Iterator
from typing import get_args, get_origin

LONGEST = 200
"""Characters of a value that a sentence repeats."""
DIGITS = "0123456789"
MOST_SIZES = 4
"""Of one network that a sentence names one by one."""
TYPES = frozenset((
    "chain", "dict", "function-after", "function-before", "function-plain", "function-wrap", "is-instance", "json-or-python",
    "lax-or-strict", "list", "literal", "nullable", "set", "tuple",
))  # fmt: skip
"""What pydantic calls a type is one of these, and its parameters in brackets."""


class GatebenchError(Exception):
    """Something the user can mend; the command line prints the message and exits with 1."""


class UsageError(GatebenchError):
    """A wrong name, key or value in what the user typed or wrote; exits with 2."""


class MissingData(GatebenchError):
    """A named data set is neither on disk nor downloadable."""


@contextlib.contextmanager
def needs_memory(what: str, mend: str) -> Iterator[None]:
    """Say what there was not enough memory for, and what to do: `mend` is a sentence without its full stop.

    Raises GatebenchError, the innermost one's.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, GatebenchError) or not lacks_memory(error):
            raise
        raise GatebenchError(f"There is not enough memory for {what}. {mend}.") from error


def lacks_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy, pyarrow or torch says that memory could not be had."""
    said = str(error)
    refused = ("can't allocate memory", "not enough memory", "Maximum allowed size exceeded", "array is too big", "bad_alloc")
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or any(each in said for each in refused)


def printable(text: str, also: str = "") -> str:
    """The text with a replacement character for each one that a terminal acts upon: control characters, directions, halves of characters.

    Those in `also` stay.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in also else "\N{REPLACEMENT CHARACTER}" for each in text)


def quoted(value: object) -> str:
    """What a user wrote, or the beginning of it."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, in one line without the full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def with_article(noun: str) -> str:
    """ "an int", "a Tensor"."""
    return f"{'an' if noun[:1] in tuple('aeioAEIO') else 'a'} {noun}"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """ " Did you mean 'x'?" for the closest allowed name, or the one with these initials (lr); nothing where there is none."""
    match = _closest(name, allowed)
    return f" Did you mean {match!r}?" if match else ""


def _closest(name: str, allowed: Iterable[str]) -> str | None:
    spelled = {str(candidate).casefold(): str(candidate) for candidate in allowed}
    wanted = str(name).casefold()
    matches = difflib.get_close_matches(wanted, spelled, n=8, cutoff=0.6)

    def rank(candidate: str) -> tuple:
        """resnet21 is as close to resnet92 as to resnet20 by its letters; what people get right is the beginning, and the length."""
        return -len(os.path.commonprefix([candidate, wanted])), abs(len(candidate) - len(wanted)), candidate

    initials = (each for each in spelled if wanted == "".join(word[:1] for word in each.split("_")))
    return spelled.get(min(matches, key=rank, default=next(initials, None)))


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not one of `allowed`."""
    allowed = list(allowed)
    return UsageError(f"No {kind} is named {quoted(name)}.{nearest(name, allowed)} Known: {', '.join(_in_short(allowed))}.")


def _in_short(names: list[str]) -> list[str]:
    """The names; of more than `MOST_SIZES` in a row that differ in a rising number at their end "resnet8 ... resnet110"."""
    rows: list[list[str]] = []
    for name in names:
        before = rows[-1][-1] if rows else ""
        same = name.rstrip(DIGITS) == before.rstrip(DIGITS)
        if same and (len(name), name) > (len(before), before):  # no number begins with a 0
            rows[-1].append(name)
        else:
            rows.append([name])
    return [each for row in rows for each in ([f"{row[0]} ... {row[-1]}"] if len(row) > MOST_SIZES else row)]


def explain(error, schema, where: str, prefix: str = "") -> UsageError:
    """A pydantic ValidationError as a sentence: the key (below `prefix`), the value, what is allowed, the nearest match."""
    settings: dict[tuple, list[dict]] = {}  # where several types are allowed, pydantic reports a problem for each
    for problem in error.errors():
        branch = next((number for number, part in enumerate(problem["loc"]) if _is_type(part)), len(problem["loc"]))
        settings.setdefault(problem["loc"][:branch], []).append(problem)
    first, *others = settings.values()
    more = f" ({len(others)} more wrong settings follow.)" if others else ""
    return UsageError(_sentence(max(first, key=_particular), schema, where, prefix) + more)


def _particular(problem: dict) -> tuple:
    """The deeper a problem, the more it says; a list of allowed words says more than a type."""
    return len(problem["loc"]), problem["type"] == "literal_error"


def _is_type(part: str | int) -> bool:
    """Whether a part of a problem's location is a type that pydantic tried, such as tuple[float, ...], and no key."""
    return isinstance(part, str) and part.endswith("]") and part.partition("[")[0] in TYPES


def _sentence(problem: dict, schema, where: str, prefix: str) -> str:
    path, fields = _walk(schema, problem["loc"])
    if problem["type"] == "union_tag_invalid":
        path.append(problem["ctx"]["discriminator"].strip("'"))
    key = prefix + (".".join(path) or ".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        hint = nearest(problem["loc"][-1], fields) or _deeper(problem["loc"], fields, schema)
        return f"In {where}: unknown key {quoted(key)}.{hint} Allowed here: {', '.join(fields) or 'none'}."
    if problem["type"] == "union_tag_not_found":
        return f"In {where}: {key} does not say which kind it is; give {key}.{problem['ctx']['discriminator'].strip(chr(39))} too."
    if problem["type"] in ("model_type", "dict_type", "model_attributes_type"):
        inside = _walk(schema, (*problem["loc"], ""))[1]
        named = f" of settings: {', '.join(inside)}" if inside else " of settings"
        return f"In {where}: {key} = {quoted(problem['input'])} is not allowed: it is a group{named}."
    if problem["type"] == "missing":
        return f"In {where}: key {key!r} is missing."
    context = problem.get("ctx", {})
    allowed = context.get("expected", context.get("expected_tags", ""))
    value = context.get("tag", problem["input"])
    hint = nearest(value, allowed.replace("'", "").replace(" or ", ", ").split(", ")) if allowed else ""
    said = problem["msg"].removeprefix("Value error, ")
    message = said[0].lower() + said[1:]
    return f"In {where}: {key} = {quoted(value)} is not allowed: {message}.{hint}"


def _deeper(location: tuple, fields: list[str], schema) -> str:
    """As `nearest`, for the last key of a location among those one level deeper: " Did you mean 'training.learning_rate'?"."""
    inside = {key: f"{field}.{key}" for field in reversed(fields) for key in _walk(schema, (*location[:-1], field, ""))[1]}
    match = _closest(location[-1], inside)
    return f" Did you mean {inside[match]!r}?" if match else ""


def _walk(schema, location: tuple) -> tuple[list[str], list[str]]:
    """A problem's location as the keys a user wrote, and the keys allowed where its last key stands.

    In a choice between models pydantic puts the chosen one's tag into the location; the user wrote no such key.
    """
    path, choices, fields = [], [schema], []
    for part in (str(each) for each in location if not _is_type(each)):
        models = [choice for choice in choices if hasattr(choice, "model_fields")]
        tagged = [model for model in models if any(part in _literals(field) for field in model.model_fields.values())]
        if len(models) > 1 and tagged:
            choices = tagged[:1]
            continue
        groups = [value for choice in choices if get_origin(choice) is dict for value in get_args(choice)[1:]]
        if groups:  # whose names the user gave
            path.append(part)
            choices, fields = groups, []
            continue
        fields = list(dict.fromkeys(name for model in models for name in model.model_fields))
        path.append(part)
        annotations = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        choices = [choice for annotation in annotations for choice in (annotation, *getattr(annotation, "__args__", ()))]
    return path, fields


def _literals(field) -> tuple:
    return getattr(field.annotation, "__args__", ())
