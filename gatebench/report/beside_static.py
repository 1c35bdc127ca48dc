"""What gates are worth beside static networks: at equal MACs, at equal latency, and beside their own most used blocks, retrained.

A static network decides nothing per input: it has no gates, or its blocks were chosen once and for all. Between two of them stands a random
mix of both, which anyone can run.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..evaluation.fixed import Mix
from ..foreign import Unreadable
from ..measure.statistics import Estimate
from ..plain_data import fits
from .claims import COMPARABLE, seeds_cell
from .groups import Group
from .quantities import in_order, interval, machine_name, mean, over_seeds, place
from .reading import read_object
from .results import Run, is_masked, same_point
from .sheet import Cell, Heading, Sheet, make_sheet

HEADINGS = (
    Heading("data", "data"), Heading("epochs", "epochs", digits=0), Heading("network", "network"), Heading("seeds", "seeds"),
    Heading("accuracy", "accuracy", "%", 2), Heading("macs_executed", "executed", "MACs", 2),
    Heading("static_gain", "over static networks at equal MACs", "points", 2, signed=True), Heading("static_mix", "which are"),
    Heading("latency_ms", "ms, batch 1", digits=2),
    Heading("static_gain_latency", "over static networks at equal latency", "points", 2, signed=True), Heading("timed_on", "timed on"),
    Heading("retrained_gain", "over its most used blocks, retrained, at equal MACs", "points", 2, signed=True),
    Heading("retrained_seeds", "retrained: seeds"), Heading("retrained_macs", "retrained: executed", "MACs", 2),
)  # fmt: skip
NOTE = (
    "Static networks: all without gates that were trained as long on the same data; where there are none, there is no line. Between two of "
    "them stands a random mix of both, beyond the dearest the most accurate; what is cheaper than all of them is compared with nothing. "
    "Which are mixed is chosen by the scored accuracies, which favours the mix slightly. Intervals take the networks as independent; "
    "those of one seed leave out the spread between seeds. Epochs as a sum: it went on from other weights, and was trained for longer "
    "than the static networks; without a line where those weights are missing. Retrained: its most used blocks, or channels, for every "
    "input, as a static network trained as long, in a random mix with its static twin where they cost less; of several such networks the "
    "one with most seeds, then the most accurate, and so of several twins. Without one, a network that executes as much as its static "
    "twin, or more, is compared with that twin."
)


@dataclass(frozen=True)
class Spot:
    """A network's accuracy (%) and cost."""

    label: str
    accuracy: Estimate
    cost: Estimate


@dataclass(frozen=True)
class Frontier:
    """The best that static networks, one at least, and random mixes of two of them reach at each cost: their upper concave hull."""

    members: Sequence[Spot]

    @cached_property
    def costs(self) -> np.ndarray:
        return np.array([each.cost.value for each in self.members])

    @cached_property
    def mix(self) -> Mix:
        return Mix.chosen_on(np.array([each.accuracy.value for each in self.members]), self.costs)

    @property
    def corners(self) -> list[Spot]:
        """The members on it, the cheapest first."""
        return [self.members[number] for number in self.mix.corners]

    def mixed(self, cost: float) -> list[tuple[float, Spot]]:
        """Which one or two stand at a cost, the cheaper first, with the share of the inputs of each; none below the cheapest."""
        if cost < self.costs.min():
            return []
        return [(share, self.members[number]) for number, share in self.mix.shares(self.costs, cost).items()]

    def gain(self, spot: Spot) -> Estimate | None:
        """Points of accuracy over it at equal cost; None below the cheapest. An error in a cost moves along the chord."""
        mixed, slope = self.mixed(spot.cost.value), 0.0
        if not mixed:
            return None
        if len(mixed) == 2:
            (_, cheap), (_, dear) = mixed
            slope = (dear.accuracy.value - cheap.accuracy.value) / (dear.cost.value - cheap.cost.value)
        terms = [(1.0, spot.accuracy), (-slope, spot.cost)]
        for share, each in mixed:
            terms += [(-share, each.accuracy), (slope * share, each.cost)]
        return combined(terms)


