"""The one error a user sees: a clear sentence that names the fix."""

import difflib
from collections.abc import Iterable


class GatebenchError(Exception):
    """Something the user can mend; the command line prints the message and exits with 1."""


class UsageError(GatebenchError):
    """A wrong name, key or value in what the user typed or wrote; exits with 2."""


class MissingData(GatebenchError):
    """A named data set is neither on disk nor downloadable."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """" Did you mean 'x'?" for the closest allowed name, or nothing where none is close."""
    match = difflib.get_close_matches(str(name), [str(candidate) for candidate in allowed], n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not one of `allowed`."""
    allowed = list(allowed)
    return UsageError(f"No {kind} is named {name!r}.{nearest(name, allowed)} Known: {', '.join(allowed)}.")


def explain(error, schema, where: str) -> UsageError:
    """A pydantic ValidationError in one sentence a problem: the key, the value, what is allowed, the nearest match."""
    return UsageError(" ".join(_sentence(problem, schema, where) for problem in error.errors()))


def _sentence(problem: dict, schema, where: str) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        fields = _fields(schema, path[:-1])
        return f"In {where}: unknown key {key!r}.{nearest(path[-1], fields)} Allowed here: {', '.join(fields) or 'none'}."
    if problem["type"] == "missing":
        return f"In {where}: key {key!r} is missing."
    value = problem["input"]
    allowed = problem.get("ctx", {}).get("expected", "")
    hint = nearest(value, allowed.replace("'", "").replace(" or ", ", ").split(", ")) if problem["type"] == "literal_error" else ""
    return f"In {where}: {key} = {value!r} is not allowed: {problem['msg'][0].lower()}{problem['msg'][1:]}.{hint}"


def _fields(schema, path: list[str]) -> list[str]:
    """The keys allowed at `path` of a pydantic model; none where the path leaves the models."""
    for part in path:
        field = schema.model_fields.get(part)
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        schema = next((candidate for candidate in candidates if hasattr(candidate, "model_fields")), None)
        if schema is None:
            return []
    return list(schema.model_fields)
