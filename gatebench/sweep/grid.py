"""A recipe and values of its trade-off as jobs.

Nothing here imports torch.
"""

import json
from collections.abc import Iterable, Sequence

from .. import recipe as recipes
from ..errors import UsageError
from ..plan import Job, plan
from ..recipe import Recipe


def grid(recipe: Recipe, values: Sequence[float]) -> list[Recipe]:
    """A recipe for each value of its trade-off; one alone where the trade-off is a list, from which a study makes an operating point each.

    Raises UsageError where the recipe names no trade-off, or a value is out of the setting's bounds.
    """
    setting = recipe.tradeoff_setting()
    if setting is None:
        raise UsageError(
            f"Recipe {recipe.name} of {recipe.model.name} names no trade-off to sweep over. Add `tradeoff: PATH` to a recipe's file, or"
            f" take one that has it: {', '.join(recipes.with_tradeoff())}."
        )
    if isinstance(setting, list):
        return [recipes.changed(recipe, [f"{recipe.tradeoff}={json.dumps(list(values))}"])]
    return [recipes.changed(recipe, [f"{recipe.tradeoff}={value}"]) for value in values]


def jobs(members: Iterable[Recipe], seeds: Sequence[int], **place) -> list[Job]:
    """The jobs of all recipes and seeds, each once, parents first; `place` as in `plan.plan`."""
    merged: dict[str, Job] = {}
    for recipe in members:
        for job in plan(recipe, seeds, **place):
            if job.wanted or job.key not in merged:
                merged[job.key] = job
    return list(merged.values())
