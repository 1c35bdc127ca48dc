"""A recipe at values of its trade-off.

Nothing here imports torch.
"""

import json
from collections.abc import Sequence

from .. import recipe as recipes
from ..errors import UsageError
from ..recipe import Recipe


def grid(recipe: Recipe, values: Sequence[float]) -> list[Recipe]:
    """A recipe for each value of its trade-off; one alone where the trade-off is a list, from which a study makes an operating point each.

    A list is in ascending order, however the values are given: its first value decides which operating point is the run's headline.
    Raises UsageError where the recipe names no trade-off, or a value is out of the setting's bounds.
    """
    setting = recipe.tradeoff_setting()
    if setting is None:
        raise UsageError(
            f"Recipe {recipe.name} of {recipe.model.name} names no trade-off to sweep over. Add `tradeoff: PATH` to a recipe's file, or"
            f" take one that has it: {', '.join(recipes.with_tradeoff())}."
        )
    if isinstance(setting, list):
        return [recipes.changed(recipe, [f"{recipe.tradeoff}={json.dumps(sorted(values))}"])]
    return [recipes.changed(recipe, [f"{recipe.tradeoff}={value}"]) for value in values]
