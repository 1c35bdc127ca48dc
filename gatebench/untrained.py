"""Networks of recipes before anything is trained."""

import json
from collections.abc import Iterable

from .contract import GatedModel
from .plan import Line, parents_of
from .recipe import Recipe
from .trained import create


def check(recipes: Iterable[Recipe]) -> None:
    """Raises UsageError where a recipe's network and those of its parents do not fit together, before data are read or anything is trained.

    Networks of parents that several recipes share are built once.
    """
    made: dict[str, GatedModel] = {}
    for recipe in recipes:
        build(recipe, made)


def build(recipe: Recipe, made: dict[str, GatedModel], above: Line = ()) -> GatedModel:
    """The recipe's network on those of its parents, with random weights and for no data in particular.

    `made` holds the networks so far by their recipes; `above` is what it is a parent of. Raises as `check`.
    """
    key = json.dumps(recipe.content())
    if key not in made:
        parents = {role: build(parent, made, line) for role, (parent, line) in parents_of(recipe, above).items()}
        made[key] = create(recipe, parents=parents)
    return made[key]
