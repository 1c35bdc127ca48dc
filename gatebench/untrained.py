"""Networks of recipes before anything is trained."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from .contract import GatedModel
from .plan import Job, parents_of
from .recipe import Recipe
from .trained import create, start_from


def check(jobs: Iterable[tuple[Job, Mapping, Path | str | None]]) -> None:
    """Raises UsageError or GatebenchError where networks do not fit together with those of their parents, their data or first weights.

    Jobs come with what their data are described as, and the file of weights that each starts from. What seeds share is built once.
    """
    made: dict[str, GatedModel] = {}
    begun: set[tuple[int, Path]] = set()
    for job, described, start in jobs:
        model = build(job.parsed, made, described)
        if start and (id(model), Path(start)) not in begun:
            start_from(model, Path(start))
            begun.add((id(model), Path(start)))


def build(recipe: Recipe, made: dict[str, GatedModel], described: Mapping | None = None) -> GatedModel:
    """The recipe's network on those of its parents, with random weights, for these data or none in particular.

    `made` holds the networks so far by their recipes. Raises as `check`.
    """
    recipe = recipe.resolved()
    key = json.dumps(recipe.content())
    if key not in made:
        parents = {role: build(parent, made, described) for role, (parent, _) in parents_of(recipe).items()}
        made[key] = create(recipe, described, parents)
    return made[key]
