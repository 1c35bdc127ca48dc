"""The ways to read a file's content as a network's weights: below which wrappers and which prefix its tensors lie."""

import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from ..errors import with_article
from ..foreign import plain
from .fit import OPTIONAL, dtype, mismatch

TRANSPARENT = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that wrappers of torch add at any place: DataParallel and AveragedModel, compile, FSDP, activation checkpoints."""
NETWORK_WORDS = {"model", "net", "network", "student", "teacher", "online", "target", "ema"}
"""Words in the name of a part that is a network of its own, whatever lies beside it."""
AVERAGED = {"ema", "swa", "teacher", "average", "averaged", "shadow", "target"}
"""Words in the name of weights that are averaged over training: they come after others."""
OF_TRAINING = {"optimizer", "optim", "exp", "grad", "grads", "momentum"}
"""Words in the name of an optimizer's averages and of gradients, which have the names and shapes of weights: they come last."""
COUNTERS = {"total_ops", "total_params"}
"""Buffers that thop leaves."""
DEEPEST = 6
"""Wrappers around weights."""
MOST_TENSORS = 100_000
MOST_TRIED = 8
"""Parts of a file that are tried, those with the most of the network's names first."""


class Unusable(ValueError):
    """Why a file's tensors cannot be taken by any network, or not as they are."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A tensor of a file, or what stands in its place."""

    path: tuple[str, ...]
    """The wrappers around it."""
    name: str
    value: Any
    transparent: frozenset[str]
    """Parts of names that do not count."""

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Names of the wrappers and the tensor, split at dots, without transparent parts."""
        return _parts(".".join((*self.path, self.name)), self.transparent)

    @property
    def depth(self) -> int:
        """Parts of the names of wrappers."""
        return len(_parts(".".join(self.path), self.transparent))

    @property
    def trained(self) -> bool:
        """Whether it may be a parameter, or anything else that changes what a network answers."""
        number = isinstance(self.value, Tensor) and (self.value.is_floating_point() or self.value.is_complex() or self.value.is_quantized)
        return number and self.name.rpartition(".")[2] not in COUNTERS


@dataclass
class Reading:
    """One way to read a file as weights of a network: its tensors below a prefix."""

    prefix: tuple[str, ...]
    wanted: Mapping[str, Any]
    matches: dict[str, Entry] = field(default_factory=dict)
    """By the network's names."""
    superfluous: dict[str, Entry] = field(default_factory=dict)
    """Tensors beside them that the network has not, by their names without the prefix."""
    not_weights: list[Entry] = field(default_factory=list)
    """Entries that are not weights, from the same wrappers."""
    outside_prefix: list[Entry] = field(default_factory=list)
    """Tensors that do not lie below the prefix, beside the wrapper or part that does."""

    @property
    def paths(self) -> list[tuple[str, ...]]:
        return list(dict.fromkeys(entry.path for entry in self.matches.values()))

    @property
    def rank(self) -> int:
        """Of what its names say: 0 for weights, 1 for averaged ones, 2 for what only training needs."""
        words = _words(self.prefix)
        return 2 if words & OF_TRAINING else int(bool(words & AVERAGED))

    @property
    def needed(self) -> int:
        """How many it has of the tensors that the network may not lack."""
        return sum(not name.endswith(OPTIONAL) for name in self.matches)

    @property
    def missing(self) -> list[str]:
        """The network's names that it has not, without those that it may lack."""
        return [name for name in self.wanted if name not in self.matches and not name.endswith(OPTIONAL)]

    @property
    def state(self) -> dict[str, Any]:
        """By the network's names, as its load_state_dict wants it."""
        counts = {name: tensor for name, tensor in self.wanted.items() if name.endswith(OPTIONAL) and name not in self.matches}
        given = {name: entry.value for name, entry in {**self.matches, **self.superfluous}.items()}
        state = OrderedDict({**counts, **given})
        if hasattr(self.wanted, "_metadata") and not mismatch(self.wanted, state):
            state._metadata = self.wanted._metadata  # versions of layers: what has today's names and shapes wants no conversion
        return state

    @property
    def label(self) -> str:
        """What the file calls it."""
        first = next(iter(self.matches.values()))
        named = [f"{'.'.join(self.inside)}."] if self.inside else []
        named += [".".join(first.path)] if first.path else []
        return " of ".join(map(quoted, named or [first.name]))

    @property
    def inside(self) -> tuple[str, ...]:
        """The prefix of its names below all wrappers."""
        return self.prefix[next(iter(self.matches.values())).depth :] if len(self.paths) == 1 else ()


def readings_of(content: Any, wanted: Mapping[str, Any]) -> list[Reading]:
    """The likeliest ways to read a file's content as a network's weights, in order. Raises Unusable where it has no tensors by name."""
    names, transparent = {_parts(name, TRANSPARENT): name for name in wanted}, TRANSPARENT
    if len(names) < len(wanted):  # the network's own names differ in nothing but such a part
        names, transparent = {_parts(name, frozenset()): name for name in wanted}, frozenset()
    inside = _entries(content, (), transparent, set()) if isinstance(content, (Mapping, list, tuple)) else ()
    entries = list(islice(inside, MOST_TENSORS))
    if not any(isinstance(entry.value, Tensor) for entry in entries):
        raise Unusable(_no_tensors(content, entries))
    readings: dict[tuple[int, tuple[str, ...], int], Reading] = {}
    for lead in range(_common(names) + 1):
        shorter = {parts[lead:]: name for parts, name in names.items()}
        for entry in entries:
            for start in range(len(entry.parts)):
                name = shorter.get(entry.parts[start:])
                if name:
                    prefix = entry.parts[:start]
                    same = (readings.setdefault((lead, prefix, number), Reading(prefix, wanted)) for number in range(MOST_TRIED))
                    reading = next((reading for reading in same if name not in reading.matches), None)
                    if reading:
                        reading.matches[name] = entry
    likeliest = sorted(readings.values(), key=lambda reading: (-reading.needed, reading.rank))[:MOST_TRIED]
    for reading in likeliest:
        _complete(reading, entries)
    return likeliest or [_unlike(entries, wanted)]


