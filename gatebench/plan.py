"""A recipe and seeds as an ordered list of jobs, parents first and each once. Seeds, sweeps and clusters are loops over jobs.

Nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import recipe as recipes
from .data.settings import Data
from .errors import UsageError
from .models import registry
from .recipe import Parent, Recipe

Line = tuple[tuple[str, str], ...]
"""Models and recipes, each the parent of the one before."""


@dataclass(frozen=True)
class Job:
    """One run: all that decides its numbers. `asdict(job)` is plain data, `Job(**data)` reads it back."""

    recipe: dict
    """The resolved recipe, as `Recipe.content` gives it."""
    seed: int
    data_root: str
    device: str
    """cpu or cuda."""
    precision: str
    """fp32 or bf16."""
    threads: int
    parents: dict[str, str] = field(default_factory=dict)
    """Keys of the jobs that must be done first, by role."""
    weights: str | None = None
    """File of weights that it starts from instead of those that its model looks for."""
    wanted: bool = True
    """Whether somebody asked for it, or it is only a parent: a finished parent is not evaluated again."""

    @property
    def key(self) -> str:
        """Names the job in a plan."""
        content = {name: value for name, value in asdict(self).items() if name != "wanted"} | {"parents": list(self.parents.items())}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def plan(self) -> Recipe:
        """The recipe, checked again."""
        return recipes.parse(self.recipe, f"recipe {self.recipe['name']}")


def plan(
    recipe: Recipe,
    seeds: Iterable[int],
    *,
    data_root: Path,
    device: str,
    precision: str,
    threads: int,
    weights: Path | None = None,
) -> list[Job]:
    """The jobs of a recipe for these seeds, in an order in which every parent comes before its children.

    `weights` is a file that the runs start from, their parents not. `precision` is what `auto` stands for on that device. Raises
    UsageError where a parent starts from itself in the end.
    """
    place = {"data_root": str(data_root), "device": device, "threads": threads}
    jobs: dict[str, Job] = {}

    def add(each: Recipe, seed: int, wanted: bool, above: Line = ()) -> str:
        parents = {}
        for role, (parent, line) in parents_of(each, above).items():
            own = each.parents[role].seed
            parents[role] = add(parent, seed if own is None else own, False, line)
        exact = precision if each.training.precision == "auto" else each.training.precision
        start = str(weights) if weights and wanted else None
        job = Job(each.resolved().content(), seed, precision=exact, parents=parents, weights=start, wanted=wanted, **place)
        if wanted or job.key not in jobs:
            jobs[job.key] = job
        return job.key

    for seed in seeds:
        add(recipe, seed, True)
    return list(jobs.values())


def parents_of(recipe: Recipe, above: Line = ()) -> dict[str, tuple[Recipe, Line]]:
    """The recipes of the parents by role, each with the runs that it is a parent of, beginning with those `above`.

    Raises UsageError where a parent starts from itself in the end.
    """
    parents = {}
    for role, parent in recipe.parents.items():
        source = (parent.model or recipe.model.name, parent.config)
        if source in above:
            raise UsageError(
                f"recipe {recipe.name}: parent {' '.join(source)} starts from itself in the end. Name one that starts from nothing."
            )
        parents[role] = parent_recipe(recipe, parent), (*above, source)
    return parents


def parent_recipe(child: Recipe, parent: Parent) -> Recipe:
    """The recipe of a parent run. It has the child's data and share of epochs; one of the same model its options, study and
    --set training.* too. What `parent` says of it counts most."""
    name = parent.model or child.model.name
    registered = registry.entry(name)
    if name == child.model.name:
        training = [change for change in child.changes if change.startswith("training.") and not change.startswith("training.freeze")]
        own = recipes.load(registered.recipes, name, parent.config, [*training, *parent.changes])
        shared = {"data": child.data, "model": child.model, "study": child.study}
        changes = [change for change in child.changes if change in training or change.startswith(("data.", "model.", "study."))]
        own = own.model_copy(update={**shared, "changes": [*changes, *parent.changes]})
    else:
        own = recipes.load(registered.recipes, name, parent.config)
        data = _parent_data(child.data, own.data)
        changes = [change for change in child.changes if change.startswith("data.")]
        own = recipes.changed(own.model_copy(update={"data": data, "changes": [*changes, *own.changes]}), parent.changes)
    if parent.epochs:
        own = own.with_epochs(parent.epochs)
    elif child.scaled_from_epochs:
        own = own.with_epochs(max(1, round(own.training.epochs * child.training.epochs / child.scaled_from_epochs)))
    return own


def _parent_data(child: Data, own: Data) -> Data:
    """The child's data as a parent of another model trains on them: never on what the child is trained, or chosen, on."""
    severity = own.training_severity
    changes = {
        "augment": own.augment,
        "training_severity": severity if child.severities and severity in (*child.severities, "random") else "all",
        "train_on": "rest",
    }
    if not child.holdout:  # with one, how train is split is the child's to say
        changes |= {"validation": max(child.validation, own.validation), "holdout": own.holdout}
    return child.model_copy(update=changes)
