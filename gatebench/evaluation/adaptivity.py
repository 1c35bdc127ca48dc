"""What deciding per input is worth for a network whose switches can be imposed: beside patterns of decisions that are the same for all.

Shapes: N inputs, S switches, K patterns.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..contract import GatedModel
from ..data.batches import Batches
from ..data.images import Dataset, Images
from .fixed import FixedChoices, Mix
from .outcome import Outcome, collect

FIRST, MORE = 2500, 7500
"""Images on which all patterns are tried, at most, and further ones for those that may be best. Of fewer scored images, as a quarter and
three."""
CONTENDERS = 6
"""Patterns that are tried on more images, at most."""
DOUBT = 2
"""Standard errors up to which a pattern may still be best."""
COMMONEST = 8
"""Patterns that occur."""
STEPS = 16
"""Patterns on the way from all on, of networks with as many switches or more."""
USEFUL = 0.5
"""Share of the network's own MACs below which no further switches are turned off."""


Counting = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""Shows progress, as `training.view.View.counting`."""


def images_to_choose_on(dataset: Dataset) -> tuple[str, list[Images]]:
    """The name of a part and two samples of it, for all patterns and for the best of them, drawn by a fixed seed; the second may be empty.

    Of validation, or of train, not augmented, where there is none.
    """
    name, images = ("validation", dataset.validation) if dataset.validation else ("train", dataset.train)
    first = min(FIRST, len(dataset.test) // 4 + 1)
    order = np.random.default_rng(0).permutation(len(images))
    return name, [images[np.sort(each)] for each in (order[:first], order[first : first * (FIRST + MORE) // FIRST])]


def leaves_out(outcome: Outcome) -> bool:
    """Whether a switch was off for any input: what runs everything is not compared with running less."""
    return outcome.decisions.size > 0 and not outcome.decisions.all()


def patterns(model: GatedModel, to_choose: Batches, precision: str) -> Tensor:
    """Legal patterns [K, S] that fixed decisions are chosen from: the commonest ones of these images, and those on the way from all on.

    On the way, the switch goes off first that is on for the fewest images, and of equals the one with the lower mean gate. Of many
    switches the steps lie between what is on for any image and what is on for all, with a few beyond. The last step costs half of what
    the network's own decisions do, or less.
    """
    own = collect(model, to_choose, precision, model.scoring)
    decided = torch.from_numpy(own.decisions).to(to_choose.labels.device)
    share = own.decisions.mean(0)
    gate = share if own.gates is None else own.gates.mean(0)
    order = torch.from_numpy(np.lexsort((-gate, -share))).to(decided.device)
    counts = _counts(len(share), int((share > 0).sum()), int((share == 1).sum()))
    way = _legal(model, torch.stack([model.keeping(order, count) for count in counts]).to(decided.device))
    costs, spent = model.tally(way, deciding=False).sum(1), float(own.decided_macs(model).mean())
    way = way[: int((costs >= USEFUL * spent).sum()) + 1]
    tried = torch.cat([_legal(model, model.needed(_commonest(decided))), way])
    _, first = np.unique(tried.cpu().numpy(), axis=0, return_index=True)
    return tried[np.sort(first)]


def adaptivity(
    model: GatedModel, chosen_on: str, to_choose: Sequence[Batches], scored: Batches, outcome: Outcome, precision: str, counting: Counting
) -> dict[str, float | str]:
    """The columns `row.ADAPTIVITY` of a network that did as `outcome` says on the scored part.

    All patterns are imposed on the first images of `to_choose`, of the part `chosen_on`, and those that may be best on the others. The
    two or three that the columns are made of are imposed on the scored part too. Fixed decisions cost no gates, unless channels are scaled
    by theirs. Batch norm keeps the statistics of training.
    """
    first, more = to_choose
    tried = patterns(model, first, precision)

    def impose(patterns: Tensor, on: Batches, what: str) -> list[Outcome]:
        with counting(what, len(patterns), "patterns") as done:
            outcomes = []
            for pattern in patterns:
                outcomes.append(collect(model, on, precision, imposed=pattern))
                done(len(outcomes))
        return outcomes

    outcomes = impose(tried, first, "imposes fixed decisions")
    right, macs = np.stack([each.correct for each in outcomes]), np.array([each.executed.mean() for each in outcomes])
    kept = contenders(right, macs, float(outcome.executed.mean()))
    tried, right, macs = tried[kept.tolist()], right[kept], macs[kept]
    if len(kept) > 1 and len(more.labels):
        outcomes = impose(tried, more, "imposes the best of them on more images")
        right = np.concatenate([right, np.stack([each.correct for each in outcomes])], 1)

    @cache
    def right_of(choice: int) -> np.ndarray:
        return collect(model, scored, precision, imposed=tried[choice]).correct

    return FixedChoices(right.mean(1), macs, chosen_on).columns(outcome.correct, outcome.executed, right_of, scored.source)


def contenders(right: np.ndarray, macs: np.ndarray, spent: float) -> np.ndarray:
    """Numbers of the patterns that may be best at mean MACs `spent`, from where they are right [K, N] and their MACs [K].

    They are those that do not lie clearly below the chord of all, nor below its choices at `spent` where they cost less than these.
    """
    mix = Mix.chosen_on(right.mean(1), macs)
    least = macs[list(mix.shares(macs, spent))].min()
    below, possible = np.zeros(len(right)), np.zeros(len(right), bool)
    for number, own in enumerate(right):
        beside = sum(share * right[choice] for choice, share in mix.shares(macs, max(macs[number], least)).items())
        apart = beside - own
        below[number] = apart.mean()
        possible[number] = apart.mean() <= DOUBT * apart.std() / np.sqrt(len(own))
    order = np.argsort(below, kind="stable")
    return np.sort(order[possible[order]][:CONTENDERS])


def _commonest(decided: Tensor) -> Tensor:
    """The decisions [N, S] that occur most often, at most so many; of equals those that are nearest to the mean."""
    packed = np.packbits(decided.cpu().numpy(), axis=1)
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    different = decided[torch.from_numpy(first).to(decided.device)]
    away = (different.float() - decided.float().mean(0)).abs().sum(1).cpu().numpy()
    return different[np.lexsort((away, -counts))[:COMMONEST].tolist()]


def _counts(switches: int, ever: int, always: int) -> list[int]:
    """Numbers of switches that are on, on the way from all to none, where `ever` of them are on for any image and `always` for all."""
    if switches < STEPS:
        return list(range(switches, -1, -1))
    beyond = [switches, *(round(share * always) for share in (0.75, 0.5, 0))]
    between = np.linspace(ever, always, STEPS - len(beyond)).round().astype(int).tolist()
    return sorted({*beyond, *between}, reverse=True)


def _legal(model: GatedModel, tried: Tensor) -> Tensor:
    return tried[model.legal(tried)]
