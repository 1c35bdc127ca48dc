"""Weights as people save them, matched with a network: in wrappers, with prefixes, beside averaged ones and counters.

A network's tensors are looked for anywhere in a file, below any wrapper and prefix. They are taken where names and shapes are the network's
exactly. What was left out for that is said.
"""

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from .errors import first_line
from .foreign import plain

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
OPTIONAL = "num_batches_tracked"
"""Of batch norms, which torch before 0.4.1 did not count."""
HINTS = {
    "weight_g": "torch.nn.utils.weight_norm is still on; torch.nn.utils.remove_weight_norm(layer) before they are saved ends it",
    "weight_orig": "torch.nn.utils.prune is still on; torch.nn.utils.prune.remove(layer, 'weight') before they are saved ends it",
    "parametrizations": "a parametrization is still on; torch.nn.utils.parametrize.remove_parametrizations before they are saved ends it",
    "lora_A": "they have adapters apart; those have to be merged before they are saved",
}
"""What the part of a name says of weights that do not fit."""
DEEPEST = 6
"""Wrappers around weights."""
MOST_TENSORS = 100_000
MOST_TRIED = 8
"""Parts of a file that are tried, those with the most of the network's names first."""
SHOWN = 3
"""Names in a sentence."""


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
        return " of ".join(map(_quoted, named or [first.name]))

    @property
    def inside(self) -> tuple[str, ...]:
        """The prefix of its names below all wrappers."""
        return self.prefix[next(iter(self.matches.values())).depth :] if len(self.paths) == 1 else ()


def take(content: Any, wanted: Mapping[str, Any], load: Callable[[dict[str, Any]], None]) -> list[str]:
    """Give a network the weights in a file's content, by `load`; `wanted` are the tensors that it looks for, by name.

    `load` raises ValueError where a state does not fit. Of several parts that fit, the first one in the file that is not averaged is taken.
    Returns sentences on what was taken, left out and converted, and on likelier weights that do not fit. Raises ValueError saying why
    nothing fits.
    """
    readings, errors = _readings(content, wanted), []
    for reading in readings:
        try:
            _check(reading)
            load(reading.state)
        except ValueError as error:
            errors.append(error)
        else:
            beside = [*_failed(reading, readings, errors), *_alternatives(reading, readings)]
            return [*_report(reading), *beside, *_converted(reading), *_not_finite(reading)]
    raise errors[0]


def mismatch(wanted: Mapping[str, Any], state: Mapping[str, Any], error: Exception | None = None) -> str:
    """Why a state does not fit: how many tensors are missing, superfluous and of another shape, and the first of each; "" where it does.

    `error` is what the network said of it, for what is none of these.
    """
    if not isinstance(state, Mapping):
        return "there are no tensors by name"
    missing = [name for name in wanted if name not in state and not name.endswith(OPTIONAL)]
    superfluous = [name for name in state if name not in wanted]
    other = [name for name in wanted if name in state and not _alike(state[name], wanted[name])]
    reasons = []
    if missing:
        reasons.append(f"they lack {len(missing)} of the network's {len(wanted)} tensors ({_first(missing)})")
    if superfluous:
        reasons.append(f"they have {len(superfluous)} that the network has not ({_first(superfluous)})")
    if other:
        name, classes = other[0], _classes(wanted, state, other)
        sizes = f"{plain(name)} is {_shape(wanted[name])} here and {_shape(state[name])} in the file"
        more = f", and {len(other) - 1} more have other shapes" if len(other) > 1 and not classes else ""
        trained = f": they were trained for {classes[1]} classes, and this network has {classes[0]}" if classes and not reasons else ""
        reasons.append(f"{sizes}{more}{trained}")
    reasons += [hint for part, hint in HINTS.items() if any(part in name.split(".") for name in superfluous)][:1]
    return "; ".join(reasons) or (first_line(error) if error else "")


def load_into(model: nn.Module) -> Callable[[Mapping[str, Any]], None]:
    """What gives a network all its weights, and raises ValueError where they are not its own."""

    def load(state: Mapping[str, Any]) -> None:
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError, ValueError, LookupError, AssertionError) as error:  # some are of its own hooks
            raise ValueError(mismatch(model.state_dict(), state, error)) from error

    return load


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


def _readings(content: Any, wanted: Mapping[str, Any]) -> list[Reading]:
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


def _check(reading: Reading) -> None:
    """Raises ValueError for a part that may be somebody else's, and for tensors whose values a network cannot take over as they are."""
    if reading.outside_prefix and not _words(reading.inside) & NETWORK_WORDS and not reading.missing:
        beside = f"{plain(reading.outside_prefix[0].name)}{_more(reading.outside_prefix)}, beside them"
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
        return f"is no tensor, but a {type(value).__name__}"
    if value.is_quantized:
        return f"is quantised ({_dtype(value)}); save it with dequantize()"
    if value.is_meta:
        return "has no values: it was saved on the meta device"
    if value.layout != torch.strided:
        return "is sparse; save it with to_dense()"
    if value.is_complex() != wanted.is_complex() or (wanted.is_floating_point() and not value.is_floating_point()):
        return f"is {_dtype(value)} in the file, and {_dtype(wanted)} is wanted"
    return None


