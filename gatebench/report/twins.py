"""The static twin that was trained as a gated network was: what the two reach, apart."""

from collections.abc import Iterable
from dataclasses import replace

from .claims import COMPARABLE
from .results import Run

ALIKE = (*COMPARABLE, "macs_dense", "device", "precision", "seed")


def with_twins(runs: Iterable[Run]) -> list[Run]:
    """The runs; where the run of a static network is among them that has a gated one's dense MACs, data, schedule and seed, the gated
    one's rows say by how many points its accuracy is over that one's, on the scored split and in training."""
    runs = list(runs)
    twins = {_key(run): run for run in runs if not run.headline["adaptive"]}
    return [_beside(run, twins[_key(run)]) if run.headline["adaptive"] and _key(run) in twins else run for run in runs]


def _key(run: Run) -> tuple:
    return tuple(run.headline.get(key) for key in ALIKE)


def _beside(run: Run, twin: Run) -> Run:
    extra = {}
    ours, theirs = (each.epochs[-1].get("train_accuracy") if each.epochs else None for each in (run, twin))
    if ours is not None and theirs is not None:
        extra["train_accuracy_over_twin"] = ours - theirs
    points = [{**row, **extra, "accuracy_over_twin": row["accuracy"] - twin.headline["accuracy"]} for row in run.points]
    return replace(run, points=points)
