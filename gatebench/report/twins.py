"""The static twin that was trained as a gated network was: what the two reach, apart."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from .claims import COMPARABLE
from .results import Run

ALIKE = (*COMPARABLE, "macs_dense", "device", "precision", "seed")


def twins(runs: Iterable[Run]) -> Iterator[tuple[Run, Run]]:
    """Each gated network's run, and that of the static network with its dense MACs, data, schedule and seed; those that have one."""
    runs = list(runs)
    static = {_key(run): run for run in runs if not run.headline["adaptive"] and run.headline["macs_ratio"] == 1}
    return ((run, static[_key(run)]) for run in runs if run.headline["adaptive"] and _key(run) in static)


def with_twins(runs: Iterable[Run]) -> list[Run]:
    """The runs; rows of those that have a twin say by how many points their accuracy is over its, on the scored split and in training, and
    what share of its weights they do without; their gates' own count."""
    runs = list(runs)
    beside = {run.name: _beside(run, twin) for run, twin in twins(runs)}
    return [beside.get(run.name, run) for run in runs]


def _key(run: Run) -> tuple:
    return tuple(run.headline.get(key) for key in ALIKE)


def _beside(run: Run, twin: Run) -> Run:
    extra = {}
    ours, theirs = (each.epochs[-1].get("train_accuracy") if each.epochs else None for each in (run, twin))
    if ours is not None and theirs is not None:
        extra["train_accuracy_over_twin"] = ours - theirs
    return replace(run, points=[{**row, **extra, **_over(row, twin.headline)} for row in run.points])


def _over(row: dict, twin: dict) -> dict[str, float]:
    saved = {"params_saved_pct": 100 * (1 - row["params_used"] / twin["params"])} if "params_used" in row else {}
    return {"accuracy_over_twin": row["accuracy"] - twin["accuracy"], **saved}