def combined(terms: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The sum of factors times independent estimates, with its 95 % interval from theirs (Zou and Donner 2008, doi 10.1002/sim.3095)."""
    value = sum(factor * each.value for factor, each in terms)
    reaches = [sorted((factor * (each.low - each.value), factor * (each.high - each.value))) for factor, each in terms]
    down, up = (math.hypot(*ends) for ends in zip(*reaches, strict=True))
    return Estimate(value, value - down, value + up)


@dataclass(frozen=True)
class Member:
    """An operating point, and how its network was trained."""

    group: Group
    chain: list[Run]
    """Its run, after those from whose weights it went on, the first of them first."""

    @property
    def trained(self) -> tuple:
        """Epochs and schedule of the first of the chain, all else its own: only members that agree in it compare."""
        rows = {key: (self.chain[0] if key in ("epochs", "schedule") else self.chain[-1]).headline for key in COMPARABLE}
        return tuple(str(row.get(key, "")) for key, row in rows.items())

    @property
    def static(self) -> bool:
        """Whether it has no gates, and no longer training than its first."""
        return not self.group.row["adaptive"] and len(self.chain) == 1

    @property
    def gated(self) -> bool:
        """Whether it leaves something out, by its own count."""
        return self.group.row["adaptive"] and any(row.get("skip_pct") != 0 for row in self.group.rows)

    @property
    def epochs(self) -> Cell:
        each = [run.headline["epochs"] for run in self.chain]
        return Cell(sum(each), text=" + ".join(map(str, each)) if len(each) > 1 else "")

    @cached_property
    def spot(self) -> Spot:
        """At its executed MACs."""
        return Spot(self.group.label, _estimate(self.group, "accuracy"), _estimate(self.group, "macs_executed"))

    @cached_property
    def timed(self) -> dict[tuple, Spot]:
        """At its time of one input, by place: of the seeds that were timed there on inputs that were scored; accuracy is of all seeds."""
        places: dict[tuple, dict[str, tuple[Run, dict]]] = defaultdict(dict)
        for run, row in zip(self.group.runs, self.group.rows, strict=True):
            for times in run.joined_times:
                if times["batch_size"] == 1 and "accuracy" in times and not is_masked(times) and same_point(times, row):
                    places[place(times)][run.name] = run, times
        groups = {where: Group(*map(list, zip(*pairs.values(), strict=True))) for where, pairs in places.items()}
        return {where: Spot(self.spot.label, self.spot.accuracy, _estimate(group, "latency_ms")) for where, group in groups.items()}


def members(runs: Iterable[Run], groups: Iterable[Group]) -> list[list[Member]]:
    """The operating points of runs in their headline's policy, those that compare together."""
    by_name, settings = {run.name: run for run in runs}, defaultdict(list)
    for group in groups:
        first = group.runs[0]
        if "severity" not in group.row and group.row.get("policy") == first.headline.get("policy"):
            chain = _chain(first, by_name)
            if chain:
                member = Member(group, chain)
                settings[member.trained].append(member)
    return [settings[trained] for trained in sorted(settings)]


def beside_static_sheet(runs: Iterable[Run], groups: Iterable[Group]) -> Sheet | None:
    """A line for each operating point with static networks beside it, and each place where it was timed beside them; None without any.

    `groups` are the operating points of the runs. Of those that compare, the one with the largest gain at equal MACs comes first.
    """
    lines = [line for each in members(runs, groups) for line in _lines(each)]
    return make_sheet("beside-static", "Beside static networks that were trained as long", HEADINGS, lines, NOTE) if lines else None


def _lines(comparable: list[Member]) -> list[tuple]:
    static = [each for each in comparable if each.static]
    if not static:
        return []
    by_macs, by_time = Frontier([each.spot for each in static]), defaultdict(list)
    for each in static:
        for where, spot in each.timed.items():
            by_time[where].append(spot)
    retrained, made = [_by_network(each.group) for each in static], []
    for each in comparable:
        if not each.gated:
            continue
        group, gain = each.group, by_macs.gain(each.spot)
        start = (group.row["dataset"], each.epochs, group.label, seeds_cell(group.seeds), _cell(each.spot.accuracy), each.spot.cost.value)
        start = (*start, _cell(gain), _mix_text(by_macs.mixed(each.spot.cost.value)))
        for where in in_order(each.timed.keys() & by_time.keys()) or [None]:
            spot = each.timed.get(where)
            timed = (spot.cost.value, _cell(Frontier(by_time[where]).gain(spot)), machine_name(where)) if spot else (None, None, None)
            made.append((-gain.value if gain else math.inf, (*start, *timed, *_beside_retrained(group, retrained, _whole(group, static)))))
    return [line for _, line in sorted(made, key=lambda each: each[0])]


def _by_network(group: Group) -> dict[str | None, list[dict]]:
    """Headlines of a group's runs, by the name of the run whose blocks they have."""
    made = defaultdict(list)
    for run in group.runs:
        made[_parents_of(run).get("network")].append(run.headline)
    return made


def _whole(group: Group, static: Iterable[Member]) -> list[dict]:
    """Headlines of its static twin, trained as long; none where it was not. Of several, that with most seeds, then the most accurate."""
    dense = group.row.get("macs_dense", math.nan)
    twins = [each for each in static if each.group.row.get("macs_ratio") == 1 and math.isclose(each.spot.cost.value, dense, rel_tol=0.01)]
    best = max(twins, key=lambda each: (len(each.group.runs), each.spot.accuracy.value), default=None)
    return [run.headline for run in best.group.runs] if best else []


def _beside_retrained(
    group: Group, retrained: Iterable[Mapping[str | None, list[dict]]], whole: list[dict]
) -> tuple[Cell, Cell, float | None]:
    """The gain of the headline over a static network that was made from its own, seed by seed, which seeds these are, and the MACs of that.

    Where that costs less, a random mix of it and the whole network that costs the same is the rival. Of several such networks it is the one
    with most seeds, then the most accurate. Without one, what costs as much as the whole network, or more, has that as its rival.
    """
    own = [(run.name, row) for run, row in zip(group.runs, group.rows, strict=True) if row is run.headline]
    every = ([(row, _of_seed(made[name], row["seed"])) for name, row in own if name in made] for made in retrained)
    pairs = max(every, key=lambda pairs: (len(pairs), sum(static["accuracy"] for _, static in pairs)))
    if not pairs and whole and all(row["macs_executed"] >= _of_seed(whole, row["seed"])["macs_executed"] for _, row in own):
        pairs = [(row, _of_seed(whole, row["seed"])) for _, row in own]
    if not pairs:
        return Cell(), Cell(), None
    seeds = seeds_cell(sorted(row["seed"] for row, _ in pairs))
    macs = statistics.mean(static["macs_executed"] for _, static in pairs)
    gains = [_over_mix(row, [static, *([_of_seed(whole, row["seed"])] if whole else [])]) for row, static in pairs]
    if len(gains) == 1:
        return _cell(gains[0]), seeds, macs
    apart = [each.value for each in gains]
    return Cell(statistics.mean(apart), *over_seeds(apart)), seeds, macs


def _over_mix(row: dict, static: list[dict]) -> Estimate | None:
    """The gain over the best mix of static networks at equal MACs, or over the cheapest of them where that costs more."""
    least = min(each["macs_executed"] for each in static)
    own, *others = (
        Spot("", Estimate(each["accuracy"], each["accuracy_low"], each["accuracy_high"]), Estimate(macs, macs, macs))
        for each in (row, *static)
        for macs in [max(least, each["macs_executed"])]
    )
    return Frontier(others).gain(own)


def _of_seed(rows: list[dict], seed: int) -> dict:
    """The row of a seed; where there is none, that of the least."""
    return min(rows, key=lambda row: (row["seed"] != seed, row["seed"]))


def _mix_text(mixed: list[tuple[float, Spot]]) -> str | None:
    """ "40 % resnet14 default, 60 % resnet20 default"; of one, its name."""
    shown = [(share, each.label) for share, each in mixed if share >= 0.005]
    return ", ".join(f"{100 * share:.0f} % {label}" if len(shown) > 1 else label for share, label in shown) or None


def _estimate(group: Group, key: str) -> Estimate:
    """Mean over seeds, with the interval by which networks are compared."""
    value = mean(group, key)
    return Estimate(value, *(interval(group, key) or (value, value)))


def _cell(estimate: Estimate | None) -> Cell:
    return Cell(estimate.value, estimate.low, estimate.high) if estimate else Cell()


def _chain(run: Run, runs: Mapping[str, Run]) -> list[Run] | None:
    """The run after those from whose weights it went on; None where one of them is missing, and with it how long it was trained."""
    chain = [run]
    while "parents" in chain[0].headline:
        before = _parents_of(chain[0]).get("weights")
        if before is None:
            break
        if before not in runs or any(runs[before] is each for each in chain):
            return None
        chain.insert(0, runs[before])
    return chain


def _parents_of(run: Run) -> dict[str, str]:
    """Names of a run's parents by role."""
    return run.read("identity.json", _parents, {})


def _parents(path: Path) -> dict[str, str]:
    """From identity.json. Raises Unreadable where there are none."""
    parents = read_object(path).get("parents")
    if not fits(parents, dict[str, str]):
        raise Unreadable("it names no parents")
    return parents
