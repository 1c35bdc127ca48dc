"""Weights as people save them, given to a network: in wrappers, with prefixes, beside averaged ones and counters.

A network's tensors are looked for anywhere in a file, below any wrapper and prefix. They are taken where names and shapes are the network's
exactly. What was left out for that is said.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..foreign import plain
from ..words import counted
from .fit import dtype, has_values
from .readings import Entry, Reading, check, more, quoted, readings_of, why_not

SHOWN = 3
"""Names in a sentence."""


def take(content: Any, wanted: Mapping[str, Any], load: Callable[[dict[str, Any]], None]) -> list[str]:
    """Give a network the weights in a file's content, by `load`; `wanted` are the tensors that it looks for, by name.

    `load` raises ValueError where a state does not fit. Of several parts that fit, the first one in the file that is not averaged is taken.
    Returns sentences on what was taken, left out and converted, and on likelier weights that do not fit. Raises ValueError saying why
    nothing fits.
    """
    readings, errors = readings_of(content, wanted), []
    for reading in readings:
        try:
            check(reading)
            load(reading.state)
        except ValueError as error:
            errors.append(error)
        else:
            beside = [*_failed(reading, readings, errors), *_alternatives(reading, readings)]
            return [*_report(reading), *beside, *_converted(reading), *_not_finite(reading)]
    raise errors[0]


def _report(reading: Reading) -> list[str]:
    """What of a file was taken, and what was left out; nothing where it holds the weights and nothing else."""
    done = [f"took {' and '.join(quoted('.'.join(path)) for path in reading.paths)}"] if any(reading.paths) else []
    names = ((entry.name if len(reading.paths) == 1 else _full(entry), name) for name, entry in reading.matches.items())
    changes = Counter(_change(given, name) for given, name in names if given != name)
    for change, count in changes.items():
        done.append(change.format("all names" if count == len(reading.matches) else counted(count, "name")))
    weightless = "is no weight" if len(reading.not_weights) == 1 else "are no weights"
    for entries, what in ((reading.not_weights, weightless), (reading.outside_prefix, "the network has not")):
        if entries:
            last = list(dict.fromkeys(entry.name.rpartition(".")[2] for entry in entries))
            shown = ", ".join(map(plain, last[:SHOWN])) + ", ..." * (len(last) > SHOWN)
            done.append(f"left out {len(entries)} that {what} ({shown})")
    return [f"{', '.join(done)}."] if done else []


def _change(given: str, name: str) -> str:
    """What was done to a name in the file to make it the network's, with {} for the names that it was done to."""
    mine, own = given.split("."), name.split(".")
    while mine and own and mine[-1] == own[-1]:
        mine, own = mine[:-1], own[:-1]
    inside = bool(mine and own and mine[0] == own[0])
    while mine and own and mine[0] == own[0]:
        mine, own = mine[1:], own[1:]
    left, put = (plain(".".join(parts)).replace("{", "{{").replace("}", "}}") for parts in (mine, own))
    if left and put:
        return f"replaced '{left}.' by '{put}.' in {{}}"
    if left:
        return f"left out '{left}.' in {{}}" if inside else f"left out the prefix '{left}.' of {{}}"
    return f"put '{put}.' into {{}}" if inside else f"put '{put}.' before {{}}"


def _alternatives(taken: Reading, readings: list[Reading]) -> list[str]:
    """Further parts that can be taken and have other values."""
    return [
        f"{reading.label} fits too and was not taken; to take it, save that part alone."
        for reading in readings
        if _apart(reading, taken) and not why_not(reading) and not _equal(reading, taken)
    ]


def _failed(taken: Reading, readings: list[Reading], errors: list[ValueError]) -> list[str]:
    """Why likelier parts cannot be taken: the first ones, whose `errors` are given, and weights where averaged ones were taken.

    Of what has less than half of the network's tensors nothing is said.
    """
    reasons = {}
    for number, reading in enumerate(readings):
        if _apart(reading, taken) and 2 * len(reading.matches) >= len(reading.wanted):
            likelier = reading.rank < taken.rank
            reasons[reading.label] = errors[number] if number < len(errors) else likelier and why_not(reading)
    return [f"the weights in {label} cannot be taken: {reason}." for label, reason in reasons.items() if reason]


def _apart(reading: Reading, taken: Reading) -> bool:
    """Whether a part is another than the one that was taken, and not another way to read that."""
    first = next(iter(taken.matches.values()), None)
    return reading is not taken and first not in reading.matches.values()


def _equal(one: Reading, other: Reading) -> bool:
    """Whether two parts that can be taken have the same tensors."""
    names = [name for name in one.matches.keys() & other.matches.keys() if isinstance(one.wanted[name], Tensor)]
    return all(torch.equal(one.matches[name].value, other.matches[name].value) for name in names)


def _converted(reading: Reading) -> list[str]:
    pairs = [(entry.value, reading.wanted[name]) for name, entry in reading.matches.items() if has_values(reading.wanted[name])]
    kinds = {(dtype(given), dtype(own)) for given, own in pairs if own.is_floating_point()}
    return [f"converted from {given} to {own}." for given, own in sorted(kinds) if given != own]


def _not_finite(reading: Reading) -> list[str]:
    """A sentence where values of the weights are no finite numbers."""
    wrong = {}
    for name, entry in reading.matches.items():
        if isinstance(entry.value, Tensor) and entry.value.is_floating_point():
            count = int((~entry.value.float().isfinite()).sum())
            if count:
                wrong[name] = count, entry.value.numel()
    if not wrong:
        return []
    name, (count, size) = next(iter(wrong.items()))
    return [f"{count:,} of the {size:,} values of {plain(name)}{more(list(wrong), ' have such')} are not finite."]


def _full(entry: Entry) -> str:
    return ".".join((*entry.path, entry.name))