def check(reading: Reading) -> None:
    """Raises ValueError for a part that may be somebody else's, and for tensors whose values a network cannot take over as they are."""
    if reading.outside_prefix and not _words(reading.inside) & NETWORK_WORDS and not reading.missing:
        beside = f"{plain(reading.outside_prefix[0].name)}{more(reading.outside_prefix)}, beside them"
        raise Unusable(f"those of the network are there, as {reading.label}, but so is {beside}; save that part alone")
    for name, entry in reading.matches.items():
        reason = _unfit(entry.value, reading.wanted[name])
        if reason:
            raise Unusable(f"{plain(name)} {reason}")


def _unfit(value: Any, wanted: Any) -> str | None:
    """Why a value cannot be copied into the network's tensor."""
    if not isinstance(wanted, Tensor):
        return None
    if not isinstance(value, Tensor):
        return f"is no tensor, but {with_article(type(value).__name__)}"
    if value.is_quantized:
        return f"is quantised ({dtype(value)}); save it with dequantize()"
    if value.is_meta:
        return "has no values: it was saved on the meta device"
    if value.layout != torch.strided:
        return "is sparse; save it with to_dense()"
    if value.is_complex() != wanted.is_complex() or (wanted.is_floating_point() and not value.is_floating_point()):
        return f"is {dtype(value)} in the file, and {dtype(wanted)} is wanted"
    return None


def why_not(reading: Reading) -> str:
    """Why a part cannot be taken; "" where it can."""
    try:
        check(reading)
    except Unusable as error:
        return str(error)
    return mismatch(reading.wanted, reading.state)


def _entries(content: Any, path: tuple[str, ...], transparent: frozenset[str], seen: set[int]) -> Iterator[Entry]:
    """Tensors by name in mappings and lists, and what stands beside them, in the order of the file; what was `seen` is left out."""
    if id(content) in seen or len(path) > DEEPEST:
        return
    seen.add(id(content))
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        if isinstance(value, (Mapping, list, tuple)) and not str(key).endswith("_extra_state"):
            yield from _entries(value, (*path, str(key)), transparent, seen)
        elif isinstance(key, str):
            yield Entry(path, key, value, transparent)


def _complete(reading: Reading, entries: list[Entry]) -> None:
    """Note what lies beside the tensors that a reading found, in the same wrappers."""
    taken, paths, depth = {id(entry) for entry in reading.matches.values()}, set(reading.paths), len(reading.prefix)
    beside = [entry for entry in entries if entry.path in paths and id(entry) not in taken]
    parts_beside = {entry.parts[:1] for entry in beside if entry.trained and entry.parts[:depth] != reading.prefix}
    for entry in beside:
        below = entry.parts[:depth] == reading.prefix
        if not below and entry.parts[:1] in parts_beside:
            reading.outside_prefix.append(entry)
        elif not entry.trained:
            reading.not_weights.append(entry)
        else:
            name = ".".join(entry.parts[depth:])
            reading.superfluous[f"{name} once more" if name in reading.wanted else name] = entry


def _unlike(entries: list[Entry], wanted: Mapping[str, Any]) -> Reading:
    """The part of a file with the most tensors, none of which has a name of the network's."""
    ((path, _),) = Counter(entry.path for entry in entries if isinstance(entry.value, Tensor)).most_common(1)
    return Reading(path, wanted, superfluous={entry.name: entry for entry in entries if entry.path == path and entry.trained})


def _no_tensors(content: Any, entries: list[Entry]) -> str:
    kinds = {type(entry.value).__module__ for entry in entries}
    if any(kind.startswith("numpy") for kind in kinds):
        return "they are numpy arrays; save tensors, as torch.from_numpy makes them"
    if isinstance(content, Tensor):
        return "there is one tensor without a name; save model.state_dict()"
    if isinstance(content, (Mapping, list, tuple)) and content:
        return "there are no tensors by name; save model.state_dict()"
    return f"there is nothing but {plain(repr(content))[:50]}; save model.state_dict()"


def _parts(name: str, transparent: frozenset[str]) -> tuple[str, ...]:
    return tuple(part for part in name.split(".") if part and part not in transparent)


def _words(parts: tuple[str, ...]) -> set[str]:
    return {word for part in parts for word in part.lower().split("_")}


def _common(names: Mapping[tuple[str, ...], str]) -> int:
    """How many parts at the beginning all names share; each has one more."""
    return min((len(os.path.commonprefix(list(names))), *(len(parts) - 1 for parts in names if parts)))


def more(names: list, what: str = "") -> str:
    """What follows the first of several."""
    count = len(names) - 1
    return f" ({count} more{what})" if count else ""


def quoted(text: str) -> str:
    return f"'{plain(text)}'"
