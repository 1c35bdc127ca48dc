"""A recipe at values of its trade-off.

Nothing here imports torch.
"""

import json
from collections.abc import Sequence

from .. import recipe as recipes
from ..errors import UsageError
from ..library import with_tradeoff
from ..models import registry
from ..recipe import Recipe


def grid(recipe: Recipe, values: Sequence[float]) -> list[Recipe]:
    """A recipe for each value of its trade-off; one alone where the trade-off is a list, from which a study makes an operating point each.

    A list is in ascending order, however the values are given: its first value decides which operating point is the run's headline.
    Raises UsageError where the recipe names no trade-off, or a value is out of the setting's bounds.
    """
    setting = recipe.tradeoff_setting()
    if setting is None:
        named = f"Recipe {recipe.name} of {recipe.model.name} names no trade-off to sweep over"
        raise UsageError(f"{named}. Add `tradeoff: PATH` to a recipe's file, or take {_others(recipe)}.")
    if isinstance(setting, list):
        return [recipes.changed(recipe, [f"{recipe.tradeoff}={json.dumps(sorted(values))}"], "--values")]
    return [recipes.changed(recipe, [f"{recipe.tradeoff}={value}"], "--values") for value in values]


def _others(recipe: Recipe) -> str:
    """Recipes of the same model that name their trade-off; where there is none, models."""
    own = [name for name in with_tradeoff(registry.entry(recipe.model.name).recipes) if name != recipe.name]
    if own:
        return f"a recipe that has it: --config {' or '.join(own)}"
    entries = filter(None, map(registry.registered, registry.list_models()))
    models = [entry.name for entry in entries if entry.default in with_tradeoff(entry.recipes)]
    return f"a model whose recipe has it: {', '.join(models)}"
