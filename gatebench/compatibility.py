"""Whether what a recipe asks for is there in the model and in the data: said before anything is trained."""

from .contract import GatedModel
from .errors import UsageError, nearest
from .recipe import ExitLoss, Recipe


def check(recipe: Recipe, model: GatedModel) -> None:
    """Raises UsageError naming the recipe's key where the model does not have what it asks for."""
    parts = [name for name, _ in model.named_modules() if name]
    for name in recipe.training.freeze:
        if name not in parts:
            raise UsageError(f"training.freeze: the model has no part {name!r}.{nearest(name, parts)}")
    objective = recipe.objective
    for name in objective.terms:
        if name not in model.terms:
            raise UsageError(
                f"objective.terms.{name}: the model has no such term.{nearest(name, model.terms)}"
                f" Its own are: {', '.join(model.terms) or 'none'}."
            )
    if objective.budget and not model.units:
        raise UsageError("objective.budget: the model has no gates that a budget could hold down; leave it out.")
    if objective.exits:
        _check_loss(objective.exits, model)
    if recipe.evaluation:
        _check_evaluation(recipe, model)


def _check_loss(rule: ExitLoss, model: GatedModel) -> None:
    if model.exits == 1:
        raise UsageError("objective.exits: the model has one answer and no exits before it; leave it out.")
    for name in ("weights", "final_weights"):
        weights = getattr(rule, name)
        if weights is None:
            continue
        if len(weights) != model.exits:
            raise UsageError(f"objective.exits.{name}: the model has {model.exits} exits; give one weight for each.")
        always = sum(weights) if rule.eligibility == "all" else weights[0]  # later exits may not be eligible for an input
        if always + rule.floor == 0:
            raise UsageError(
                f"objective.exits.{name}: an input might train no exit at all. Give the first a weight, or set objective.exits.floor."
            )


def _check_evaluation(recipe: Recipe, model: GatedModel) -> None:
    if model.exits == 1 or not recipe.evaluation.budgets:
        raise UsageError("evaluation: there are thresholds to choose only for a model with exits and at least one of `budgets`.")
    if not recipe.data.validation or recipe.data.scored == "validation":
        raise UsageError(
            "evaluation: thresholds are chosen on a validation part and scored on test. Set data.validation to a number of images,"
            " and leave data.scored at test."
        )
    least = float(model.macs(model.least()[None].numpy())[0]) / model.macs_static
    for budget in recipe.evaluation.budgets:
        if budget < least:
            raise UsageError(f"evaluation.budgets: {budget:g} is less of the static twin's MACs than the first exit costs, {least:.3f}.")
