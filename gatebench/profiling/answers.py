"""What a network from elsewhere answers with: tensors in lists, mappings and objects, taken apart so that two answers can be compared."""

import numbers
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError, nearest, with_article
from ..runtimes.fold import same_answers

DEEPEST = 10
"""Lists in lists that are looked into."""
LONGEST = 160
"""Characters of a description."""
SHOWN, COMPARED = 6, 200
"""Entries of a list that are described, and of one that are looked at to say that all are alike."""


@dataclass(frozen=True)
class Answer:
    """An answer taken apart."""

    structure: tuple
    """Kinds, lengths, keys, and whatever is no number; equal for two answers of the same form."""
    tensors: list[tuple[str, Tensor]]
    """Every number in it with its path such as "exits.0"; that of an answer which is one tensor is ""."""

    def same(self, other: "Answer") -> bool:
        """Whether form and every number of another answer agree with this one, numbers up to rounding."""
        if self.structure != other.structure:
            return False
        return all(same_answers(tensor, others) for (_, tensor), (_, others) in zip(self.tensors, other.tensors, strict=True))

    @property
    def has_nan(self) -> bool:
        return any(bool(tensor.isnan().any()) for _, tensor in self.tensors)


def take_apart(answer: object) -> Answer:
    """The answer's form and numbers. Numbers of Python and NumPy become tensors; whole ones stay exact."""
    tensors: list[tuple[str, Tensor]] = []
    return Answer(_structure(answer, "", tensors, DEEPEST), tensors)


def has_tensor(answer: object, depth: int = DEEPEST) -> bool:
    """Whether there is a tensor or an array anywhere in it."""
    if isinstance(answer, (Tensor, np.ndarray)):
        return True
    return depth > 0 and any(has_tensor(part, depth - 1) for _, part in _parts(answer) or ())


def pick(answer: object, path: str) -> object:
    """The part of an answer at a path: keys, numbers (from the end where negative) or names, with dots between, as exits.-1.

    Raises UsageError where there is no such part, with what the answer is.
    """
    part = answer
    for name in path.split("."):
        by_name = dict(_parts(part) or ())
        if name.startswith("-") and name[1:].isdigit() and isinstance(part, (list, tuple)):
            name = str(len(part) + int(name))
        elif name in getattr(part, "_fields", ()):  # of a named tuple
            name = str(part._fields.index(name))
        if name not in by_name:
            whole = "" if part is answer else f" The answer is {describe(answer)}."
            raise UsageError(f"--output {path}: there is no {name!r} in {describe(part)}.{nearest(name, by_name)}{whole}")
        part = by_name[name]
    return part


def describe(answer: object) -> str:
    """What an answer is, in some words: a tuple of 2 (a tensor of 1x10, None)."""
    text = _described(answer, 3)
    return text if len(text) <= LONGEST else text[: LONGEST - 4] + " ..."


def _described(answer: object, depth: int) -> str:
    if isinstance(answer, Tensor):
        kind = "" if answer.is_floating_point() else f" ({str(answer.dtype).removeprefix('torch.')})"
        return f"a tensor of {'x'.join(map(str, answer.shape)) or 'one number'}{kind}"
    if isinstance(answer, np.ndarray):
        return f"an array of {'x'.join(map(str, answer.shape)) or 'one number'}"
    if isinstance(answer, (str, bytes, bool, numbers.Number, np.generic, type(None))):
        return repr(answer.item() if isinstance(answer, np.generic) else answer)[:40]
    parts = list(_parts(answer) or ())
    inside = [_described(part, depth - 1) for _, part in parts[:COMPARED]] if depth else []
    if not isinstance(answer, (list, tuple)):
        inside = [f"{name}: {text}" for (name, _), text in zip(parts, inside, strict=False)]
    if 2 < len(parts) == len(inside) and len(set(inside)) == 1:
        inside = [f"each {inside[0]}"]
    elif inside and len(parts) > SHOWN:
        inside = [*inside[:SHOWN], f"{len(parts) - SHOWN} more"]
    kind = {dict: "mapping", list: "list", tuple: "tuple"}.get(type(answer), type(answer).__name__)
    return with_article(kind) + f" of {len(parts)}" * bool(parts) + f" ({', '.join(inside)})" * bool(inside)


def _structure(part: object, path: str, tensors: list[tuple[str, Tensor]], depth: int) -> tuple:
    tensor = _as_tensor(part)
    if tensor is not None:
        tensors.append((path, tensor))
        return ("numbers",)
    if part is None or isinstance(part, (str, bytes, int)):
        return ("value", part)
    inside = _parts(part)
    if inside is None or depth == 0:
        return ("other", type(part).__name__)
    kind = "list" if isinstance(part, (list, tuple)) else "mapping" if isinstance(part, Mapping) else type(part).__name__
    return (kind, *((name, _structure(each, f"{path}.{name}".lstrip("."), tensors, depth - 1)) for name, each in inside))


def _as_tensor(part: object) -> Tensor | None:
    if isinstance(part, Tensor):
        return part if part.layout == torch.strided else part.to_dense()
    if isinstance(part, np.ndarray):
        return torch.from_numpy(part) if part.dtype.kind in "biufc" else None
    if isinstance(part, np.generic):
        return _as_tensor(part.item())
    if isinstance(part, (float, complex)) or (isinstance(part, int) and abs(part) < 2**63):
        return torch.as_tensor(part)
    return None


def _parts(part: object) -> Iterator[tuple[str, object]] | None:
    """The parts of a mapping, list or object by name; None of something that has none."""
    if isinstance(part, Mapping):
        return ((str(key), value) for key, value in part.items())
    if isinstance(part, (list, tuple)):
        return ((str(index), value) for index, value in enumerate(part))
    if isinstance(part, (str, bytes, type)) or callable(part):
        return None
    if is_dataclass(part):
        return ((field.name, getattr(part, field.name)) for field in fields(part))
    return ((name, value) for name, value in vars(part).items() if not name.startswith("_")) if hasattr(part, "__dict__") else None
