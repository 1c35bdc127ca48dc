"""A recipe and seeds as an ordered list of jobs, parents first and each once. Seeds, sweeps and clusters are loops over jobs.

Nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path

from . import recipe as recipes
from .data.settings import SEVERAL, Data
from .errors import UsageError
from .models import registry
from .recipe import Parent, Recipe

COLUMNS = frozenset({
    "image", "severity", "label", "difficulty", "prediction", "confidence", "correct", "gate", "macs_decided", "macs_executed",
})  # fmt: skip
"""Of inputs.parquet and of a pool's tables, which have one for each expert too, named by its role."""
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

    @cached_property
    def key(self) -> str:
        """Names the job in a plan."""
        content = {name: value for name, value in asdict(self).items() if name != "wanted"} | {"parents": list(self.parents.items())}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def parsed(self) -> Recipe:
        """The recipe, checked again."""
        return recipes.parse(self.recipe, f"recipe {self.recipe['name']}")


def plan(recipe: Recipe, seeds: Iterable[int], **place) -> list[Job]:
    """The jobs of a recipe for these seeds; `place` and what is raised as in `plan_all`."""
    return plan_all([recipe], seeds, **place)


def plan_all(
    members: Iterable[Recipe],
    seeds: Iterable[int],
    *,
    data_root: Path,
    device: str,
    precision: str,
    threads: int,
    weights: Path | None = None,
) -> list[Job]:
    """The jobs of recipes for these seeds, each once, in an order in which every parent comes before its children.

    `weights` is a file that the runs start from, their parents not. `precision` is what `auto` stands for on that device. Raises
    UsageError as `parents_of`.
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

    for recipe, seed in product(members, seeds):
        add(recipe, seed, True)
    return list(jobs.values())


def parents_of(recipe: Recipe, above: Line = ()) -> dict[str, tuple[Recipe, Line]]:
    """The recipes of the parents by role, each with the runs that it is a parent of, beginning with those `above`.

    Raises UsageError where a parent starts from itself in the end, is trained on a severity that the data do not have, or its role is the
    name of a table's column.
    """
    parents = {}
    for role, parent in recipe.parents.items():
        source = (parent.model or recipe.model.name, parent.config)
        if source in above:
            raise UsageError(
                f"recipe {recipe.name}: parent {' '.join(source)} starts from itself in the end. Name one that starts from nothing."
            )
        _check_role(role, recipe)
        own = parent_recipe(recipe, parent)
        _check_severity(role, own.data)
        parents[role] = own, (*above, source)
    return parents


def _check_role(role: str, recipe: Recipe) -> None:
    """Raises UsageError where a role has the name of a column beside which tables have one for each role."""
    other = role.removesuffix("_soft")
    if role in COLUMNS or (other != role and other in recipe.parents):
        raise UsageError(f"In recipe {recipe.name}: parents.{role}: tables have a column of that name. Give this parent another role.")


def _check_severity(role: str, data: Data) -> None:
    """Raises UsageError where a parent's data are not in the severity that it is trained on."""
    known = (*data.severities, *SEVERAL)
    if data.severities and data.training_severity not in known:
        raise UsageError(
            f"parents.{role} trains on {data.training_severity!r}, which data.severities does not define. Define it, or set"
            f" parents.{role}.changes=[data.training_severity=NAME] to one of {', '.join(known)}."
        )


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
    changes = {
        "augment": own.augment,
        "training_severity": own.training_severity if child.severities else "all",
        "train_on": "rest",
    }
    if not child.holdout:  # with one, how train is split is the child's to say
        changes |= {"validation": max(child.validation, own.validation), "holdout": own.holdout}
    return child.model_copy(update=changes)