def _report(reading: Reading) -> list[str]:
    """What of a file was taken, and what was left out; nothing where it holds the weights and nothing else."""
    done = [f"took {' and '.join(_quoted('.'.join(path)) for path in reading.paths)}"] if any(reading.paths) else []
    names = ((entry.name if len(reading.paths) == 1 else _full(entry), name) for name, entry in reading.matches.items())
    changes = Counter(_change(given, name) for given, name in names if given != name)
    for change, count in changes.items():
        done.append(change.format("all names" if count == len(reading.matches) else f"{count} name{'s' * (count > 1)}"))
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
        if _apart(reading, taken) and not _why_not(reading) and not _equal(reading, taken)
    ]


def _failed(taken: Reading, readings: list[Reading], errors: list[ValueError]) -> list[str]:
    """Why likelier parts cannot be taken: the first ones, whose `errors` are given, and weights where averaged ones were taken.

    Of what has less than half of the network's tensors nothing is said.
    """
    reasons = {}
    for number, reading in enumerate(readings):
        if _apart(reading, taken) and 2 * len(reading.matches) >= len(reading.wanted):
            likelier = reading.rank < taken.rank
            reasons[reading.label] = errors[number] if number < len(errors) else likelier and _why_not(reading)
    return [f"the weights in {label} cannot be taken: {reason}." for label, reason in reasons.items() if reason]


def _apart(reading: Reading, taken: Reading) -> bool:
    """Whether a part is another than the one that was taken, and not another way to read that."""
    first = next(iter(taken.matches.values()), None)
    return reading is not taken and first not in reading.matches.values()


def _why_not(reading: Reading) -> str:
    """Why a part cannot be taken; "" where it can."""
    try:
        _check(reading)
    except Unusable as error:
        return str(error)
    return mismatch(reading.wanted, reading.state)


def _equal(one: Reading, other: Reading) -> bool:
    """Whether two parts that can be taken have the same tensors."""
    names = [name for name in one.matches.keys() & other.matches.keys() if isinstance(one.wanted[name], Tensor)]
    return all(torch.equal(one.matches[name].value, other.matches[name].value) for name in names)


def _converted(reading: Reading) -> list[str]:
    pairs = [(entry.value, reading.wanted[name]) for name, entry in reading.matches.items() if _has_values(reading.wanted[name])]
    kinds = {(_dtype(given), _dtype(own)) for given, own in pairs if own.is_floating_point()}
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
    return [f"{count:,} of the {size:,} values of {plain(name)}{_more(list(wrong), ' have such')} are not finite."]


def _parts(name: str, transparent: frozenset[str]) -> tuple[str, ...]:
    return tuple(part for part in name.split(".") if part and part not in transparent)


def _full(entry: Entry) -> str:
    return ".".join((*entry.path, entry.name))


def _words(parts: tuple[str, ...]) -> set[str]:
    return {word for part in parts for word in part.lower().split("_")}


def _common(names: Mapping[tuple[str, ...], str]) -> int:
    """How many parts at the beginning all names share; each has one more."""
    return min((len(os.path.commonprefix(list(names))), *(len(parts) - 1 for parts in names if parts)))


def _alike(value: Any, wanted: Any) -> bool:
    """Whether a value has the shape of the network's tensor; one without values takes any."""
    return not _has_values(wanted) or (isinstance(value, Tensor) and value.shape == wanted.shape)


def _has_values(wanted: Any) -> bool:
    """Whether a part of a network's state is a tensor, and not that of a lazy layer that has seen no input."""
    return isinstance(wanted, Tensor) and not nn.parameter.is_lazy(wanted)


def _classes(wanted: Mapping[str, Any], state: Mapping[str, Any], other: list[str]) -> tuple[int, int] | None:
    """Numbers of classes here and there, where all that differs is the number of rows of some tensors."""
    shapes = [(wanted[name].shape, getattr(state[name], "shape", ())) for name in other]
    rows = {(here[0], there[0]) for here, there in shapes if len(here) == len(there) > 0 and here[1:] == there[1:]}
    return rows.pop() if len(rows) == 1 and all(len(here) == len(there) > 0 and here[1:] == there[1:] for here, there in shapes) else None


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return "x".join(map(str, value.shape)) or "a number"


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _first(names: list[str]) -> str:
    return f"{'first ' * (len(names) > 1)}{plain(names[0])}"


def _more(names: list, what: str = "") -> str:
    """What follows the first of several."""
    count = len(names) - 1
    return f" ({count} more{what})" if count else ""


def _quoted(text: str) -> str:
    return f"'{plain(text)}'"
